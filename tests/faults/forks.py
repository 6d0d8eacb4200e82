"""Tools in processes that begin with everything imported: forks of this one."""

import importlib
import json
import os
import runpy
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).parents[2]
IMPORTS = [
    "slowfast.compression.distillation.run",
    "slowfast.compression.pruning.run",
    "slowfast.datasets.video_folder",
    "slowfast.deploy.export.build",
    "slowfast.deploy.export.files",
    "slowfast.deploy.export.stream_build",
    "slowfast.deploy.measure",
    "slowfast.deploy.runtime",
    "slowfast.engine.run",
    "slowfast.learners.pipeline",
    "slowfast.models.tiny",
    "slowfast.models.x3d",
    "slowfast.reports.compression",
    "slowfast.reports.evaluation",
    "slowfast.utils.stages",
    "matplotlib.figure",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "torch.export",
    "torch.onnx",
]
"""What takes seconds. None of them may start threads: a fork has only one."""


def warm_up():
    """Import all of it, here, once."""
    for name in IMPORTS:
        with suppress(ImportError):  # of what is optional
            importlib.import_module(name)


def tool(name):
    """The ``main`` of a tool."""
    return runpy.run_path(str(REPO / "tools" / name))["main"]


@dataclass
class Running:
    """A process and all it starts. Attributes: its number, which is that of its group; its log."""

    pid: int
    log: Path

    def wait(self, seconds):
        """Exit status, negative after a signal; ``None`` when it takes longer."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        return None

    def kill(self):
        """SIGKILL for the group, at once; returns when this process is gone."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def start(function: Callable[[], object], log: Path, *, group: bool = True) -> Running:
    """Call ``function`` in a fork, its output appended to ``log``.

    Args:
        function: of no arguments; ``SystemExit`` gives its exit status.
        log: a file.
        group: make it the leader of a process group of its own.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        with suppress(OSError):  # it may have done so itself, or be gone
            if group:
                os.setpgid(pid, pid)
        return Running(pid, log)
    status = 1
    try:
        if group:
            os.setpgid(0, 0)
        _redirect(log)
        status = _status(function)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _redirect(log):
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout, sys.stderr = (os.fdopen(fd, "w", 1, "utf-8", closefd=False) for fd in (1, 2))


def _status(function):
    try:
        function()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0


def call(function, seconds=300):
    """What ``function`` returns, as JSON takes it, computed in a fork."""
    read, write = os.pipe()

    def answer():
        with open(write, "w", encoding="utf-8") as file:
            json.dump(function(), file)

    running = start(answer, Path(os.devnull))
    os.close(write)
    with open(read, encoding="utf-8") as file:
        text = file.read()
    status = running.wait(seconds)
    if status is None:
        running.kill()
    if status or not text:
        raise RuntimeError(f"the process that was asked ended with {status}")
    return json.loads(text)


def run_stage(command, log):
    """In the place of ``stages.run_logged``: the tool of a command, in a fork of this process."""
    _, path, *words = command
    log.write_bytes(b"")
    main = runpy.run_path(str(path))["main"]
    running = start(lambda: main(list(words)), log, group=False)  # is killed with this one
    _, status = os.waitpid(running.pid, 0)
    return os.waitstatus_to_exitcode(status)
