"""A head that compares directions: embeddings and class centres of length 1."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slowfast.models.base import NumClasses
from slowfast.models.layers.conv import conv3d
from slowfast.models.layers.head import Classifier


class CosineClassifier(nn.Linear):
    """Cosines between features of length 1 and one centre per class.

    ``weight`` is ``(num_classes, num_features)``; its rows have any length.
    """

    def __init__(self, num_features: int, num_classes: int) -> None:
        super().__init__(num_features, num_classes, bias=False)

    def reset_parameters(self) -> None:
        """Centres of length 1, their directions uniform on the sphere."""
        nn.init.normal_(self.weight)
        with torch.no_grad():
            self.weight.copy_(F.normalize(self.weight, dim=1))

    @property
    def centres(self) -> Tensor:
        """``(num_features, num_classes)``, columns of length 1."""
        return F.normalize(self.weight, dim=1).t()

    def forward(self, features: Tensor) -> Tensor:
        """``(..., num_features)`` -> cosines ``(..., num_classes)`` in [-1, 1]."""
        return in_full_precision(self._cosines, features)

    def _cosines(self, features: Tensor) -> Tensor:
        cosines = F.linear(features, F.normalize(self.weight, dim=1))
        return cosines.clamp(-1.0, 1.0)  # rounding may exceed 1


class CosineHead(Classifier):
    """Average-pool, embed in ``num_features`` dimensions, scale to length 1, compare with centres.

    Args:
        dim_in: channels of the last feature map.
        num_features: width of the embedding, which all tasks share.
        num_classes: of the one task, or ``{task: classes}``.
        dropout: of the pooled features.
        detach: train the centres only.
    """

    def __init__(
        self,
        dim_in: int,
        num_features: int,
        num_classes: NumClasses,
        *,
        dropout: float = 0.0,
        detach: bool = False,
    ) -> None:
        super().__init__(detach=detach)
        self.pooled_dropout = nn.Dropout(dropout)
        self.embedding = conv3d(dim_in, num_features, (1, 1, 1))
        self.embedding_bn = nn.BatchNorm3d(num_features)
        self.add_classifiers(num_features, num_classes)

    def new_classifier(self, num_features: int, num_classes: int) -> nn.Linear:
        return CosineClassifier(num_features, num_classes)

    def embed(self, x: Tensor) -> Tensor:
        """``(B, dim_in, T, H, W)`` -> embeddings ``(B, num_features)`` of length 1."""
        pooled = self.pooled_dropout(x.mean(dim=(2, 3, 4), keepdim=True))
        embedded = self.embedding_bn(self.embedding(pooled)).flatten(1)
        return in_full_precision(F.normalize, embedded)


def in_full_precision(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """``function(x)`` without autocasting.

    Eight bits of a cosine times a scale of 30 are too few for its softmax.
    """
    kind = x.device.type
    if kind == "meta" or not torch.is_autocast_enabled(kind):
        return function(x)  # nothing more that an exporter would record
    with torch.autocast(kind, enabled=False):
        return function(x.float())
