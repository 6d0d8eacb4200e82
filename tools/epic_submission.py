#!/usr/bin/env python3
r"""EPIC-KITCHENS-100: score results as the challenge does, ensemble them, make the submission.

    python tools/epic_submission.py report val.pkl --annotations DIR
    python tools/epic_submission.py ensemble run1.npz run2.pkl --weights 2 1 --output both.npz
    python tools/epic_submission.py pack test.npz --annotations DIR --output submission.zip
    python tools/epic_submission.py check submission.zip --annotations DIR

DIR holds the official annotations (https://github.com/epic-kitchens/epic-kitchens-100-annotations).
"""

import argparse
import sys
from pathlib import Path

from slowfast.utils.errors import one_line_errors, print_error


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    report = commands.add_parser("report", help="accuracies on a labelled split")
    report.add_argument("--labels", default="EPIC_100_validation.csv", help="file in DIR")
    report.add_argument("--partial", action="store_true", help="allow results of a part")
    report.add_argument("--json", type=Path, help="also write the figures here")
    merge = commands.add_parser("ensemble", help="average the log-probabilities of runs")
    merge.add_argument("--weights", type=float, nargs="+", help="one per run (equal)")
    pack = commands.add_parser("pack", help="write the zip for the leaderboard")
    pack.add_argument("--sls", type=int, nargs=3, default=(2, 3, 4), metavar=("PT", "TL", "TD"),
                      help="supervision levels, 0 to 5 each (2 3 4)")  # fmt: skip
    pack.add_argument("--actions", action="store_true", help="also write 100 actions a segment")
    check = commands.add_parser("check", help="all checks of the challenge on a zip")
    for command in (pack, check):
        command.add_argument("--segments", default="EPIC_100_test_timestamps.csv",
                             help="file in DIR with the narration ids (%(default)s)")  # fmt: skip
    for command in (report, pack, check):
        command.add_argument("results", type=Path, help=".npz, .json, .pkl, .pt; check: the .zip")
        command.add_argument("--annotations", type=Path, required=True, metavar="DIR")
    merge.add_argument("results", type=Path, nargs="+", help=".npz, .json, .pkl or .pt")
    for command in (merge, pack):
        command.add_argument("--output", type=Path, required=True)
        command.add_argument("--force", action="store_true", help="overwrite the output")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Exit status 0; 1 the output exists, 2 keys missing or any other error, 3 bad results."""
    args = parse_args(argv)
    with one_line_errors():
        from slowfast.reports.epic_commands import run_command

        try:
            print(run_command(args))
        except FileExistsError as error:
            print_error(error)
            return 1
        except Exception as error:
            if not hasattr(error, "exit_status"):
                raise
            print_error(error)
            return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
