"""Per-class scores and their unweighted means, from a confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class ClassRow(NamedTuple):
    """One class of the per-class table; shares in percent, counts in samples."""

    name: str
    support: int
    predicted: int
    precision: float
    recall: float
    f1: float


class MeanClass(NamedTuple):
    """Unweighted means over classes, in percent."""

    precision: float
    recall: float
    f1: float


def confusion_matrix(predicted: Tensor, labels: Tensor, num_classes: int) -> Tensor:
    """Counts ``(num_classes, num_classes)`` int64: row = label, column = prediction.

    Args:
        predicted: ``(N,)`` class ids.
        labels: ``(N,)`` class ids.
        num_classes: size of the matrix; ids must be below it.
    """
    for name, ids in (("prediction", predicted), ("label", labels)):
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < num_classes:
            raise ValueError(f"a {name} lies outside 0..{num_classes - 1}")
    cells = labels.long() * num_classes + predicted.long()
    return torch.bincount(cells, minlength=num_classes**2).view(num_classes, num_classes)


def _shares(confusion: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Precision, recall and F1 of every class ``(C,)`` in percent; 0 where nothing divides."""
    counts = confusion.double()
    hits, support, predicted = counts.diag(), counts.sum(1), counts.sum(0)
    precision = 100 * hits / predicted.clamp(min=1)
    recall = 100 * hits / support.clamp(min=1)
    f1 = 200 * hits / (support + predicted).clamp(min=1)
    return precision, recall, f1


def mean_class(confusion: Tensor) -> MeanClass:
    """Unweighted (macro) means, over the classes that occur among labels or predictions.

    A class without predictions has precision 0 and one without labels recall 0
    (scikit-learn's ``average="macro", zero_division=0``). Classes that occur in neither do
    not count.

    Args:
        confusion: ``(C, C)`` from :func:`confusion_matrix`.
    """
    occurs = (confusion.sum(0) + confusion.sum(1)) > 0
    if not bool(occurs.any()):
        raise ValueError("mean-class scores of no samples")
    return MeanClass(*(float(share[occurs].mean()) for share in _shares(confusion)))


def mean_class_accuracy(confusion: Tensor) -> float:
    """Mean recall over the classes that have labels, in percent (balanced accuracy)."""
    labelled = confusion.sum(1) > 0
    if not bool(labelled.any()):
        raise ValueError("mean-class accuracy of no samples")
    return float(_shares(confusion)[1][labelled].mean())


def per_class_table(confusion: Tensor, class_names: Sequence[str] | None = None) -> list[ClassRow]:
    """One row per class, in class order, also for classes that do not occur.

    Args:
        confusion: ``(C, C)`` from :func:`confusion_matrix`.
        class_names: ``C`` names; the class ids when left out.
    """
    size = len(confusion)
    names = list(class_names) if class_names is not None else [str(i) for i in range(size)]
    if len(names) != size:
        raise ValueError(f"{len(names)} class names for {size} classes")
    counts = zip(confusion.sum(1).tolist(), confusion.sum(0).tolist(), strict=True)
    shares = zip(*(share.tolist() for share in _shares(confusion)), strict=True)
    return [
        ClassRow(name, *count, *share)
        for name, count, share in zip(names, counts, shares, strict=True)
    ]
