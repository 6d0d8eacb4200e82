"""What a student loses against its teacher: functions of tensors, computed in float32.

Every loss is 0 when student and teacher agree, and is a mean over the clips of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

LogitLoss = Callable[..., Tensor]
EPSILON = 1e-8


def kd(student: Tensor, teacher: Tensor, *, temperature: float = 4.0) -> Tensor:
    """KL(teacher || student) of softened class distributions, in nats, times ``temperature**2``.

    The gradient of softened logits shrinks as ``1 / temperature**2``; multiplying it back
    keeps the balance with a label loss when the temperature changes (Hinton et al. 2015,
    https://arxiv.org/abs/1503.02531, section 2).

    Args:
        student: logits ``(B, C)``.
        teacher: logits ``(B, C)``.
        temperature: softening, above 0; 1 leaves the distributions as they are.

    Example:
        >>> logits = torch.tensor([[2.0, 0.0]])
        >>> kd(logits, logits).item()
        0.0
    """
    log_p = F.log_softmax(teacher.float() / temperature, dim=1)
    log_q = F.log_softmax(student.float() / temperature, dim=1)
    return F.kl_div(log_q, log_p, reduction="batchmean", log_target=True) * temperature**2


def kd_zscore(student: Tensor, teacher: Tensor, *, temperature: float = 4.0) -> Tensor:
    """:func:`kd` of logits standardised per clip.

    The student need not match the range of the teacher's logits, only their pattern (Sun et al.
    2024, https://arxiv.org/abs/2403.01427, section 4).

    Args:
        student, teacher: logits ``(B, C)``.
        temperature: of the standardised logits, above 0.
    """
    return kd(_standardise(student), _standardise(teacher), temperature=temperature)


def _standardise(logits: Tensor) -> Tensor:
    logits = logits.float()
    spread = logits.std(dim=1, unbiased=False, keepdim=True)
    return (logits - logits.mean(dim=1, keepdim=True)) / (spread + EPSILON)


def dkd(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    *,
    temperature: float = 4.0,
    target_weight: float = 1.0,
    other_weight: float = 8.0,
) -> Tensor:
    """Decoupled distillation: the true class against the rest, and the rest among themselves.

    In :func:`kd` the second part is weighted by the probability the teacher leaves to the other
    classes, so a sure teacher teaches little; here both have a weight of their own (Zhao et al.
    2022, https://arxiv.org/abs/2203.08679, equation 7; weights of its CIFAR experiments).

    Args:
        student, teacher: logits ``(B, C)``, C at least 2.
        labels: class ids ``(B,)``; of mixed labels ``(B, C)`` the largest counts as true.
        temperature: softening, above 0.
        target_weight: alpha of the paper.
        other_weight: beta of the paper.
    """
    if labels.ndim == 2:
        labels = labels.argmax(dim=1)
    true = F.one_hot(labels, student.shape[1]).bool()
    log_p = F.log_softmax(teacher.float() / temperature, dim=1)
    log_q = F.log_softmax(student.float() / temperature, dim=1)
    p, q = (_log_binary(log, true) for log in (log_p, log_q))
    target = F.kl_div(q, p, reduction="batchmean", log_target=True)
    p, q = (_log_others(log, true) for log in (log_p, log_q))
    others = F.kl_div(q, p, reduction="batchmean", log_target=True)
    return (target_weight * target + other_weight * others) * temperature**2


def _log_binary(log_p: Tensor, true: Tensor) -> Tensor:
    """Log probabilities ``(B, 2)`` of the true class and of all others together."""
    others = log_p.masked_fill(true, -torch.inf).logsumexp(dim=1)
    return torch.stack([log_p[true], others], dim=1)


def _log_others(log_p: Tensor, true: Tensor) -> Tensor:
    """Log probabilities ``(B, C - 1)`` of the other classes, given that it is one of them."""
    others = log_p[~true].view(len(log_p), -1)
    return others - others.logsumexp(dim=1, keepdim=True)


def dist(
    student: Tensor,
    teacher: Tensor,
    *,
    temperature: float = 4.0,
    inter_weight: float = 1.0,
    intra_weight: float = 1.0,
) -> Tensor:
    """DIST: one minus the correlation of the predictions, over classes and over clips.

    A correlation asks for the teacher's preferences, not for its probabilities, which a small
    student cannot match (Huang et al. 2022, https://arxiv.org/abs/2205.10536, equation 9).

    Args:
        student, teacher: logits ``(B, C)``.
        temperature: softening, above 0. The loss is multiplied by its square, as in :func:`kd`.
        inter_weight: of the correlation over the classes of each clip (beta of the paper).
        intra_weight: of the correlation over the clips for each class (gamma of the paper); a
            batch of one clip has none.
    """
    p, q = ((logits.float() / temperature).softmax(dim=1) for logits in (teacher, student))
    loss = inter_weight * (1 - _correlation(q, p)).mean()
    if len(p) > 1:
        loss = loss + intra_weight * (1 - _correlation(q.t(), p.t())).mean()
    return loss * temperature**2


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson correlation of the rows of two ``(N, M)`` tensors, ``(N,)``."""
    a, b = (rows - rows.mean(dim=1, keepdim=True) for rows in (a, b))
    return F.cosine_similarity(a, b, dim=1, eps=EPSILON)


def feature(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of features of length 1, times their width: 0 to 4.

    Args:
        student: ``(B, D)``, projected to the teacher's width.
        teacher: ``(B, D)``.
    """
    a, b = (F.normalize(rows.float(), dim=1) for rows in (student, teacher))
    return (a - b).square().sum(dim=1).mean()


def attention(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Squared distance of where two networks look, in space and time: 0 to 2.

    The map of a network is the mean square of its activations over channels, of length 1
    (Zagoruyko and Komodakis 2017, https://arxiv.org/abs/1612.03928, equation 2).

    Args:
        student: activations ``(B, C, T, H, W)`` of one or several places.
        teacher: of as many places; any C, T, H, W: the larger map is averaged down.
    """
    losses = []
    for ours, theirs in zip(student, teacher, strict=True):
        time, height, width = map(min, ours.shape[2:], theirs.shape[2:])
        a, b = (attention_map(x, (time, height, width)) for x in (ours, theirs))
        losses.append((a - b).square().sum(dim=1).mean())
    return torch.stack(losses).mean()


def attention_map(activations: Tensor, size: tuple[int, int, int]) -> Tensor:
    """``(B, C, T, H, W)`` -> ``(B, T' * H' * W')`` of length 1, with ``size`` = (T', H', W')."""
    energy = activations.float().square().mean(dim=1, keepdim=True)
    return F.normalize(F.adaptive_avg_pool3d(energy, size).flatten(1), dim=1)


LOGIT_LOSSES: dict[str, LogitLoss] = {"kd": kd, "kd_zscore": kd_zscore, "dkd": dkd, "dist": dist}
"""Losses of logits; ``dkd`` also takes labels."""
NETWORK_LOSSES = ("feature", "attention")
"""Losses of what lies before the logits."""
LOSSES = (*LOGIT_LOSSES, *NETWORK_LOSSES)
