#!/usr/bin/env python3
"""Print the table of parameters and multiply-adds of configs, or bring a Markdown file up to date.

python tools/model_table.py configs/Kinetics/*.yaml
python tools/model_table.py --update docs/models.md            # all shipped configs
python tools/model_table.py --update docs/models.md --latency  # and measure all of them, now
"""

import argparse
import sys
from pathlib import Path

from slowfast.config import load_cfg
from slowfast.utils.errors import UserError, one_line_errors

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


def run(args: argparse.Namespace) -> None:
    from slowfast.reports import models

    page = args.update.read_text("utf-8") if args.update else ""
    if args.update and not models.SECTION.search(page):
        raise UserError(f"{args.update} has no <!-- models --> ... <!-- /models --> part")
    paths = args.configs or sorted(CONFIGS.rglob("*.yaml"))
    paths = [path.resolve() for path in paths]
    cfgs = {
        str(p.relative_to(CONFIGS) if CONFIGS in p.parents else p): load_cfg([p]) for p in paths
    }
    latencies, note = models.read_latencies(page)
    if args.latency:
        latencies, note = models.build_latencies(
            cfgs,
            seconds=args.seconds,
            on_result=lambda name, value: print(f"{name}: {value} ms", file=sys.stderr),
        )
    table = models.build_model_table(cfgs, latencies)
    if args.update is None:
        print(table.markdown(), *filter(None, [note]), sep="\n\n")
    else:
        args.update.write_text(models.with_table(page, table, note), "utf-8")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("configs", nargs="*", type=Path, help="YAML files (default: all shipped)")
    parser.add_argument(
        "--update", type=Path, metavar="FILE", help="rewrite its <!-- models --> part"
    )
    parser.add_argument(
        "--latency",
        action="store_true",
        help="measure a column of latencies; without it, the file's own are kept",
    )
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="per model, roughly (%(default)s)"
    )
    args = parser.parse_args(argv)
    with one_line_errors():
        run(args)


if __name__ == "__main__":
    main()
