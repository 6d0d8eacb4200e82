"""A two-layer clip classifier, small enough to test every engine path on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from slowfast.models.base import ClipModel, NumClasses, Preds, check_head_act
from slowfast.models.build import build_num_classes
from slowfast.models.layers.head import Classifier

if TYPE_CHECKING:
    from yacs.config import CfgNode


class TinyNet(ClipModel):
    """Conv3d -> BN -> ReLU -> Conv3d -> BN -> ReLU -> average pool -> linear.

    Args:
        num_classes: of the one task, or ``{task: classes}``.
        in_channels: channels of the clip.
        width: channels of the first convolution; the second has twice as many.
        dropout: probability before the classifier.
        head_act: see :class:`~slowfast.models.base.ClipModel`.
    """

    def __init__(
        self,
        *,
        num_classes: NumClasses,
        in_channels: int = 3,
        width: int = 8,
        dropout: float = 0.0,
        head_act: str = "softmax",
    ) -> None:
        super().__init__()
        self.head_act = check_head_act(head_act)
        self.num_features = 2 * width
        self.features = nn.Sequential(
            nn.Conv3d(in_channels, width, 3, padding=1, bias=False),
            nn.BatchNorm3d(width),
            nn.ReLU(inplace=True),
            nn.Conv3d(width, 2 * width, 3, stride=(1, 2, 2), padding=1, bias=False),
            nn.BatchNorm3d(2 * width),
            nn.ReLU(inplace=True),
        )
        self.head = Classifier(dropout=dropout)
        self.head.add_classifiers(self.num_features, num_classes)

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> TinyNet:
        """Every config key this model reads is read here and nowhere else."""
        return cls(
            num_classes=build_num_classes(cfg),
            in_channels=cfg.DATA.INPUT_CHANNEL_NUM[0],
            width=cfg.TINY.WIDTH,
            dropout=cfg.MODEL.DROPOUT_RATE,
            head_act=cfg.MODEL.HEAD_ACT,
        )

    @property
    def classifiers(self) -> dict[str, nn.Linear]:
        return self.head.classifiers

    def forward_features(self, clips: Sequence[Tensor]) -> Tensor:
        return self.features(clips[0]).mean(dim=(2, 3, 4))

    def forward_head(self, features: Tensor) -> Preds:
        return self.head.classify(features)
