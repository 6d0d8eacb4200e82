"""SIGKILL at random moments: no file is ever half there, and the same command finishes the work."""

import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.faults import forks
from tests.faults.targets import TARGETS, Work
from tests.faults.whole import faults, files_of, leftovers, results

IN_A_ROW = 3
"""Times that a run is killed before it may finish."""
TIMEOUT_S = 280


@dataclass
class Killed:
    """What came of the kills of one tool.

    Attributes:
        target: name of the tool.
        kills: so far.
        files: under final names that were looked at after them.
        unfinished: kills that left a file under a name that says it is unfinished.
        finished: runs that were completed after their kills.
        seconds: of a run that nobody kills.
        phases: how often after which share of it, in tenths.
        problems: everything that should not be.
    """

    target: str
    kills: int = 0
    files: int = 0
    unfinished: int = 0
    finished: int = 0
    seconds: float = 0.0
    phases: Counter = field(default_factory=Counter)
    problems: list = field(default_factory=list)

    def as_dict(self):
        found = dict(vars(self))
        found["phases"] = [self.phases[tenth] for tenth in range(10)]
        return found


def kill_often(folder, target, kills, seed=0, say=lambda text: None):
    """Kill runs of one tool ``kills`` times.

    After every kill all files are checked; a run is killed up to ``IN_A_ROW`` times, each time
    going on from what the last left, and then has to finish with the result of an undisturbed one.
    """
    work = Work(Path(folder))
    work.prepare()
    chance = random.Random(f"{seed} {target}")
    found = Killed(target)
    begin = time.monotonic()
    expected = complete(work, target, work.folder / f"{target}_whole", found)
    found.seconds = round(time.monotonic() - begin, 2)
    number = 0
    while found.kills < kills and not found.problems:
        out = work.folder / f"{target}_{number}"
        number += 1
        for _ in range(min(IN_A_ROW, kills - found.kills)):
            share = chance.random()
            if not kill_once(work, target, out, share * found.seconds, found):
                break
            found.phases[int(share * 10)] += 1
            say(f"{target}: {found.kills} of {kills} kills, {len(found.problems)} problems")
        if not found.problems and complete(work, target, out, found) != expected:
            found.problems.append(difference(expected, forks.call(partial(results, out)), out))
        if not found.problems:
            shutil.rmtree(out)
    return found


def kill_once(work, target, out, seconds, found):
    """Whether the run was killed, instead of ending before."""
    running = forks.start(partial(TARGETS[target], work, out), work.folder / f"{target}.log")
    status = running.wait(seconds)
    if status is not None:
        if status:
            found.problems.append(f"exit status {status} after {found.kills} kills: {running.log}")
        return False
    running.kill()
    found.kills += 1
    if out.is_dir():
        found.problems += forks.call(partial(faults, out))
        found.files += sum(1 for _ in files_of(out))
        found.unfinished += bool(leftovers(out))
    return True


def complete(work, target, out, found):
    """The results of a run that nobody kills."""
    running = forks.start(partial(TARGETS[target], work, out), work.folder / f"{target}.log")
    status = running.wait(TIMEOUT_S)
    if status is None:
        running.kill()
    if status != 0:
        found.problems.append(f"a run that should finish ended with {status}: {running.log}")
        return None
    left = leftovers(out)
    found.problems += [f"{name} was left behind" for name in left]
    found.problems += forks.call(partial(faults, out))
    found.finished += 1
    return forks.call(partial(results, out))


def difference(expected, got, out):
    """Which files differ from those of the undisturbed run."""
    names = sorted(n for n in expected.keys() | got.keys() if expected.get(n) != got.get(n))
    return f"other results than without kills in {out}: {', '.join(names)}"
