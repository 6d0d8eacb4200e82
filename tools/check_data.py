#!/usr/bin/env python3
r"""Look for everything wrong with a dataset before training on it.

    python tools/check_data.py --cfg configs/MECCANO/SLOWFAST_8x8_R50.yaml \
        DATA.PATH_TO_DATA_DIR /data/meccano

Missing, cut short, unreadable and too short videos; segments and labels out of range; the same
video twice or in two splits. Writes bad_videos.txt (for DATA.BAD_VIDEOS_FILE), problems.csv and
classes.png to --output_dir. Exit status 0: nothing found, 1: problems.
"""

from pathlib import Path

from slowfast.config import add_cfg_arguments, load_cfg_from_args, parse_args
from slowfast.datasets.check.problems import KINDS
from slowfast.utils.errors import one_line_errors
from slowfast.utils.logging import setup_logging
from slowfast.utils.parallel import default_workers
from slowfast.utils.parser import tool_parser


def main(argv: list[str] | None = None) -> None:
    parser = tool_parser(__doc__)
    add = parser.add_argument
    splits = ("train", "val", "test")
    add("--splits", nargs="+", choices=splits, help="(default: those the config uses)")
    add("--deep", action="store_true", help="decode every frame, not the first and last only")
    add("--content", action="store_true", help="find the same video under different names")
    add("--allow", nargs="+", default=[], choices=KINDS, help="kinds that do not count as problems")
    add("--workers", type=int, default=default_workers(), help="processes (default: %(default)s)")
    add("--output_dir", type=Path, default=Path("runs/check_data"), help="(default: %(default)s)")
    add_cfg_arguments(parser)
    args = parse_args(argv, parser)
    setup_logging()
    with one_line_errors(traceback=args.traceback):
        cfg = load_cfg_from_args(args)
        from slowfast.datasets.check.scan import build_checker, build_splits
        from slowfast.reports import data_check

        splits = args.splits or build_splits(cfg)
        checker = build_checker(cfg, splits, deep=args.deep, content=args.content)
        result = checker.run(workers=args.workers, progress=cfg.PROGRESS)
        counted = data_check.counted(result, args.allow)
        if result.problems:
            data_check.problem_table(result).show()
        data_check.class_table(result).show()
        for path in data_check.write_check(result, args.output_dir):
            print(f"wrote {path}")
    looked_at = f"in {sum(result.records.values())} records of {result.num_files} files"
    print(f"{len(counted)} problems {looked_at}" if counted else f"nothing wrong {looked_at}")
    raise SystemExit(1 if counted else 0)


if __name__ == "__main__":
    main()
