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
    return rank_accuracy(label_ranks(scores, labels), ks)


def rank_accuracy(ranks: Tensor, ks: Sequence[int] = (1, 5)) -> dict[int, float]:
    """Share of ``ranks`` below each of ``ks``, in percent.

    Args:
        ranks: ``(N,)`` from :func:`label_ranks` or :func:`combined_ranks`, N > 0.
        ks: each at least 1.
    """
    return {k: _percent(ranks < k) for k in ks}


def combined_ranks(
    log_scores: Mapping[str, Tensor], labels: Mapping[str, Tensor], k: int
) -> Tensor:
    """Place of the labels of all tasks together among the best combinations of classes.

    A combination scores the product of its classes' probabilities: so EPIC-KITCHENS ranks actions,
    the pairs of a verb and a noun. Equal combinations stand in the order of their classes' places
    in the first task, then in the second; for the challenge's own order among them see
    :mod:`slowfast.metrics.epic`.

    Args:
        log_scores: task -> log-probabilities ``(N, C_task)``, up to a constant per row.
        labels: task -> class ids ``(N,)``.
        k: how many combinations are looked at.

    Returns:
        ``(N,)`` int64: 0 for the best, ``k`` where the labels are not among the ``k`` best.

    Example:
        >>> verb, noun = torch.tensor([[0.6, 0.4]]), torch.tensor([[0.9, 0.1]])
        >>> labels = {"verb": torch.tensor([1]), "noun": torch.tensor([0])}
        >>> combined_ranks({"verb": verb.log(), "noun": noun.log()}, labels, 5)
        tensor([1])
    """
    totals, right = torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool)
    for task, scores in log_scores.items():
        # a combination among the k best has a class among the k best of every task
        best, classes = torch.sort(scores, dim=1, descending=True, stable=True)
        best, classes = best[:, :k], classes[:, :k]
        hits = (classes == labels[task].view(-1, 1)) & ~best.isnan()  # (N, k)
        totals = (totals.to(best)[:, :, None] + best[:, None, :]).flatten(1)  # (N, k * k)
        right = (right.to(hits.device)[:, :, None] & hits[:, None, :]).flatten(1)
        totals, order = torch.sort(totals, dim=1, descending=True, stable=True)
        totals, right = totals[:, :k], right.gather(1, order[:, :k])
    misses = ~right.any(dim=1)
    return torch.where(misses, k, right.int().argmax(dim=1))


def _percent(hits: Tensor) -> float:
    if not hits.numel():
        raise ValueError("accuracy of no samples")
    return 100.0 * int(hits.sum()) / hits.numel()
