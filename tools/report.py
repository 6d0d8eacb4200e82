#!/usr/bin/env python3
r"""Write one page about a set of runs, as HTML that needs nothing else and as Markdown.

    python tools/report.py runs/pipeline
    python tools/report.py teacher=runs/x3d runs/pruned runs/student --output report.html

A run is the OUTPUT_DIR of a tool, or a folder of such; NAME=FOLDER calls it NAME. What the folders
lack is left out, with a line that says what to run for it.
"""

import argparse
from pathlib import Path

from slowfast.utils.errors import one_line_errors
from slowfast.utils.logging import setup_logging
from slowfast.utils.parser import tool_parser


def parser() -> argparse.ArgumentParser:
    found = tool_parser(__doc__)
    add = found.add_argument
    add("runs", nargs="+", metavar="RUN", help="folder, or NAME=FOLDER")
    add("--output", type=Path, default=Path("report.html"), help="(default: %(default)s)")
    add("--title", default="", help="of the page")
    add("--teacher", default="", metavar="NAME", help="network to compare with")
    add("--compressed", default="", metavar="NAME", help="network that the page is about")
    return found


def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    setup_logging()
    with one_line_errors(traceback=args.traceback):
        from slowfast.reports.page.write import write_page
        from slowfast.reports.runs.read import name_folders

        names = {key: getattr(args, key) for key in ("title", "teacher", "compressed")}
        for path in write_page(name_folders(args.runs), args.output, **names)[:2]:
            print(path)


if __name__ == "__main__":
    main()
