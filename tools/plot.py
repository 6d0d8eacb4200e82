#!/usr/bin/env python3
r"""Draw six figures that compare runs: loss, accuracy, models, memory, learning rate, efficiency.

    python tools/plot.py runs/pipeline --output figures
    python tools/plot.py teacher=runs/x3d runs/pruned runs/student --format png svg pdf

A run is the OUTPUT_DIR of a tool, or a folder of such; NAME=FOLDER calls it NAME. A figure that
the runs lack the numbers for is left out, with a line that says what is missing.
"""

import argparse
from pathlib import Path

from slowfast.utils.errors import one_line_errors
from slowfast.utils.parser import tool_parser


def parser() -> argparse.ArgumentParser:
    found = tool_parser(__doc__)
    add = found.add_argument
    add("runs", nargs="+", metavar="RUN", help="folder, or NAME=FOLDER")
    add("--output", type=Path, default=Path("figures"), help="folder (default: %(default)s)")
    add("--format", nargs="+", default=["png", "svg"], choices=("png", "svg", "pdf"),
        help="(default: png svg)")  # fmt: skip
    return found


def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    with one_line_errors(traceback=args.traceback):
        from slowfast.reports.plots import write_figures
        from slowfast.reports.runs.read import name_folders, read_runs

        runs = read_runs(name_folders(args.runs))
        written, missing = write_figures(runs, args.output, formats=args.format)
        print("\n".join([*map(str, written), *(f"left out: {line}" for line in missing)]))


if __name__ == "__main__":
    main()
