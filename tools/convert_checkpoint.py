#!/usr/bin/env python3
r"""Bring weights from one project's layout to another's, with an account of every tensor.

    python tools/convert_checkpoint.py --input SLOWFAST_8x8_R50.pkl --output slowfast.pyth \
      --cfg configs/Kinetics/SLOWFAST_8x8_R50.yaml
    python tools/convert_checkpoint.py --input x3d_s.pyth --output ptv.pyth --to pytorchvideo

With --cfg the result is compared with the model, and in PySlowFast's layout keeps the config.
Nothing is lost silently: a tensor without a place in the result is an error, unless --drop names
it. Files are read without running anything in them.
"""

import argparse
import json
from pathlib import Path

from slowfast.config import add_cfg_arguments, load_cfg_from_args, parse_args
from slowfast.utils.errors import UserError, one_line_errors
from slowfast.utils.files import write_text
from slowfast.utils.parser import tool_parser


def build_parser() -> argparse.ArgumentParser:
    from slowfast.checkpoint.layouts import LAYOUTS

    names = "\n".join(f"  {name:13} {layout.title}" for name, layout in LAYOUTS.items())
    parser = tool_parser(f"{__doc__}\nlayouts:\n{names}")
    parser.add_argument("--input", type=Path, required=True, help="file to convert")
    parser.add_argument("--output", type=Path, required=True, help="file to write")
    parser.add_argument("--from", dest="source", default="auto", choices=["auto", *LAYOUTS])
    parser.add_argument("--to", dest="target", default="pyslowfast", choices=[*LAYOUTS])
    parser.add_argument("--drop", action="append", default=[], metavar="PATTERN",
                        help="tensors that may be left out, * is anything; repeatable")  # fmt: skip
    parser.add_argument("--report", type=Path, metavar="JSON", help="write the account there")
    parser.add_argument("--force", action="store_true", help="overwrite the output")
    add_cfg_arguments(parser)
    return parser


def run(args: argparse.Namespace) -> None:
    import torch

    from slowfast.checkpoint.conversion import convert_file, write_converted
    from slowfast.engine.weights import build_config_check
    from slowfast.models import build_model
    from slowfast.reports.conversion import conversion_notes, conversion_table

    if args.output.exists() and not args.force:
        raise UserError(f"{args.output} exists: give another --output, or --force")
    cfg = model = None
    if args.cfg or args.opts:
        cfg = load_cfg_from_args(args)
        with torch.device("meta"):
            model = build_model(cfg)
    conversion = convert_file(
        args.input, source=args.source, target=args.target, model=model,
        arch=cfg.MODEL.ARCH if cfg else None, drop=args.drop,
    )  # fmt: skip
    conversion_table(conversion).show()
    print(*conversion_notes(conversion), sep="\n")
    if args.report is not None:
        args.report.parent.mkdir(parents=True, exist_ok=True)
        write_text(args.report, json.dumps(conversion.as_dict(), indent=1) + "\n")
    conversion.check()
    if cfg is not None:
        build_config_check(cfg, dict(conversion.kept), args.input)
    write_converted(conversion, args.output, cfg_yaml=cfg.dump() if cfg else None)
    print(f"wrote {args.output}")


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv, build_parser())
    with one_line_errors(traceback=args.traceback):
        run(args)


if __name__ == "__main__":
    main()
