#!/usr/bin/env python3
r"""Kill a pipeline again and again, and see whether it ends with what it would have ended with.

    python scripts/pipeline_kills.py --output_dir runs/kills --kills 10
    python scripts/pipeline_kills.py --output_dir runs/kills -- --config mine.yaml --data_dir videos

What follows -- goes to tools/pipeline.py; without it, that is the whole of
scripts/run_pipeline.sh, twice and some more. Runs it once from start to end; then once more in the
same folder, with a kill -9 at a random moment of one stage after the other, each time started
again. Weights, predictions, exported files and the table of the report must be the same bit for
bit, the same files must be there, and no process may be left. What is measured (latencies) differs.
Exit status 1: something else differs.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from slowfast.checkpoint.io import read_checkpoint

ROOT = Path(__file__).resolve().parents[1]
MEASURED = {".stages", "logs", "benchmark", "live", "cache", "report_files"}
BYTES = {".onnx", ".xml", ".bin", ".csv", ".mp4"}
COLUMNS = ("network", "kind", "accuracy (%)", "change", "mean class (%)", "agrees with parent (%)",
           "parameters (M)", "MACs (G)", "FLOPs (G)", "size (MiB)")  # fmt: skip


class Pipeline:
    """A pipeline in a folder, to be started and killed.

    Args:
        words: of tools/pipeline.py.
        out: its folder.
        python: what runs it.
    """

    def __init__(self, words: list[str], out: Path, python: str) -> None:
        self.command = [python, str(ROOT / "tools/pipeline.py"), *words, "--output_dir", str(out)]
        self.out, self.log = out, out.with_name(f"{out.name}.log")
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """In a process group of its own."""
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                process_group=0, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
            )  # fmt: skip

    def states(self) -> dict[str, str]:
        """Stage -> ``running`` or ``done``."""
        found = {}
        for path in (self.out / ".stages").glob("*.json"):
            found[path.stem] = json.loads(path.read_text("utf-8")).get("state", "")
        return found

    def run(self) -> dict[str, float]:
        """To its end; the seconds that each stage took, in their order."""
        seconds: dict[str, float] = {}
        began: dict[str, float] = {}
        self.start()
        while self.process.poll() is None:
            for stage, state in self.states().items():
                began.setdefault(stage, time.monotonic())
                if state == "done":
                    seconds.setdefault(stage, time.monotonic() - began[stage])
            time.sleep(0.02)
        if self.process.returncode:
            raise SystemExit(f"the pipeline failed, see {self.log}")
        return seconds | {stage: 0.1 for stage in self.states() if stage not in seconds}

    def run_until(self, stage: str, seconds: float, *, whole_group: bool) -> str:
        """Kill it so many seconds after a stage began; says what happened."""
        self.start()
        while self.states().get(stage) not in ("running", "done"):
            if self.process.poll() is not None:
                raise SystemExit(f"the pipeline ended before {stage!r}, see {self.log}")
            time.sleep(0.01)
        time.sleep(seconds)
        group = self.process.pid
        if whole_group:
            os.killpg(group, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait()
        state = self.states().get(stage)
        self.wait_for_nobody(group)
        who = "all its processes" if whole_group else "its first process"
        return f"{stage}: {who} killed {seconds:.2f} s after it began, it was {state}"

    def wait_for_nobody(self, group: int, limit_s: float = 20.0) -> None:
        """Until the process group is empty."""
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            if not (left := list(alive(group))):
                return
            time.sleep(0.02)
        raise SystemExit(f"the processes {left} go on after the kill")


def alive(group: int) -> Iterator[int]:
    """The processes of a group that have not ended (of Linux)."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, _, rest = path.read_text().rpartition(")")
        except OSError:  # it ended just now
            continue
        state, _, its_group = rest.split()[:3]
        if int(its_group) == group and state not in "ZX":
            yield int(path.parent.name)


