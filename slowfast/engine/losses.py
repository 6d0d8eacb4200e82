"""Label losses by PySlowFast's names (``MODEL.LOSS_FUNC``).

All take logits: PySlowFast's ``bce`` wants probabilities, because its heads may apply a
sigmoid in training; here heads give logits in every mode, so ``bce`` and ``bce_logit`` are the
same number, computed the stable way.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch.nn.functional as F
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(logits: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """Softmax cross entropy in nats, batch mean.

    Args:
        logits: ``(B, C)``.
        labels: ``(B,)`` class ids, or ``(B, C)`` probabilities as mixup and cutmix give them;
            those are taken as they are, since mixup smooths by itself.
        label_smoothing: probability spread evenly over all classes, in [0, 1).
    """
    smoothing = 0.0 if labels.is_floating_point() else label_smoothing
    return F.cross_entropy(logits, labels, label_smoothing=smoothing)


def binary_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Sigmoid cross entropy in nats, mean over batch and classes: multi-label clips.

    Args:
        logits: ``(B, C)``.
        labels: ``(B, C)`` in [0, 1].
    """
    return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))


def mse(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean squared error, mean over batch and outputs; both ``(B, C)``."""
    return F.mse_loss(logits, labels.to(logits.dtype))


def cosine(outputs: Tensor, targets: Tensor) -> Tensor:
    """1 - cosine of output and target, batch mean, in [0, 2]; both ``(B, C)``, of any length."""
    return 1.0 - F.cosine_similarity(outputs, targets.to(outputs.dtype)).mean()


LOSSES: dict[str, Callable[..., Tensor]] = {
    "cross_entropy": cross_entropy,
    "soft_cross_entropy": cross_entropy,  # one function for class ids and distributions
    "am_softmax": cross_entropy,  # to evaluate; training has MetricLearning
    "bce": binary_cross_entropy,
    "bce_logit": binary_cross_entropy,
    "mse": mse,
    "cosine": cosine,
}
REGRESSIONS = ("mse", "cosine")
"""Losses that compare vectors: of features, not of classes."""


def find_loss(name: str, *, label_smoothing: float = 0.0) -> Loss:
    """The loss called ``name``.

    Args:
        name: one of ``LOSSES``.
        label_smoothing: of class ids, by the cross entropies (``MODEL.LABEL_SMOOTHING``).

    Raises:
        ValueError: unknown name.
    """
    if name not in LOSSES:
        raise ValueError(f"MODEL.LOSS_FUNC is {name!r}; known: {', '.join(sorted(LOSSES))}")
    loss = LOSSES[name]
    return partial(loss, label_smoothing=label_smoothing) if loss is cross_entropy else loss
