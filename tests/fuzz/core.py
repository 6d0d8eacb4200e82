"""Runs inputs against a reader of the library, and sorts what happens.

Whatever a file says, a reader either takes it, and then what it gives is right, or refuses it with
one error of ours that names the file and is short. Everything else is a defect: another error (a
traceback from deep inside), an answer that is not that of an independent reading, an input that
takes longer than the limit, a file that makes the reader run or write something.
"""

import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from slowfast.utils.errors import is_ours, message

ACCEPTED, REFUSED, CRASH, HANG, WRONG = OUTCOMES = (
    "accepted", "refused", "crash", "hang", "wrong",
)  # fmt: skip
BAD = (CRASH, HANG, WRONG)
LONGEST_MESSAGE = 1500  # characters
KEPT = 20  # failing inputs, of one run
STRIDE = 1 << 40  # inputs of a seed, at most
RAM = Path("/dev/shm")
FOLDER = "slowfast-fuzz-"


class WrongError(Exception):
    """What was accepted is not what the input says."""


class HangError(BaseException):
    """The time is up; no ``except Exception`` of the code under test keeps it."""


@dataclass
class Failure:
    """One input that ended as none should."""

    number: int
    outcome: str
    cause: str
    data: bytes
    trace: str = ""


@dataclass
class Report:
    """What became of all inputs of one target."""

    target: str
    seed: int
    counts: Counter = field(default_factory=Counter)
    errors: Counter = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def runs(self):
        return sum(self.counts.values())

    @property
    def bad(self):
        return sum(self.counts[outcome] for outcome in BAD)

    def entry(self):
        """For the JSON file."""
        return {
            "target": self.target,
            "seed": self.seed,
            "runs": self.runs,
            **{outcome: self.counts[outcome] for outcome in OUTCOMES},
            "errors": dict(self.errors.most_common()),
            "seconds": round(self.seconds, 1),
        }

    def add(self, number, outcome, *, error="", cause="", data=b"", trace=""):
        self.counts[outcome] += 1
        if error:
            self.errors[error] += 1
        if outcome in BAD and len(self.failures) < KEPT:
            self.failures.append(Failure(number, outcome, cause, data, trace))


class Target:
    """A reader under test. One object lives as long as a run, in a folder of its own.

    Attributes:
        name: on the command line.
        limit_s: seconds that one input may take.
    """

    name = ""
    limit_s = 5.0

    def __init__(self, folder):
        self.folder = folder

    def draw(self, rng):
        """An input, as bytes."""
        raise NotImplementedError

    def run(self, data):
        """Read the input.

        Raises:
            WrongError: it was accepted, and the result is wrong.
            Exception: what the library raises.
        """
        raise NotImplementedError

    def is_named(self, text):
        """Whether the text of a refusal says what was refused."""
        return str(self.folder) in text

    def trial(self, number, data, report):
        """One input, from drawing to its outcome."""
        try:
            with time_limit(self.limit_s), watched() as deeds:
                self.run(data)
            forbid(deeds)
        except HangError:
            report.add(number, HANG, cause=f"more than {self.limit_s} s", data=data)
        except WrongError as error:
            trace = traceback.format_exc()
            report.add(number, WRONG, cause=str(error), data=data, trace=trace)
        except SystemExit as error:  # argparse
            if error.code != 2:
                report.add(number, CRASH, cause=f"exit {error.code}", data=data)
            else:
                report.add(number, REFUSED, error="SystemExit")
        except Exception as error:
            self.judge(number, data, error, report)
        else:
            report.add(number, ACCEPTED)

    def judge(self, number, data, error, report):
        """Whether an error is one that a person can use."""
        kind, text = type(error).__name__, message(error)
        cause = ""
        if not is_ours(error):
            cause = f"{kind}: {text[:200]}"
        elif len(text) > LONGEST_MESSAGE:
            cause = f"a message of {len(text)} characters: {text[:200]}"
        elif not self.is_named(text):
            cause = f"{kind} does not say what it is about: {text[:300]}"
        if not cause:
            report.add(number, REFUSED, error=kind)
            return
        report.add(number, CRASH, cause=cause, data=data, trace=traceback.format_exc())

    def close(self):
        """Let go of what the target holds."""


def fuzz(target_class, runs, seed, *, only=None, on_progress=None):
    """The report of ``runs`` inputs; each is a function of the seed and its number."""
    report = Report(target_class.name, seed)
    begin = time.monotonic()
    place = RAM if RAM.is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix=FOLDER, dir=place))
    try:
        target = target_class(folder)
        try:
            for number in range(runs) if only is None else [only]:
                rng = random.Random(seed * STRIDE + number)
                target.trial(number, target.draw(rng), report)
                if on_progress and number % 1000 == 999:
                    on_progress(report)
        finally:
            target.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report.seconds = time.monotonic() - begin
    return report


def save_failures(report, folder):
    """Write failing inputs, and what they gave, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for failure in report.failures:
        path = folder / f"{report.target}-{report.seed}-{failure.number}-{failure.outcome}"
        path.with_suffix(".bin").write_bytes(failure.data)
        path.with_suffix(".txt").write_text(f"{failure.cause}\n{failure.trace}", "utf-8")


# ---- time ---------------------------------------------------------------------------------------


@contextmanager
def time_limit(seconds):
    """Raises :class:`HangError` in the code inside when it takes longer."""

    def stop(*_):
        raise HangError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


# ---- deeds that no reader has a reason for -------------------------------------------------------

FORBIDDEN = frozenset({
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.Popen",
    "socket.connect", "ctypes.dlopen", "pty.spawn", "os.remove", "os.rename", "os.mkdir",
    "shutil.rmtree", "os.putenv",
})  # fmt: skip
_deeds: list | None = None


def _listen(event, args):
    if _deeds is not None and (event in FORBIDDEN or (event == "open" and _writes(args))):
        _deeds.append(f"{event} {args!r:.200}")


def _writes(args):
    path, mode = args[:2]
    is_ours = FOLDER in str(path) or path == os.devnull  # the input itself is written, too
    return isinstance(mode, str) and any(letter in mode for letter in "wax+") and not is_ours


@contextmanager
def watched():
    """Collects what the code inside does to the world, by Python's audit events."""
    global _deeds
    if not getattr(sys, "_slowfast_fuzz_listens", False):
        sys.addaudithook(_listen)
        sys._slowfast_fuzz_listens = True
    _deeds, found = [], _deeds
    try:
        yield _deeds
    finally:
        _deeds = found


def forbid(deeds):
    if deeds:
        raise WrongError(f"reading the input did this: {deeds[:3]}")