def fingerprint(out: Path) -> dict[str, str]:
    """File -> digest of what is in it and must be the same every time."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out)
        if not path.is_file() or set(name.parts) & MEASURED:
            continue
        found[str(name)] = digest(path)
    found["the report's table"] = "\n".join(report_table(out / "report/report.md"))
    return found


def digest(path: Path) -> str:
    """Of weights, scores or bytes; empty where a file holds times or paths."""
    if path.suffix == ".pyth":
        parts = weights_of(read_checkpoint(path)["model_state"])
    elif path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as arrays:
            parts = [part for key in sorted(arrays) for part in (key, arrays[key].tobytes())]
    elif path.suffix in BYTES:
        parts = [path.read_bytes()]
    else:
        return ""
    joined = hashlib.sha256()
    for part in parts:
        joined.update(part if isinstance(part, bytes) else part.encode())
    return joined.hexdigest()


def weights_of(state: dict) -> list:
    """Names and bytes of a network's tensors."""
    return [part for name in sorted(state) for part in (name, state[name].numpy().tobytes())]


def report_table(path: Path) -> list[str]:
    """The rows of all networks in the report, without what was measured."""
    text = path.read_text("utf-8").partition("## All networks")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines() if line.startswith("|") and not line.startswith("| --")
    ]  # fmt: skip
    head = rows[0]
    kept = [place for place, title in enumerate(head) if title in COLUMNS]
    # Which one is the fastest near its teacher is measured, too.
    plain = [[cell.removesuffix(" (compressed)").removesuffix(" (teacher)") for cell in row]
             for row in rows]  # fmt: skip
    return sorted(" | ".join(row[place] for place in kept) for row in plain)


def differences(whole: dict[str, str], killed: dict[str, str]) -> list[str]:
    """What is not the same."""
    found = [f"{name}: is not there" for name in sorted(whole.keys() - killed.keys())]
    found += [f"{name}: is there besides" for name in sorted(killed.keys() - whole.keys())]
    both = sorted(whole.keys() & killed.keys())
    return found + [f"{name}: is another" for name in both if whole[name] != killed[name]]


def kill_again_and_again(
    pipeline: Pipeline, seconds: dict[str, float], kills: int, seed: int
) -> list[str]:
    """Start and kill it ``kills`` times, then let it end; says what happened."""
    draw = random.Random(seed)
    stages = list(seconds)
    places = sorted(draw.sample(range(len(stages)), min(kills, len(stages))))
    places += [draw.randrange(len(stages)) for _ in range(kills - len(places))]
    said = []
    for number, place in enumerate(sorted(places)):
        stage = stages[place]
        moment = draw.uniform(0, seconds[stage])
        said.append(pipeline.run_until(stage, moment, whole_group=number % 2 == 0))
        sys.stdout.write(f"{said[-1]}\n")
        sys.stdout.flush()
    pipeline.run()
    return said


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output_dir", type=Path, default=Path("runs/kills"))
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--python", default=sys.executable, help=argparse.SUPPRESS)
    parser.add_argument("words", nargs="*", help="of tools/pipeline.py, after --")
    args = parser.parse_args(argv)
    out = args.output_dir.resolve() / "pipeline"
    whole = out.with_name("whole")
    if out.exists() or whole.exists():
        raise SystemExit(f"{args.output_dir} is in use: choose another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    pipeline = Pipeline(args.words, out, args.python)
    seconds = pipeline.run()
    expected = fingerprint(out)
    out.rename(whole)
    said = kill_again_and_again(pipeline, seconds, args.kills, args.seed)
    found = fingerprint(out)
    problems = differences(expected, found)
    compared = sum(bool(value) for value in found.values())
    sys.stdout.write(f"{len(said)} kills; {compared} files and the table compared\n")
    sys.stdout.write("".join(f"{problem}\n" for problem in problems) or "all the same\n")
    raise SystemExit(1 if problems else 0)


if __name__ == "__main__":
    main()
