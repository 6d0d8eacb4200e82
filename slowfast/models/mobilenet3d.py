"""MobileNet-3D: MobileNet-v1 with 3x3x3 kernels, Köpüklü et al. 2019.

https://arxiv.org/abs/1904.02422, table 2; the plain network is Howard et al. 2017,
https://arxiv.org/abs/1704.04861. Module names are those of Resource-Efficient-PySlowFast
(``features.{0..13}``, ``classifier.1``), so its checkpoints load with ``strict=True``. Unlike
there, :meth:`MobileNet3D.forward` gives logits: a softmax before the cross entropy flattens the
gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from slowfast.models.base import ClipModel, NumClasses, Preds, check_head_act
from slowfast.models.build import build_head, build_num_classes
from slowfast.models.layers.conv import conv3d
from slowfast.models.layers.init import init_weights

if TYPE_CHECKING:
    from yacs.config import CfgNode

GROUPS = ((64, 1, 2), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 1))
"""Channels, blocks and spatial stride of each group of blocks, after a stem of 32 channels."""

NUM_TEMPORAL_STRIDES = 4
"""Groups that halve the clip in the published network, the first four."""


class SeparableBlock(nn.Module):
    """Depthwise 3x3x3 and pointwise convolution, each with batch norm and ReLU."""

    def __init__(self, dim_in: int, dim_out: int, stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.conv1 = conv3d(dim_in, dim_in, (3, 3, 3), stride=stride, groups=dim_in)
        self.bn1 = nn.BatchNorm3d(dim_in)
        self.conv2 = conv3d(dim_in, dim_out, (1, 1, 1))
        self.bn2 = nn.BatchNorm3d(dim_out)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)))

    def begin_near_identity(self, std: float = 0.2) -> None:
        """Depthwise filters that pass on the middle pixel, and noise of ``std`` from all 27.

        A plain network of random filters blurs where and when things are in block after block,
        and learns nothing for epochs; a middle tap does what a shortcut would (Zagoruyko and
        Komodakis 2017, https://arxiv.org/abs/1706.00388, section 3). What 13 blocks then learn
        in how many epochs: docs/models.md.
        """
        weight = self.conv1.weight
        nn.init.normal_(weight, std=std)
        with torch.no_grad():
            weight[:, :, 1, 1, 1] += 1


class MobileNet3D(ClipModel):
    """A stem, 13 depthwise-separable blocks, global average pool, linear classifier(s).

    The published network halves the clip four times, 16 frames to 1. Eight frames would be down
    to one before the last eight blocks, whose temporal kernels then see padding only. So the
    default halves a shorter clip as often as it can, and in the *later* groups: 8 frames go
    8, 8, 4, 2, 1, the same lengths from the second group on as 16 frames do. Weights have the same
    shapes either way. Longer clips are halved four times.

    Args:
        num_classes: of the one task, or ``{task: classes}``.
        width_mult: multiplies the channels of every layer.
        in_channels: channels of the clip.
        num_frames: frames of a clip; read where ``temporal_strides`` is empty.
        temporal_strides: of the first four groups, e.g. ``(2, 2, 2, 2)`` as published; empty: by
            :func:`default_temporal_strides`.
        dropout: before the classifier.
        detach_head: train the classifier only.
        head_act: see :class:`~slowfast.models.base.ClipModel`.
        fc_std: see :func:`~slowfast.models.layers.init.init_weights`.
    """

    def __init__(
        self,
        *,
        num_classes: NumClasses,
        width_mult: float = 1.0,
        in_channels: int = 3,
        num_frames: int = 16,
        temporal_strides: Sequence[int] = (),
        dropout: float = 0.2,
        detach_head: bool = False,
        head_act: str = "softmax",
        fc_std: float = 0.01,
    ) -> None:
        super().__init__()
        self.head_act = check_head_act(head_act)
        self.detach_head = detach_head
        strides = check_temporal_strides(temporal_strides, num_frames)
        dim_in = scaled(32, width_mult)
        stem = nn.Sequential(
            conv3d(in_channels, dim_in, (3, 3, 3), stride=(1, 2, 2)),
            nn.BatchNorm3d(dim_in),
            nn.ReLU(inplace=True),
        )
        layers: list[nn.Module] = [stem]
        for (width, blocks, stride), stride_t in zip(GROUPS, (*strides, 1), strict=True):
            dim_out = scaled(width, width_mult)
            for i in range(blocks):
                first = (stride_t, stride, stride) if i == 0 else (1, 1, 1)
                layers.append(SeparableBlock(dim_in, dim_out, first))
                dim_in = dim_out
        self.features = nn.Sequential(*layers)
        self.num_features = dim_in
        self.tasks = tuple(num_classes) if isinstance(num_classes, Mapping) else ("action",)
        self.classifier = nn.Sequential(nn.Dropout(dropout), linear(dim_in, num_classes))
        init_weights(self, fc_std=fc_std)
        for block in layers[1:]:
            cast("SeparableBlock", block).begin_near_identity()

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> MobileNet3D:
        return cls(
            num_classes=build_num_classes(cfg),
            width_mult=cfg.MODEL.WIDTH_MULT,
            in_channels=cfg.DATA.INPUT_CHANNEL_NUM[0],
            num_frames=cfg.DATA.NUM_FRAMES,
            temporal_strides=cfg.MOBILENET.TEMPORAL_STRIDES,
            fc_std=cfg.MODEL.FC_INIT_STD,
            **build_head(cfg),
        )

    @property
    def classifiers(self) -> dict[str, nn.Linear]:
        last = self.classifier[1]
        layers = last.values() if isinstance(last, nn.ModuleDict) else [last]
        return dict(zip(self.tasks, cast("list[nn.Linear]", layers), strict=True))

    def forward_features(self, clips: Sequence[Tensor]) -> Tensor:
        return self.features(clips[0]).mean(dim=(2, 3, 4))

    def forward_head(self, features: Tensor) -> Preds:
        dropout = self.classifier[0]
        features = dropout(features.detach() if self.detach_head else features)
        logits = {task: layer(features) for task, layer in self.classifiers.items()}
        return logits if len(logits) > 1 else logits[self.tasks[0]]


def linear(num_features: int, num_classes: NumClasses) -> nn.Module:
    """One classifier, or ``{task: classifier}`` for several tasks."""
    if isinstance(num_classes, int):
        return nn.Linear(num_features, num_classes)
    if not num_classes:
        raise ValueError("num_classes names no task: give a number or {task: classes}")
    layers = {task: nn.Linear(num_features, classes) for task, classes in num_classes.items()}
    return nn.ModuleDict(layers) if len(layers) > 1 else next(iter(layers.values()))


def scaled(width: int, multiplier: float) -> int:
    """Channels of a layer, rounded down as in the published code, at least 1."""
    return max(1, int(width * multiplier))


def default_temporal_strides(num_frames: int) -> tuple[int, ...]:
    """As many halvings as leave a frame, four at most, in the later groups.

    Example:
        >>> default_temporal_strides(16), default_temporal_strides(8), default_temporal_strides(3)
        ((2, 2, 2, 2), (1, 2, 2, 2), (1, 1, 1, 2))
    """
    halvings = min(max(num_frames, 1).bit_length() - 1, NUM_TEMPORAL_STRIDES)
    return (1,) * (NUM_TEMPORAL_STRIDES - halvings) + (2,) * halvings


def check_temporal_strides(strides: Sequence[int], num_frames: int) -> tuple[int, ...]:
    """``strides``, or the default for clips of ``num_frames`` where it is empty.

    Raises:
        ValueError: not four, or not each 1 or 2.
    """
    if not strides:
        return default_temporal_strides(num_frames)
    if len(strides) != NUM_TEMPORAL_STRIDES or not set(strides) <= {1, 2}:
        raise ValueError(
            f"MOBILENET.TEMPORAL_STRIDES is {list(strides)}: give {NUM_TEMPORAL_STRIDES} of 1 or "
            "2, for the groups of 64, 128, 256 and 512 channels, or [] to choose by the clip length"
        )
    return tuple(strides)
