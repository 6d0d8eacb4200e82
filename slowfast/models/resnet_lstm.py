"""ResNet50+LSTM: an image network per frame, a recurrent one over the frames.

Donahue et al. 2015, https://arxiv.org/abs/1411.4389; this form, for EPIC-KITCHENS-100, is that of
https://github.com/Just4Stan/epic_kitchens, whose 285 MiB of weights are those of
``hidden_size=1024`` (its README says 512, which gives 155 MiB).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from slowfast.models.base import NumClasses, Preds, check_head_act
from slowfast.models.build import build_head, build_num_classes
from slowfast.models.layers.batchnorm import freeze_batchnorm
from slowfast.models.layers.checkpointing import run_checkpointed
from slowfast.models.layers.head import Classifier
from slowfast.models.layers.image_resnet import ImageResNet
from slowfast.models.pretrained import PretrainedModel

if TYPE_CHECKING:
    from yacs.config import CfgNode

State = tuple[Tensor, Tensor]
"""``(h, c)`` of the LSTM, each ``(layers, B, hidden_size)``."""

POOLS = ("mean", "last")


class ResNetLSTM(PretrainedModel):
    """A ResNet on every frame, an LSTM over its features, a linear classifier per task.

    With ``bidirectional=False`` and ``pool="last"`` a prediction depends on the frames so far
    through the state ``(h, c)`` alone: :meth:`step` takes one frame at a time. Other forms look at
    whole windows; :func:`~slowfast.models.streaming.to_streaming` runs those without computing a
    frame twice.

    Args:
        num_classes: of the one task, or ``{task: classes}``.
        depth: of the ResNet: 18, 34, 50, 101 or 152 layers.
        width: channels of its stem; 64, unless it is to be small.
        stages: of the ResNet that there are, 1 to 4.
        keypoints: features of frames tell also where things are, see
            :class:`~slowfast.models.layers.image_resnet.Keypoints`.
        hidden_size: of the LSTM, per direction.
        num_layers: of the LSTM.
        bidirectional: read the clip backwards too.
        pool: how outputs over time become one feature: ``mean``, or ``last`` (of a
            unidirectional LSTM).
        lstm_dropout: between the layers of the LSTM.
        dropout: before the classifiers.
        frozen_bn: batch norms of the ResNet keep their statistics, scale and shift. Meant for
            pretrained weights: a fresh ResNet needs its batch norms to train.
        pretrained: image weights to load at once, see
            :func:`~slowfast.models.layers.resnet2d.load_resnet2d`; empty: fresh ones.
        act_checkpoint: recompute activations of the ResNet in the backward pass to save memory.
        detach_head: train the classifiers only.
        head_act: see :class:`~slowfast.models.base.ClipModel`.
        fc_std: standard deviation of the classifiers' fresh weights.
    """

    def __init__(
        self,
        *,
        num_classes: NumClasses,
        depth: int = 50,
        width: int = 64,
        stages: int = 4,
        keypoints: bool = False,
        hidden_size: int = 1024,
        num_layers: int = 2,
        bidirectional: bool = True,
        pool: str = "mean",
        lstm_dropout: float = 0.3,
        dropout: float = 0.5,
        frozen_bn: bool = False,
        pretrained: str = "",
        act_checkpoint: bool = False,
        detach_head: bool = False,
        head_act: str = "softmax",
        fc_std: float = 0.01,
    ) -> None:
        super().__init__()
        self.pool = check_pool(pool, bidirectional=bidirectional)
        self.head_act = check_head_act(head_act)
        self.act_checkpoint = act_checkpoint
        self.image_depth = depth
        self.backbone = ImageResNet(depth, width, stages=stages, keypoints=keypoints)
        if frozen_bn:
            freeze_batchnorm(self.backbone)
        self.lstm = nn.LSTM(
            self.backbone.num_features,
            hidden_size,
            num_layers,
            batch_first=True,
            bidirectional=bidirectional,
            dropout=lstm_dropout if num_layers > 1 else 0.0,
        )
        self.num_features = hidden_size * (2 if bidirectional else 1)
        self.head = Classifier(dropout=dropout, detach=detach_head)
        self.head.add_classifiers(self.num_features, num_classes)
        self.head.init_classifiers(fc_std)
        self.load_pretrained(pretrained)

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> ResNetLSTM:
        """Fresh weights; those of ``MODEL.PRETRAINED`` are expected before training."""
        model = cls(
            num_classes=build_num_classes(cfg),
            depth=cfg.RESNET.DEPTH,
            width=cfg.RESNET.WIDTH_PER_GROUP,
            stages=cfg.LSTM.STAGES,
            keypoints=cfg.LSTM.KEYPOINTS,
            hidden_size=cfg.LSTM.HIDDEN_SIZE,
            num_layers=cfg.LSTM.NUM_LAYERS,
            bidirectional=cfg.LSTM.BIDIRECTIONAL,
            pool=cfg.LSTM.POOL,
            lstm_dropout=cfg.LSTM.DROPOUT_RATE,
            frozen_bn=cfg.MODEL.FROZEN_BN,
            act_checkpoint=cfg.MODEL.ACT_CHECKPOINT,
            fc_std=cfg.MODEL.FC_INIT_STD,
            **build_head(cfg),
        )
        model.expect_pretrained(cfg.MODEL.PRETRAINED)
        return model

    @property
    def image_part(self) -> nn.Module:
        return self.backbone

    @property
    def classifiers(self) -> dict[str, nn.Linear]:
        return self.head.classifiers

    def frame_features(self, frames: Tensor) -> Tensor:
        """``(B, 3, H, W)`` -> ``(B, width of the ResNet)``."""
        if not (self.act_checkpoint and self.training):
            return self.backbone(frames)
        x = self.backbone.stem(frames)
        for stage in self.backbone.stages:
            x = run_checkpointed(self.backbone.get_submodule(stage), x)
        return self.backbone.pool(x)

    def window_features(self, frames: Tensor) -> Tensor:
        """Frame features ``(B, T, width)`` -> ``(B, num_features)``."""
        outputs, _ = self.lstm(frames)
        return outputs[:, -1] if self.pool == "last" else outputs.mean(dim=1)

    def forward_features(self, clips: Sequence[Tensor]) -> Tensor:
        self.check_pretrained()
        frames = clips[0].transpose(1, 2)  # (B, T, 3, H, W)
        features = self.frame_features(frames.flatten(0, 1))
        return self.window_features(features.view(*frames.shape[:2], -1))

    def forward_head(self, features: Tensor) -> Preds:
        return self.head.classify(features)

    def step(self, frames: Tensor, state: State | None = None) -> tuple[Preds, State]:
        """Logits after one more frame of every stream, and the state to give with the next.

        Args:
            frames: ``(B, 3, H, W)``, one frame of each of B streams.
            state: of the frames before; ``None`` at the start.

        Raises:
            ValueError: the model is bidirectional or averages over time.
        """
        if self.pool != "last":
            raise ValueError(
                "only a unidirectional model with pool='last' runs frame by frame "
                "(LSTM.BIDIRECTIONAL False, LSTM.POOL last); for this one use "
                "slowfast.models.streaming.to_streaming(model, window=frames)"
            )
        outputs, state = self.lstm(self.frame_features(frames).unsqueeze(1), state)
        return self.forward_head(outputs[:, 0]), state


def check_pool(pool: str, *, bidirectional: bool) -> str:
    """``pool`` itself, when an LSTM of that kind has it."""
    if pool not in POOLS:
        raise ValueError(f"LSTM.POOL is {pool!r}: give one of {POOLS}")
    if pool == "last" and bidirectional:
        raise ValueError(
            "LSTM.POOL last does not go with LSTM.BIDIRECTIONAL True: the backward half of the "
            "last output has seen one frame only. Set LSTM.POOL mean, or LSTM.BIDIRECTIONAL False"
        )
    return pool
