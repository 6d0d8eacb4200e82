"""Stopping where a scheduler asks for it, such that nothing is lost."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist

from slowfast.engine.hook import Hook
from slowfast.engine.trainer import Trainer
from slowfast.utils import distributed
from slowfast.utils.signals import SIGNALS, Preempted, is_main_thread

logger = logging.getLogger(__name__)


class StopRequest:
    """Remembers a signal until all processes are at a place where they can stop.

    Attributes:
        signum: of the signal that came, 0 for none.
    """

    def __init__(self) -> None:
        self.signum = 0
        self._before: dict[int, Any] = {}
        self._group: dist.ProcessGroup | None = None
        self._sent: tuple[torch.Tensor, dist.Work] | None = None

    def listen(self) -> None:
        """Take over the signals. A collective. Only a main thread can; others hear nothing."""
        nccl = distributed.collective_device().type == "cuda"
        if nccl and self._group is None:
            self._group = dist.new_group(backend="gloo")  # for a number that no GPU waits for
        if is_main_thread():
            self._before = {signum: signal.signal(signum, self._take) for signum in SIGNALS}

    def _take(self, signum: int, frame: FrameType | None) -> None:
        self.signum = self.signum or signum

    def ignore(self) -> None:
        """Give the signals back to whoever had them."""
        for signum, handler in self._before.items():
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)
        self._before = {}
        self._sent = None

    def heard(self, *, now: bool = False) -> int:
        """The signal that some process had got when it called this the last time, else 0.

        A collective, for which nobody waits: what the processes tell one another at one call is
        read at the next, by all of them alike.

        Args:
            now: also what they have got by now; for that they wait.
        """
        if not distributed.is_distributed():
            return self.signum
        heard = self._wait()
        told = torch.tensor(self.signum)
        work = dist.all_reduce(told, dist.ReduceOp.MAX, group=self._group, async_op=True)
        self._sent = told, work
        return max(heard, self._wait()) if now else heard

    def _wait(self) -> int:
        sent, self._sent = self._sent, None
        if sent is None:
            return 0
        sent[1].wait()
        return int(sent[0])

    def hand_on(self, signum: int) -> None:
        """What would have happened at ``signum`` without this: submitit asks for the job anew."""
        self._wait()
        handler = self._before.get(signum)
        self.ignore()
        if callable(handler):
            handler(signum, None)


class Preemption(Hook):
    """Saves and ends the run, after the step it is at, when a process gets one of ``SIGNALS``.

    The exit status is ``PREEMPTED_STATUS``; started again, the run goes on with the next batch, to
    the same result. Processes agree on the step: the signal may reach one or all of them.

    Args:
        save: writes a checkpoint within an epoch. A collective.
    """

    def __init__(self, save: Callable[[Trainer], Path]) -> None:
        self.save = save
        self.request = StopRequest()

    def before_train(self, trainer: Trainer) -> None:
        self.request.listen()
        trainer.at_exit(self.request.ignore)

    def between_steps(self, trainer: Trainer) -> None:
        # What follows an epoch may take longer than a scheduler waits: no request is left open.
        is_last = trainer.iteration + 1 == len(trainer.loader)
        signum = self.request.heard(now=is_last)
        if not signum:
            return
        path = self.save(trainer)
        name = signal.Signals(signum).name
        logger.warning("%s: saved %s; started again, the run goes on from there", name, path)
        self.request.hand_on(signum)
        raise Preempted
