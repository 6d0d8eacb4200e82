#!/usr/bin/env python3
r"""Kill the tools at random moments, damage checkpoints, and count what came of it.

    python scripts/faults.py --kills 50
    python scripts/faults.py --target train prune --kills 10 --seed 3
    python scripts/faults.py --target checkpoint --kills 2000
    python scripts/faults.py --target disk --kills 3

Every tool runs on a small network and generated videos in a process that SIGKILL ends. After each
kill all files under final names are read to their end; then the same command must finish with the
result of a run that nobody killed. The target checkpoint counts damaged files instead: bits flipped
and ends cut off at random, --kills of each. The target disk runs every tool --kills times on a disk
that is too small for it, where root may mount one, and with a limit on the size of files, and once
where nothing can be written; each time it must say so in one line, and finish once there is room.
Results go to --output, the table also into docs/reliability.md (--update). Exit status 1 when
anything was lost.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("OMP_NUM_THREADS", "1")  # a fork has one thread
sys.path.insert(0, str(ROOT))

from tests.faults import forks, report  # noqa: E402
from tests.faults.damage import damage_often  # noqa: E402
from tests.faults.disks import fill_often  # noqa: E402
from tests.faults.kills import kill_often  # noqa: E402
from tests.faults.targets import TARGETS  # noqa: E402

CHECKPOINT, DISK = "checkpoint", "disk"
OTHERS = [CHECKPOINT, DISK]


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = found.add_argument
    add("--target", nargs="+", choices=[*TARGETS, *OTHERS], default=[*TARGETS, CHECKPOINT],
        help="what to disturb (default: all but disk)")  # fmt: skip
    add("--kills", type=int, default=50, help="of every target (%(default)s)")
    add("--seed", type=int, default=0, help="of the moments (%(default)s)")
    add("--folder", type=Path, help="to work in (default: a temporary one)")
    add("--output", type=Path, default=ROOT / "runs" / "faults.json",
        help="results of all targets so far (%(default)s)")  # fmt: skip
    add("--update", action="store_true", help="write the table into docs/reliability.md")
    return found


def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    if args.target != [CHECKPOINT]:
        forks.warm_up()
    with tempfile.TemporaryDirectory(prefix="faults_") as temporary:
        folder = args.folder or Path(temporary)
        for name in args.target:
            if name == CHECKPOINT:
                found = damage_often(folder, args.kills, args.seed)
            elif name == DISK:
                found = fill_often(folder, args.kills, args.seed, say=print)
            else:
                found = kill_often(folder, name, args.kills, args.seed, say=print)
            results = report.add(args.output, name, found.as_dict())
            print(json.dumps(found.as_dict()))
    table = report.table(results)
    print(table)
    if args.update:
        report.update(ROOT / "docs" / "reliability.md", "faults", table)
    raise SystemExit(any(found["problems"] for found in results.values()))


if __name__ == "__main__":
    main()
