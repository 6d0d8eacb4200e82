"""Average precision, for clips with several labels."""

from __future__ import annotations

import torch
from torch import Tensor


def average_precision(scores: Tensor, targets: Tensor) -> float:
    """Area under the precision-recall steps of one class, in percent.

    ``sum_n (R_n - R_{n-1}) P_n`` over the distinct scores, without interpolation (what
    scikit-learn computes); equal scores share one threshold, so their order is irrelevant.

    Args:
        scores: ``(N,)``, higher = more likely.
        targets: ``(N,)`` of 0 and 1, with at least one 1.
    """
    order = scores.argsort(descending=True)
    scores, hits = scores[order], targets[order].double().cumsum(0)
    if not float(hits[-1]):
        raise ValueError("average precision needs at least one positive")
    last_of_tie = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
    last_of_tie[:-1] = scores[1:] != scores[:-1]
    places = torch.arange(1, len(scores) + 1, device=scores.device)[last_of_tie]
    hits = hits[last_of_tie]
    gained = torch.diff(hits, prepend=hits.new_zeros(1))
    return 100.0 * float((gained * hits / places).sum() / hits[-1])


def mean_average_precision(scores: Tensor, targets: Tensor) -> float:
    """Mean of :func:`average_precision` over the classes that have a positive, in percent.

    Args:
        scores: ``(N, C)``.
        targets: ``(N, C)`` of 0 and 1.
    """
    if not bool(torch.isfinite(scores).all()):
        raise ValueError("scores are not finite")
    present = targets.sum(0).nonzero().flatten().tolist()
    if not present:
        raise ValueError("mean average precision needs at least one positive")
    return sum(average_precision(scores[:, c], targets[:, c]) for c in present) / len(present)
