"""Speed of training steps, and what the loop around them costs."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from slowfast.datasets.batch import Batch
from slowfast.deploy.latency import Timing, time_interleaved
from slowfast.engine.hook import Hook
from slowfast.engine.objective import StepOutput
from slowfast.engine.trainer import Trainer


def trainer_steps(trainer: Trainer) -> Callable[[], None]:
    """One epoch of a trainer, from its first step, whenever called.

    Give it a loader of as many batches as one timed run shall have steps.
    """

    def run() -> None:
        trainer.fit(max_epoch=1)

    return run


def hand_written_steps(trainer: Trainer) -> Callable[[], None]:
    """The same steps as a plain loop: the least that has to happen for every batch."""
    objective, optimizer = trainer.objective, trainer.optimizer

    def run() -> None:
        objective.train()
        generator = torch.Generator()
        for batch in trainer.loader:
            inputs = trainer.prepare(batch, generator)
            loss = objective(inputs).loss
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if not torch.isfinite(loss):
                raise FloatingPointError("loss is not finite")

    return run


def loop_overhead_s(trainer: Trainer, *, warmup: int = 3, repeats: int = 20) -> float:
    """Seconds per step that the trainer takes beyond :func:`hand_written_steps`.

    Measured with a tiny model, where it is not lost in the noise of the step itself; it does not
    depend on the model. The median over turns of the difference between the two.

    Args:
        trainer: of a model whose step takes about a millisecond, on a loader of many batches.
        warmup: unmeasured turns.
        repeats: measured turns.
    """
    runs = {"trainer": trainer_steps(trainer), "plain": hand_written_steps(trainer)}
    timings = time_interleaved(runs, warmup=warmup, repeats=repeats, device=trainer.device)
    pairs = zip(timings["trainer"].seconds, timings["plain"].seconds, strict=True)
    differences = [looped - plain for looped, plain in pairs]
    return Timing(tuple(differences)).median_s / len(trainer.loader)


class WaitMeter(Hook):
    """Adds up how long training waited for batches.

    Attributes:
        waited_s: seconds waited, without those for the first batch of an epoch, when the
            workers start.
        total_s: seconds of the steps counted.
    """

    def __init__(self) -> None:
        self.waited_s = self.total_s = 0.0
        self._last = 0.0

    @property
    def share(self) -> float:
        """Share of the time spent waiting, 0 to 1."""
        return self.waited_s / self.total_s if self.total_s else 0.0

    def after_batch(self, trainer: Trainer, batch: Batch, output: StepOutput) -> None:
        now = time.perf_counter()
        if trainer.iteration:
            self.waited_s += trainer.data_seconds
            self.total_s += now - self._last
        self._last = now
