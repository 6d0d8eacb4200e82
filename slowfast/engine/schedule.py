"""Learning rate as a pure function of the (fractional) epoch, by PySlowFast's rules."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence

LrSchedule = Callable[[float], float]


def cosine(
    base_lr: float, max_epoch: float, end_lr: float = 0.0, *, start_epoch: float = 0.0
) -> LrSchedule:
    """Half a cosine from ``base_lr`` at ``start_epoch`` to ``end_lr`` at ``max_epoch``.

    Args:
        base_lr: the highest rate.
        max_epoch: where the curve ends; below it for every epoch trained.
        end_lr: the rate it ends at.
        start_epoch: the warm-up's length under ``COSINE_AFTER_WARMUP``, else 0: then a warm-up
            covers the first part of the curve.
    """
    if max_epoch <= start_epoch:
        raise ValueError(f"SOLVER.MAX_EPOCH {max_epoch} must exceed WARMUP_EPOCHS {start_epoch}")

    def lr_at(epoch: float) -> float:
        done = (epoch - start_epoch) / (max_epoch - start_epoch)
        return end_lr + 0.5 * (base_lr - end_lr) * (1 + math.cos(math.pi * done))

    return lr_at


def steps(base_lr: float, starts: Sequence[float], factors: Sequence[float]) -> LrSchedule:
    """``base_lr * factors[i]`` from epoch ``starts[i]`` on (``steps_with_relative_lrs``).

    Args:
        base_lr: the rate of factor 1.
        starts: epochs in rising order, the first 0.
        factors: one per start.
    """
    starts = list(starts)
    if len(starts) != len(factors) or not starts or starts[0] != 0 or starts != sorted(starts):
        raise ValueError(
            f"SOLVER.STEPS {starts} must rise from 0 and have as many entries as "
            f"SOLVER.LRS {list(factors)}"
        )
    return lambda epoch: base_lr * factors[bisect_right(starts, epoch) - 1]


def warmup(lr_at: LrSchedule, epochs: float, start_lr: float) -> LrSchedule:
    """``lr_at``, preceded by a straight line from ``start_lr`` over the first ``epochs``."""

    def warmed(epoch: float) -> float:
        if epoch >= epochs:
            return lr_at(epoch)
        return start_lr + (lr_at(epochs) - start_lr) * epoch / epochs

    return warmed
