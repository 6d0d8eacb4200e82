"""Inputs tried in a process of their own, so that one that ends it is seen, and counted."""

import importlib
import json
import resource
import select
import signal
import subprocess
import sys
from pathlib import Path

from tests.fuzz.core import CRASH, HANG, REFUSED, Report, Target

MEMORY = 8 << 30  # bytes of addresses
GRACE_S = 5.0  # beyond the limit that the child keeps itself, which C code may ignore
START_S = 60.0
ROOT = Path(__file__).resolve().parents[2]


class InChild(Target):
    """A target whose :meth:`run` another process executes.

    Attributes:
        inner: ``module:Class`` of the target that runs there.
    """

    inner = ""

    def __init__(self, folder):
        super().__init__(folder)
        self._child = None
        self.place = folder / "input.bin"

    def trial(self, number, data, report):
        """See :class:`Target`."""
        self.place.write_bytes(data)
        child = self._running()
        child.stdin.write(b"go\n")
        child.stdin.flush()
        answer = self._answer(self.limit_s + GRACE_S)
        if answer is None:
            self.close()
            report.add(number, HANG, cause=f"more than {self.limit_s} s", data=data)
        elif not answer:
            status = child.wait()
            self._child = None
            name = signal.Signals(-status).name if status < 0 else f"exit {status}"
            report.add(number, CRASH, cause=f"the process ended: {name}", data=data)
        else:
            found = json.loads(answer)
            report.add(number, found["outcome"], error=found["error"], cause=found["cause"],
                       data=data, trace=found["trace"])  # fmt: skip

    def _running(self):
        if self._child is None:
            command = [sys.executable, "-m", "tests.fuzz.child", self.inner, str(self.folder)]
            self._child = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            if self._answer(START_S) != b"ready\n":
                raise RuntimeError(f"{' '.join(command)} does not start")
        return self._child

    def _answer(self, seconds):
        """A line; nothing at the end; ``None`` when the time is up."""
        ready, _, _ = select.select([self._child.stdout], [], [], seconds)
        return self._child.stdout.readline() if ready else None

    def close(self):
        """See :class:`Target`."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            for stream in (self._child.stdin, self._child.stdout):
                stream.close()
            self._child = None


def serve(inner, folder):
    """What the child does."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = sys.stdout
    sys.stdout = sys.stderr
    module, _, attribute = inner.partition(":")
    target = getattr(importlib.import_module(module), attribute)(Path(folder))
    answers.write("ready\n")
    answers.flush()
    for _ in sys.stdin:
        report = Report("", 0)
        target.trial(0, (Path(folder) / "input.bin").read_bytes(), report)
        (outcome,) = report.counts
        failure = report.failures[0] if report.failures else None
        error = next(iter(report.errors), "")
        answers.write(json.dumps({
            "outcome": outcome, "error": error if outcome == REFUSED else "",
            "cause": failure.cause if failure else "", "trace": failure.trace if failure else "",
        }) + "\n")  # fmt: skip
        answers.flush()


if __name__ == "__main__":
    serve(*sys.argv[1:])
