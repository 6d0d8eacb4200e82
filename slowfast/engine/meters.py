"""Training statistics that do not make the GPU wait."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from slowfast.engine.objective import StepOutput
from slowfast.engine.predictions import SINGLE_TASK
from slowfast.metrics.topk import combined_ranks, label_ranks
from slowfast.utils import distributed

_Pending = tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]


class TrainMeter:
    """Loss, its parts and top-k errors: medians over a window, means over an epoch.

    Every batch only leaves references to its small tensors here; numbers are computed when
    they are asked for, all batches of a window at once.

    Args:
        ks: of the top-k errors, e.g. ``(1, 5)``; ``min(k, C)`` counts; empty for multi-label
            targets.
    """

    def __init__(self, ks: Sequence[int] = (1, 5)) -> None:
        self.ks = tuple(ks)
        self.reset()

    def reset(self) -> None:
        """Forget everything: a new epoch."""
        self._pending: list[_Pending] = []
        self._rows: list[dict[str, float]] = []  # of the window
        self._totals: dict[str, float] = defaultdict(float)
        self._clips = 0

    def update(self, output: StepOutput, labels: Any) -> None:
        """Take in one batch.

        Args:
            output: of the objective.
            labels: of the batch; soft targets count by their largest entry.
        """
        terms = {"loss": output.loss.detach(), **output.parts}
        preds = _by_task(output.preds)
        if isinstance(output.preds, Tensor) and isinstance(labels, Mapping) and len(labels) == 1:
            labels = next(iter(labels.values()))  # one head, one task: whatever it is called
        targets = {k: v for k, v in _by_task(labels).items() if k in preds}
        self._pending.append((terms, preds, targets))

    def window(self) -> dict[str, float]:
        """Medians over the batches since the last call (mean over processes of medians).

        A collective when there are several processes.
        """
        self._flush()
        rows, self._rows = self._rows, []
        if not rows:
            return {}
        medians = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
        values = torch.tensor(list(medians.values()), dtype=torch.float64)
        means = _reduce(values, mean=True).tolist()
        return dict(zip(medians, means, strict=True))

    def epoch(self) -> dict[str, float]:
        """Means over all clips since :meth:`reset`, of all processes. A collective."""
        self._flush()
        names = list(self._totals)
        sums = torch.tensor([*(self._totals[n] for n in names), self._clips], dtype=torch.float64)
        sums = _reduce(sums, mean=False)
        return dict(zip(names, (sums[:-1] / sums[-1].clamp(min=1)).tolist(), strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Where every process is within the epoch. A collective, complete on the main one."""
        self._flush()
        mine = {"totals": dict(self._totals), "clips": self._clips, "rows": self._rows}
        return {"meters": distributed.gather_objects(mine)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave, unless it is of another number of processes."""
        self.reset()
        if len(state["meters"]) == distributed.world_size():
            mine = state["meters"][distributed.rank()]
            self._totals.update(mine["totals"])
            self._clips, self._rows = mine["clips"], list(mine["rows"])

    def _flush(self) -> None:
        """A row of numbers for every pending batch."""
        pending, self._pending = self._pending, []
        if not pending:
            return
        sizes = [len(next(iter(preds.values()))) for _, preds, _ in pending]
        columns: dict[str, list[float]] = {}
        for name in pending[0][0]:
            columns[name] = torch.stack([terms[name].float() for terms, _, _ in pending]).tolist()
        columns |= self._errors(pending, sizes)
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        for row, size in zip(rows, sizes, strict=True):
            self._clips += size
            for name, value in row.items():
                self._totals[name] += value * size
        self._rows += rows

    def _errors(self, pending: list[_Pending], sizes: list[int]) -> dict[str, list[float]]:
        """Top-k errors of every batch in percent: of the action, and (of several) of each task."""
        tasks = list(pending[0][2]) if self.ks else []
        scores = {t: torch.cat([preds[t] for _, preds, _ in pending]).float() for t in tasks}
        labels = {t: _ids(torch.cat([of[t] for *_, of in pending]), scores[t]) for t in tasks}
        if not tasks or any(ids is None for ids in labels.values()):
            return {}  # multi-label or regression: nothing to count
        errors = {}
        for prefix, rank in self._ranks(scores, labels).items():
            parts = torch.split(rank.cpu(), sizes)
            for k in self.ks:
                errors[f"{prefix}top{k}_err"] = [
                    100.0 * float((part >= k).double().mean()) for part in parts
                ]
        return errors

    def _ranks(self, scores: dict[str, Tensor], labels: dict[str, Any]) -> dict[str, Tensor]:
        """Name prefix -> places of the labels; the names are those of ``Predictions.metrics``."""
        ranks = {f"{task}_": label_ranks(scores[task], labels[task]) for task in scores}
        if len(ranks) == 1:
            return {"": next(iter(ranks.values()))}
        action = f"{SINGLE_TASK}_"
        if action not in ranks:
            logs = {task: value.log_softmax(dim=1) for task, value in scores.items()}
            ranks[action] = combined_ranks(logs, labels, max(self.ks))
        return {"": ranks[action], **ranks}


def _ids(labels: Tensor, scores: Tensor) -> Tensor | None:
    """Class ids ``(N,)``, of soft targets the largest; ``None`` for what has no single class."""
    if labels.ndim == 2 and labels.shape == scores.shape:
        labels = labels.argmax(dim=1)
    return None if labels.ndim != 1 or labels.is_floating_point() else labels


def _by_task(value: Any) -> dict[str, Tensor]:
    if isinstance(value, Mapping):
        return dict(value)
    return {SINGLE_TASK: value} if isinstance(value, Tensor) else {}


def _reduce(values: Tensor, *, mean: bool) -> Tensor:
    """Sum or mean over the processes."""
    reduce = distributed.all_reduce_mean if mean else distributed.all_reduce_sum
    return reduce(values.to(distributed.collective_device())).cpu()
