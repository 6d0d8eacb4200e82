"""Learning rate as a pure function of the (fractional) epoch, by PySlowFast's rules and more."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from slowfast.utils import distributed

if TYPE_CHECKING:
    from yacs.config import CfgNode

LrSchedule = Callable[[float], float]


def cosine(
    base_lr: float,
    max_epoch: float,
    end_lr: float = 0.0,
    *,
    start_epoch: float = 0.0,
    power: float = 1.0,
) -> LrSchedule:
    """Half a cosine from ``base_lr`` at ``start_epoch`` to ``end_lr`` at ``max_epoch``.

    Args:
        base_lr: the highest rate.
        max_epoch: where the curve ends; below it for every epoch trained.
        end_lr: the rate it ends at.
        start_epoch: the end of the warm-up under ``COSINE_AFTER_WARMUP``, else its beginning: then
            it covers the first part of the curve.
        power: of the progress, from 0 to 1, along the curve; above 1 the rate falls later.
    """
    if max_epoch <= start_epoch:
        raise ValueError(
            f"SOLVER.MAX_EPOCH {max_epoch} must exceed the epochs of warm-up, {start_epoch:g} "
            "(SOLVER.HEAD_WARMUP_EPOCHS, and WARMUP_EPOCHS with COSINE_AFTER_WARMUP)"
        )

    def lr_at(epoch: float) -> float:
        done = max((epoch - start_epoch) / (max_epoch - start_epoch), 0.0) ** power
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


def warmup(
    lr_at: LrSchedule,
    epochs: float,
    start_lr: float,
    *,
    start_epoch: float = 0.0,
    curve: str = "linear",
) -> LrSchedule:
    """``lr_at`` with a rise from ``start_lr`` over ``epochs`` in the place of its beginning.

    Args:
        lr_at: what the rise ends on.
        epochs: its length.
        start_lr: the rate at ``start_epoch``.
        start_epoch: where it begins; nothing is said about epochs before.
        curve: ``linear``, or ``cosine``: half a wave.
    """
    top = lr_at(start_epoch + epochs)

    def warmed(epoch: float) -> float:
        if epoch >= start_epoch + epochs:
            return lr_at(epoch)
        done = epoch - start_epoch
        if curve == "cosine":
            done = 0.5 * epochs * (1 - math.cos(math.pi * done / epochs))
        return start_lr + (top - start_lr) * done / epochs

    return warmed


def head_warmup(lr_at: LrSchedule, epochs: float, lr: float) -> LrSchedule:
    """``lr_at``, but ``lr`` in the first ``epochs``."""
    return lambda epoch: lr if epoch < epochs else lr_at(epoch)


def build_schedule(cfg: CfgNode) -> LrSchedule:
    """Learning rate by epoch: ``SOLVER.LR_POLICY`` after the warm-ups, of the head and of all."""
    solver = cfg.SOLVER
    shards = max(cfg.NUM_SHARDS, distributed.num_nodes())
    scale = shards if solver.BASE_LR_SCALE_NUM_SHARDS else 1
    base_lr = solver.BASE_LR * scale
    head = solver.HEAD_WARMUP_EPOCHS
    if solver.LR_POLICY == "cosine":
        start = head + (solver.WARMUP_EPOCHS if solver.COSINE_AFTER_WARMUP else 0.0)
        end_lr, power = solver.COSINE_END_LR * scale, solver.COSINE_POWER
        lr_at = cosine(base_lr, solver.MAX_EPOCH, end_lr, start_epoch=start, power=power)
    elif solver.LR_POLICY == "steps_with_relative_lrs":
        lr_at = steps(base_lr, solver.STEPS, solver.LRS)
    else:
        raise ValueError(
            f"SOLVER.LR_POLICY is {solver.LR_POLICY!r}; known: cosine, steps_with_relative_lrs"
        )
    if solver.WARMUP_EPOCHS > 0:
        lr_at = warmup(
            lr_at,
            solver.WARMUP_EPOCHS,
            solver.WARMUP_START_LR * scale,
            start_epoch=head,
            curve=solver.WARMUP_CURVE,
        )
    return head_warmup(lr_at, head, base_lr * solver.HEAD_WARMUP_LR_MULT) if head else lr_at
