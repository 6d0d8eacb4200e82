"""What C2D, I3D, Slow, SlowFast and X3D share: stages run in order, then a head."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from slowfast.models.base import ClipModel, Preds, activate
from slowfast.models.layers.head import PoolHead, X3DHead


class StagedModel(ClipModel):
    """Runs ``stages`` over a list of pathways and classifies what the head pools.

    A clip as large as in training leaves one position after pooling. A larger or longer one
    leaves several: :meth:`forward` returns the mean of their logits, :meth:`predict` the mean
    of their probabilities, as PySlowFast's fully convolutional testing does. A smaller or
    shorter one is pooled as a whole.

    Attributes:
        stages: names of the sub-modules, in order; each maps a list of pathways to one.
        num_pathways: clips expected: 2 for ``[slow, fast]``.
        head: pools and classifies.
    """

    stages: tuple[str, ...]
    num_pathways: int = 1
    head: PoolHead | X3DHead

    @property
    def classifiers(self) -> dict[str, nn.Linear]:
        return self.head.classifiers

    def trunk(self, clips: Sequence[Tensor]) -> list[Tensor]:
        """``(B, C, T_p, H, W)`` per pathway -> feature maps, H and W 32 times smaller."""
        x = list(clips)
        if len(x) != self.num_pathways:
            raise ValueError(
                f"{type(self).__name__} takes {self.num_pathways} pathway(s), got {len(x)}: "
                "pack the clip for this model ([clip], or [slow, fast] for SlowFast)"
            )
        for name in self.stages:
            x = getattr(self, name)(x)
        return x

    def positions(self, clips: Sequence[Tensor]) -> Tensor:
        """Features of every pooled position, ``(B, T', H', W', num_features)``."""
        return self.head.positions(self.trunk(clips))

    def forward_features(self, clips: Sequence[Tensor]) -> Tensor:
        return self.positions(clips).mean(dim=(1, 2, 3))

    def forward_head(self, features: Tensor) -> Preds:
        return self.head.classify(features)

    def predict(self, clips: Sequence[Tensor]) -> Preds:
        """Scores ``(B, num_classes)``, activated per position, then averaged."""
        return self.score(clips)[1]

    def score(self, clips: Sequence[Tensor]) -> tuple[Preds, Preds]:
        logits = self.head.classify(self.positions(clips))
        return _mean_of_positions(logits), _mean_of_positions(activate(logits, self.head_act))


def _mean_of_positions(preds: Preds) -> Preds:
    """``(B, T', H', W', num_classes)`` -> ``(B, num_classes)``."""
    if isinstance(preds, dict):
        return {task: value.mean(dim=(1, 2, 3)) for task, value in preds.items()}
    return preds.mean(dim=(1, 2, 3))
