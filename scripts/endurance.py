#!/usr/bin/env python3
r"""Train and stream for long, and see whether memory, open files and speed stay as they were.

    python scripts/endurance.py
    python scripts/endurance.py --target train --steps 50000
    python scripts/endurance.py --target stream --steps 2592000

train: steps of an ordinary training on tiny clips, with validation, checkpoints and logs. stream:
frames of the demo at 30 per second; the default is 24 hours of them. (Loading for long, with videos
that cannot be read, is python -m tests.datasets.endurance.) Memory and files are of the process and
its workers; speed is by processor time, so that other programs do not count, beside a fixed piece
of work that is done by turns, since machines that are shared change their speed, and by the clock.
Exit status 1 when memory grew by more than 5 %, files grew, or speed beside that work fell by more
than 5 %.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(ROOT))

from tests.faults import endurance, report  # noqa: E402


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = found.add_argument
    add("--target", nargs="+", choices=endurance.TARGETS, default=[*endurance.TARGETS],
        help="what to do for long (default: all)")  # fmt: skip
    add("--steps", type=int, help="training steps, or frames of a stream (default: see above)")
    add("--output", type=Path, default=ROOT / "runs" / "endurance.json",
        help="results of all targets so far (%(default)s)")  # fmt: skip
    add("--update", action="store_true", help="write the table into docs/reliability.md")
    return found


def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    for name in args.target:
        with tempfile.TemporaryDirectory(prefix="endurance_") as folder:
            steps = args.steps or endurance.DEFAULT_STEPS[name]
            found = endurance.TARGETS[name](folder, steps)
        results = report.add(args.output, name, found.as_dict())
        print(found)
        print(json.dumps({"memory": found.memory, "rates": found.rates}))
    table = endurance.table(results)
    print(table)
    if args.update:
        report.update(ROOT / "docs" / "reliability.md", "endurance", table)
    raise SystemExit(any(found["problems"] for found in results.values()))


if __name__ == "__main__":
    main()
