"""Scores: tensors or arrays in, numbers out. No state, no files, no config.

Every share is in percent, as PySlowFast logs it.
"""

from slowfast.metrics.classification import (
    ClassRow,
    MeanClass,
    confusion_matrix,
    mean_class,
    mean_class_accuracy,
    per_class_table,
)
from slowfast.metrics.multilabel import average_precision, mean_average_precision
from slowfast.metrics.topk import combined_ranks, label_ranks, rank_accuracy, topk_accuracy

__all__ = [
    "ClassRow",
    "MeanClass",
    "average_precision",
    "combined_ranks",
    "confusion_matrix",
    "label_ranks",
    "mean_average_precision",
    "mean_class",
    "mean_class_accuracy",
    "per_class_table",
    "rank_accuracy",
    "topk_accuracy",
]
