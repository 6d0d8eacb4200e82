"""Top-k accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def label_ranks(scores: Tensor, labels: Tensor) -> Tensor:
    """Place of every sample's label among its scores, 0 = the best.

    Equal scores are placed by class index, the lower first, whatever the device:
    ``torch.topk`` leaves their order open. A model that scores all classes alike is thus
    right for class 0 only, not for all of them.

    Args:
        scores: ``(N, C)``.
        labels: ``(N,)`` class ids.

    Returns:
        ``(N,)`` int64, in 0..C-1.

    Raises:
        ValueError: a label outside 0..C-1.
    """
    num_classes = scores.shape[1]
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise ValueError(
            f"labels lie in {int(labels.min())}..{int(labels.max())} but the scores have "
            f"{num_classes} classes; is MODEL.NUM_CLASSES right for this dataset?"
        )
    own = scores.gather(1, labels.view(-1, 1))
    before = torch.arange(num_classes, device=scores.device) < labels.view(-1, 1)
    # `not (score < own)` instead of `score > own`: a NaN never makes a label look good
    ahead = ~(scores <= own) | ((scores == own) & before)
    return ahead.sum(dim=1) - (own.isnan().view(-1)).long()  # a NaN label is not ahead of itself


def topk_accuracy(scores: Tensor, labels: Tensor, ks: Sequence[int] = (1, 5)) -> dict[int, float]:
    """Share of samples whose label is among the ``min(k, C)`` best scores, in percent.

    With fewer classes than ``k`` every sample counts, so top-5 of a 4-class problem is 100.
    Ties: see :func:`label_ranks`.

    Args:
        scores: ``(N, C)``, N > 0.
        labels: ``(N,)`` class ids.
        ks: each at least 1.

    Example:
        >>> topk_accuracy(torch.tensor([[0.1, 0.7, 0.2]]), torch.tensor([2]), (1, 2))
        {1: 0.0, 2: 100.0}
    """
    ranks = label_ranks(scores, labels)
    return {k: _percent(ranks < k) for k in ks}


def joint_topk_accuracy(
    scores: Mapping[str, Tensor], labels: Mapping[str, Tensor], ks: Sequence[int] = (1, 5)
) -> dict[int, float]:
    """Share of samples where every task's label is among its k best, in percent.

    What EPIC-KITCHENS baselines report as action accuracy of a verb and a noun head.

    Args:
        scores: task -> ``(N, C_task)``.
        labels: task -> ``(N,)``.
        ks: each at least 1.
    """
    ranks = torch.stack([label_ranks(scores[task], labels[task]) for task in scores])
    worst = ranks.max(dim=0).values
    return {k: _percent(worst < k) for k in ks}


def _percent(hits: Tensor) -> float:
    if not hits.numel():
        raise ValueError("accuracy of no samples")
    return 100.0 * int(hits.sum()) / hits.numel()
