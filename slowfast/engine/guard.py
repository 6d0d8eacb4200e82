"""Stops a training whose loss is no longer a number, or leaves out what made it so."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from slowfast.datasets.batch import Batch
from slowfast.engine.batches import clip_names
from slowfast.utils import distributed
from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)

REMEDY = (
    "Lower SOLVER.BASE_LR, lengthen the warm-up, set SOLVER.CLIP_GRAD_L2NORM, or train without "
    "TRAIN.MIXED_PRECISION; TRAIN.MAX_SKIPPED_LOSSES leaves out single batches"
)


class LossError(UserError, FloatingPointError):
    """A loss or a weight is not finite."""


class LossGuard:
    """Raises when a loss was not finite, naming step, learning rate and clips.

    Looking at a loss makes the CPU wait for the GPU. So losses are kept and looked at
    together every ``period`` batches; nothing is saved or evaluated in between, since the
    trainer calls :meth:`check` before ``after_epoch``.

    With ``max_skipped``, every loss is looked at before its gradient is taken, in all processes
    together, and so many bad ones are left out instead: no update, and buffers, such as the
    running statistics of batch norms, are as they were before the batch.

    Every bad loss is reported with the ids and names of its clips, whether it stops or not.

    Args:
        period: batches between two looks; 1 on the CPU, where looking is free.
        explosion_factor: also raise when a loss exceeds this times the moving average of the
            losses before it; 0 allows any finite loss.
        max_skipped: bad losses of a training that do not stop it.

    Attributes:
        report: gets a record of every bad loss.
        skipped: bad losses so far.
    """

    def __init__(
        self, period: int = 1, explosion_factor: float = 0.0, max_skipped: int = 0
    ) -> None:
        self.period, self.explosion_factor = max(1, period), explosion_factor
        self.max_skipped, self.skipped = max_skipped, 0
        self.report: Callable[[dict[str, Any]], None] = lambda _: None
        self._average: float | None = None
        self._kept: list[tuple[int, float, Tensor, Batch]] = []
        self._buffers: list[tuple[Tensor, Tensor]] = []

    def before_forward(self, module: nn.Module) -> None:
        """Remember what a forward pass changes, where it may have to be undone."""
        if self.max_skipped:
            self._buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]

    def accept(self, step: int, lr: float, loss: Tensor, batch: Batch) -> bool:
        """Whether to learn from a batch; the same in every process.

        Raises:
            LossError: see :meth:`check`; or too many were left out.
        """
        if not self.max_skipped:
            self.watch(step, lr, loss, batch)
            return True
        value = float(loss.detach())
        is_bad = not self._is_sane(value)
        flag = torch.tensor(float(is_bad), device=distributed.collective_device())
        if not distributed.all_reduce_sum(flag):
            return True
        self.skipped += 1
        mine = [_record(step, lr, value, batch)] if is_bad else []
        gathered = distributed.gather_objects(mine)
        for record in (record for records in gathered for record in records):
            self.report(record | {"skipped": self.skipped})
        if self.skipped > self.max_skipped:
            raise LossError(
                f"{self.skipped} bad losses, TRAIN.MAX_SKIPPED_LOSSES allows {self.max_skipped}; "
                f"the last: {_describe(step, lr, value, batch)}. {REMEDY}"
            )
        logger.warning(
            "left out, %d of at most %d: %s",
            self.skipped,
            self.max_skipped,
            _describe(step, lr, value, batch),
        )
        with torch.no_grad():
            for buffer, before in self._buffers:
                buffer.copy_(before)
        return False

    def watch(self, step: int, lr: float, loss: Tensor, batch: Batch) -> None:
        """Keep one loss, and look at all kept ones when it is time.

        Raises:
            LossError: see :meth:`check`.
        """
        light = batch._replace(clips=[], labels=None)  # only the names: clips are large
        self._kept.append((step, lr, loss.detach(), light))
        if len(self._kept) >= self.period:
            self.check()

    def check(self) -> None:
        """Look at the losses kept since the last look.

        Raises:
            LossError: the first loss that is not finite, or too large.
        """
        kept, self._kept = self._kept, []
        if not kept:
            return
        values = torch.stack([loss.float() for _, _, loss, _ in kept]).tolist()
        for (step, lr, _, batch), value in zip(kept, values, strict=True):
            if not self._is_sane(value):
                self.report(_record(step, lr, value, batch))
                raise LossError(f"{_describe(step, lr, value, batch)}. {REMEDY}")

    def _is_sane(self, loss: float) -> bool:
        if not math.isfinite(loss):
            return False
        if self._average is None or not self.explosion_factor:
            self._average = loss
            return True
        if loss > self.explosion_factor * self._average:
            return False
        self._average += 0.1 * (loss - self._average)
        return True


def _describe(step: int, lr: float, loss: float, batch: Batch) -> str:
    return f"loss is {loss} at step {step} with lr {lr:.3g}, on {', '.join(clip_names(batch))}"


def _record(step: int, lr: float, loss: float, batch: Batch) -> dict[str, Any]:
    return {
        "_type": "bad_loss",
        "step": step,
        "lr": lr,
        "loss": str(loss),  # JSON knows no nan
        "clip_ids": batch.clip_ids.tolist(),
        "names": clip_names(batch),
    }


def check_weights(model: nn.Module) -> None:
    """Look at the weights before they are evaluated and saved.

    A gradient may overflow though the loss did not.

    Raises:
        LossError: names those that are not finite.
    """
    names, finite = [], []
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            local = value.to_local() if hasattr(value, "to_local") else value
            names.append(name)
            finite.append(local.isfinite().all())
    flags = torch.stack(finite).tolist() if finite else []
    bad = [name for name, is_finite in zip(names, flags, strict=True) if not is_finite]
    if bad:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise LossError(
            f"weights that are not finite: {', '.join(bad[:3])}{more}. They are not saved; the "
            f"last checkpoint is from before. {REMEDY}"
        )
