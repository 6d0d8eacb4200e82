"""Models that classify by the direction of an embedding."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from slowfast.models.base import ClipModel, Preds
from slowfast.models.layers.cosine_head import CosineClassifier, CosineHead


class CosineModel(ClipModel):
    """A clip classifier whose features have length 1 and whose logits are scaled cosines.

    A cosine is at most 1, which a softmax over some dozens of classes turns into a few percent:
    logits are ``scale`` times the cosines, in training and evaluation alike, so that every
    objective, metric and exporter for logits is as good for this model. Objectives with a margin
    take what comes before: :meth:`forward_cosines`, ``centres``, and the embeddings themselves,
    :meth:`forward_features`.

    Attributes:
        head: embeds and compares.
        scale: of the logits, ``COSINE.SCALE``.
    """

    head: CosineHead
    scale: float

    @property
    def classifiers(self) -> dict[str, nn.Linear]:
        return self.head.classifiers

    @property
    def centres(self) -> dict[str, Tensor]:
        """Task -> class centres ``(num_features, num_classes)``, columns of length 1."""
        layers = cast("dict[str, CosineClassifier]", self.classifiers)
        return {task: layer.centres for task, layer in layers.items()}

    def forward_cosines(self, features: Tensor) -> Preds:
        """Embeddings ``(B, num_features)`` -> cosines ``(B, num_classes)`` (of every task)."""
        return self.head.classify(features)

    def forward_head(self, features: Tensor) -> Preds:
        cosines = self.forward_cosines(features)
        if isinstance(cosines, dict):
            return {task: self.scale * value for task, value in cosines.items()}
        return self.scale * cosines
