"""The signals that ask a run to make room, and the exit status that says it can go on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

PREEMPTED_STATUS = 75
"""Exit status of a run that was asked to stop and can go on: EX_TEMPFAIL, "try again later"."""

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)
"""What asks for it: SLURM and torchrun send SIGTERM, ``sbatch --signal`` SIGUSR1, submitit SIGUSR2.

Ctrl-C is not among them: who sits at the keyboard wants to stop at once.
"""


class Preempted(SystemExit):
    """Ends the process with :data:`PREEMPTED_STATUS`, through all ``finally`` blocks."""

    def __init__(self) -> None:
        super().__init__(PREEMPTED_STATUS)


def is_main_thread() -> bool:
    """Whether Python lets this thread set signal handlers."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def forward_signals(pids: Sequence[int | None]) -> Iterator[None]:
    """Pass the signals on to the processes that do the work, and wait for them as before."""

    def send(signum: int, frame: FrameType | None) -> None:
        for pid in filter(None, pids):
            with suppress(ProcessLookupError):
                os.kill(pid, signum)

    if not is_main_thread():
        yield
        return
    before = {signum: signal.signal(signum, send) for signum in SIGNALS}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)


def shield_worker() -> None:
    """Leave it to the main process what a signal to the whole group means: in a loader worker.

    torchrun and some schedulers signal whole process groups. A worker that died of it would break
    the training before it could save. The main process can still end its workers.
    """
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for signum in SIGNALS:  # a forked worker has the main process's handlers
        signal.signal(signum, signal.SIG_DFL if signum == signal.SIGTERM else signal.SIG_IGN)
