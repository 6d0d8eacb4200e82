"""Stops a training whose loss is no longer a number."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from slowfast.datasets.batch import Batch
from slowfast.engine.batches import clip_names


class LossGuard:
    """Raises when a loss was not finite, naming step, learning rate and clips.

    Looking at a loss makes the CPU wait for the GPU. So losses are kept and looked at
    together every ``period`` batches; nothing is saved or evaluated in between, since the
    trainer calls :meth:`check` before ``after_epoch``.

    Args:
        period: batches between two looks; 1 on the CPU, where looking is free.
        explosion_factor: also raise when a loss exceeds this times the moving average of the
            losses before it; 0 allows any finite loss.
    """

    def __init__(self, period: int = 1, explosion_factor: float = 0.0) -> None:
        self.period, self.explosion_factor = max(1, period), explosion_factor
        self._average: float | None = None
        self._kept: list[tuple[int, float, Tensor, Batch]] = []

    def watch(self, step: int, lr: float, loss: Tensor, batch: Batch) -> None:
        """Keep one loss, and look at all kept ones when it is time.

        Raises:
            FloatingPointError: see :meth:`check`.
        """
        light = batch._replace(clips=[], labels=None)  # only the names: clips are large
        self._kept.append((step, lr, loss.detach(), light))
        if len(self._kept) >= self.period:
            self.check()

    def check(self) -> None:
        """Look at the losses kept since the last look.

        Raises:
            FloatingPointError: the first loss that is not finite, or too large.
        """
        kept, self._kept = self._kept, []
        if not kept:
            return
        values = torch.stack([loss.float() for _, _, loss, _ in kept]).tolist()
        for (step, lr, _, batch), value in zip(kept, values, strict=True):
            if not self._is_sane(value):
                raise FloatingPointError(
                    f"loss is {value} at step {step} with lr {lr:.3g}, on "
                    f"{', '.join(clip_names(batch))}. Lower SOLVER.BASE_LR, lengthen the warm-up, "
                    "set SOLVER.CLIP_GRAD_L2NORM, or train without TRAIN.MIXED_PRECISION"
                )

    def _is_sane(self, loss: float) -> bool:
        if not math.isfinite(loss):
            return False
        if self._average is None or not self.explosion_factor:
            self._average = loss
            return True
        limit = self.explosion_factor * self._average
        self._average += 0.1 * (loss - self._average)
        return loss <= limit
