"""One row per network: what it costs and how well it does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from torch import nn

from slowfast.engine.predictions import Predictions
from slowfast.models.base import ClipModel
from slowfast.models.profile import count_parameters

Row = dict[str, Any]
Latency = Callable[[Mapping[str, ClipModel]], dict[str, dict[str, float]]]
"""Models by name -> ``p50_ms``, ``p90_ms`` ... of each, timed by turns."""

MIB = 2**20


def cost_row(model: nn.Module, macs: int) -> Row:
    """Parameters (M), MACs and FLOPs (G) and the size of the weights (MiB)."""
    state = model.state_dict().values()
    return {
        "params_m": count_parameters(model) / 1e6,
        "macs_g": macs / 1e9,
        "flops_g": 2 * macs / 1e9,
        "size_mib": sum(t.numel() * t.element_size() for t in state) / MIB,
    }


def agreement(ours: Predictions, theirs: Predictions) -> float:
    """Percent of the videos for which two models name the same class, in every task.

    Of multi-label data, percent of the labels on which they agree at a score of 0.5.
    """
    same = []
    for task, scores in ours.scores.items():
        other = theirs.scores[task]
        if ours.labels[task].ndim == 2:
            same.append(((scores > 0.5) == (other > 0.5)).mean(axis=1))
        else:
            same.append((scores.argmax(axis=1) == other.argmax(axis=1)).astype(float))
    return float(100 * np.stack(same).min(axis=0).mean())


def accuracy(metrics: Mapping[str, float]) -> Row:
    """``metric`` and ``accuracy``: name and value, in percent, of the number a table shows."""
    for name in ("top1_acc", "map", "r2"):
        if name in metrics:
            return {"metric": name, "accuracy": metrics[name]}
    return {}
