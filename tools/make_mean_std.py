#!/usr/bin/env python3
r"""Write the list of colour statistics that CrossNorm (AUG.CROSSNORM_PROB) draws from.

    python tools/make_mean_std.py --cfg configs/... DATA.PATH_TO_DATA_DIR /data/mine

One line per training clip: mean and standard deviation of each channel, RGB, 0 to 255.
"""

from pathlib import Path

from slowfast.config import add_cfg_arguments, load_cfg_from_args, parse_args
from slowfast.utils.errors import UserError, one_line_errors
from slowfast.utils.logging import setup_logging
from slowfast.utils.parallel import default_workers
from slowfast.utils.parser import tool_parser


def main(argv: list[str] | None = None) -> None:
    parser = tool_parser(__doc__)
    add = parser.add_argument
    add("--output", type=Path, help="(default: mean_std_list.txt in DATA.PATH_TO_DATA_DIR)")
    add("--force", action="store_true", help="replace a list that is there")
    add("--max_clips", type=int, default=20000, help="evenly chosen (default: %(default)s)")
    add("--workers", type=int, default=default_workers(), help="processes (default: %(default)s)")
    add_cfg_arguments(parser)
    args = parse_args(argv, parser)
    setup_logging()
    with one_line_errors(traceback=args.traceback):
        cfg = load_cfg_from_args(args)
        from slowfast.datasets.augment.crossnorm import FILE_NAME, write_styles
        from slowfast.datasets.styles import build_style_of, measure_styles

        path = args.output or Path(cfg.DATA.PATH_TO_DATA_DIR) / FILE_NAME
        if path.exists() and not args.force:
            raise UserError(f"{path} is there already; --force replaces it")
        records, style_of = build_style_of(cfg)
        records = records[:: -(-len(records) // args.max_clips)]
        styles, failed = measure_styles(
            records, style_of, workers=args.workers, progress=cfg.PROGRESS
        )
        if not styles:
            raise UserError(f"none of {len(records)} clips gave usable statistics: {failed}")
        write_styles(path, styles)
    print(f"wrote {path}: {len(styles)} lines of {len(records)} clips")
    for reason in failed.values():
        print(f"not read: {reason}")
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
