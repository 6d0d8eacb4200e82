"""Disks that are full, files that may not grow, folders that nothing can be written to."""

import os
import random
import re
import resource
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

from tests.faults import forks
from tests.faults.kills import TIMEOUT_S
from tests.faults.targets import TARGETS, Work
from tests.faults.whole import faults, leftovers, results

TMPFS, LIMIT, LOCKED = "full", "limit", "read-only"
ROOMY = 2**30


class Tmpfs:
    """A file system in memory, of a size."""

    def __init__(self, folder, size):
        self.folder, self.size = Path(folder), size

    def __enter__(self):
        self.folder.mkdir(parents=True)
        self._mount("-t", "tmpfs", "-o", f"size={self.size},mode=755", "faults")
        return self

    def grow(self):
        self._mount("-o", f"remount,size={ROOMY}")

    def lock(self):
        self._mount("-o", "remount,ro")

    def _mount(self, *words):
        subprocess.run(["mount", *words, str(self.folder)], check=True, capture_output=True)

    def __exit__(self, *_):
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True, capture_output=True)
        self.folder.rmdir()


@cache
def can_mount(folder):
    """Whether this user may."""
    try:
        with Tmpfs(Path(folder) / "probe", 2**16):
            return True
    except (OSError, subprocess.CalledProcessError):
        shutil.rmtree(Path(folder) / "probe", ignore_errors=True)
        return False


def limited(function, size):
    """``function``, in a process that may not write larger files."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    function()


@dataclass
class Filled:
    """What came of it. Attributes: tries by kind, files read after them, what should not be."""

    target: str
    tries: dict = field(default_factory=dict)
    files: int = 0
    finished: int = 0
    problems: list = field(default_factory=list)

    def as_dict(self):
        return dict(vars(self))


def fill_often(folder, tries, seed=0, targets=tuple(TARGETS), say=lambda text: None):
    """Run the tools where writing fails, ``tries`` times each and kind; then where it does not."""
    work = Work(Path(folder))
    work.prepare()
    found = Filled("disk")
    kinds = [TMPFS, LOCKED, LIMIT] if can_mount(work.folder) else [LIMIT]
    for target in targets:
        chance = random.Random(f"{seed} {target}")
        out = work.folder / f"{target}_roomy"
        status, text = attempt(work, target, out, found)
        if status:
            found.problems.append(f"{target}: exit status {status}: {text}")
            return found
        sizes = [path.stat().st_size for path in out.rglob("*") if path.is_file()]
        expected = forks.call(partial(results, out))
        for kind in kinds:
            for _ in range(tries if kind != LOCKED else 1):
                whole = sum(sizes) if kind == TMPFS else max(sizes)
                room = int(whole * chance.uniform(0.05, 0.9))
                _fill(work, target, kind, room, expected, found)
                say(f"{target}: {kind}, {len(found.problems)} problems")
        shutil.rmtree(out)
    return found


def _fill(work, target, kind, room, expected, found):
    found.tries[f"{target} {kind}"] = found.tries.get(f"{target} {kind}", 0) + 1
    place = work.folder / f"{target}_{kind}"
    if kind == LIMIT:
        _judge(work, target, place, found, room=room)
        _finish(work, target, place, expected, found)
        shutil.rmtree(place)
        return
    with Tmpfs(place, room if kind == TMPFS else ROOMY) as disk:
        if kind == LOCKED:
            disk.lock()
        _judge(work, target, place / "out", found)
        if kind == TMPFS:
            disk.grow()
            _finish(work, target, place / "out", expected, found)


def attempt(work, target, out, found, room=None):
    """Exit status and output of a run."""
    log = work.folder / f"{target}_{time.monotonic_ns()}.log"
    function = partial(TARGETS[target], work, out)
    running = forks.start(partial(limited, function, room) if room else function, log)
    status = running.wait(TIMEOUT_S)
    if status is None:
        running.kill()
    text = log.read_text("utf-8", errors="replace") if log.exists() else ""
    log.unlink(missing_ok=True)
    return status, text


def _judge(work, target, out, found, room=None):
    """A run that cannot write must say so in one line, and leave nothing half done."""
    status, text = attempt(work, target, out, found, room)
    errors = re.findall(r"^error: .*", text, re.MULTILINE)
    if status == 0:  # only the log had no room, which is said and stops nothing
        if "lines are lost" not in text:
            found.problems.append(f"{target} did not notice that {out} took no more")
    elif status is None or status not in (1, 2) or not errors or "Traceback" in text:
        found.problems.append(f"{target} ended with {status}: {text[-2000:]}")
    if out.is_dir():
        found.problems += [f"{target}: {fault}" for fault in forks.call(partial(faults, out))]
        found.problems += [f"{target} left {name}" for name in leftovers(out)]
        found.files += sum(1 for path in out.rglob("*") if path.is_file())


def _finish(work, target, out, expected, found):
    status, text = attempt(work, target, out, found)
    if status:
        found.problems.append(f"{target} could not go on: {text[-2000:]}")
        return
    got = forks.call(partial(results, out))
    names = [name for name in expected.keys() | got.keys() if expected.get(name) != got.get(name)]
    found.problems += [f"{target}: {name} differs afterwards" for name in sorted(names)]
    found.finished += 1


def unmount_all(folder):
    """What an interrupted run has left mounted."""
    for line in Path("/proc/mounts").read_text().splitlines():
        place = line.split()[1]
        if place.startswith(f"{os.path.abspath(folder)}/"):
            subprocess.run(["umount", "--lazy", place], check=False, capture_output=True)
