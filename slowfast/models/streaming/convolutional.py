"""Streaming networks made of a clip model's convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from slowfast.models.base import ClipModel, Preds
from slowfast.models.cosine import CosineModel
from slowfast.models.layers.head import X3DHead
from slowfast.models.layers.tracing import is_traced
from slowfast.models.mobilenet3d import MobileNet3D
from slowfast.models.mobilenetv3 import MobileNetV3
from slowfast.models.staged import StagedModel
from slowfast.models.streaming.conv import CachedConv
from slowfast.models.streaming.heads import (
    Classify,
    Embed,
    WindowPool,
    cosine_embed,
    plan_windows,
    x3d_parts,
)
from slowfast.models.streaming.memory import Memory
from slowfast.models.streaming.model import StreamingModel, StreamSpec
from slowfast.models.streaming.stream import StreamingError
from slowfast.models.streaming.trunks import ChainTrunk, MobileNetV3Trunk, StagedTrunk, Trunk
from slowfast.models.tiny import TinyNet

Sizes = Sequence[tuple[int, int] | None]


class ConvStream(StreamingModel):
    """Trunk, window, embedding, classifiers: every convolutional family.

    Args:
        model: of which the weights are copied.
        frame_size: height and width of a frame; ``None``: what the head was made for.
        window: frames pooled; ``None``: a clip's.
        dense: see :class:`~slowfast.models.streaming.model.StreamingModel`.
    """

    def __init__(
        self,
        model: ClipModel,
        *,
        frame_size: tuple[int, int] | None = None,
        window: int | None = None,
        dense: bool = False,
    ) -> None:
        trunk, sizes = build_trunk(model)
        window = window or clip_frames(model, trunk)
        plan = plan_windows(trunk.timings, window)
        first = next(module for module in trunk.modules() if isinstance(module, CachedConv))
        super().__init__(
            StreamSpec(
                tasks=tuple(model.classifiers),
                head_act=model.head_act,
                frame_size=frame_size or clip_size(sizes),
                channels=first.taps[0].shape[1] * first.options[3],
                window=window,
                delay=plan.delay,
                receptive_field=plan.receptive_field,
                period=max(timing.rate for timing in trunk.timings),
                dense=dense,
            )
        )
        self.trunk = trunk
        self.pool = WindowPool(trunk.timings, plan, sizes)
        self.embed = build_embed(model)
        scale = model.scale if isinstance(model, CosineModel) else 1.0
        self.classify = Classify(model.classifiers, scale)
        self.requires_grad_(False).eval()
        # X3D-S on one core: a step takes 3/4 of the time.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def run(self, frame: Tensor, memory: Memory) -> Preds:
        if not is_traced():
            frame = frame.contiguous(memory_format=torch.channels_last)
        pooled = self.pool(self.trunk(frame, memory), memory)
        return self.classify(self.embed(pooled, memory))


def build_trunk(model: ClipModel) -> tuple[Trunk, Sizes]:
    """The streaming trunk of a clip model, and what its head averages of each pathway's map."""
    if isinstance(model, StagedModel):
        trunk = StagedTrunk(model)
        if isinstance(model.head, X3DHead):
            return trunk, [model.head.pool_size[1:]]
        return trunk, [size[1:] for size in model.head.pool_sizes]
    if isinstance(model, MobileNetV3):
        return MobileNetV3Trunk(model.backbone), [None]
    if isinstance(model, MobileNet3D | TinyNet):
        return ChainTrunk([("features", model.features)]), [None]
    raise StreamingError(
        f"{type(model).__name__} has no streaming form; X3D, ResNet (c2d, i3d, slow), SlowFast, "
        "MobileNet, MobileNetV3, ResNetLSTM and IMFE have"
    )


def build_embed(model: ClipModel) -> Embed:
    """What follows the pooling, but for the classifiers."""
    if isinstance(model, CosineModel):
        return cosine_embed(model)
    if isinstance(model, StagedModel) and isinstance(model.head, X3DHead):
        return Embed(x3d_parts(model.head)[1], "relu")
    return Embed([], "plain")


def clip_frames(model: ClipModel, trunk: Trunk) -> int:
    """Frames of the clips that a head was made for.

    Raises:
        StreamingError: the model does not know.
    """
    if isinstance(model, StagedModel):
        head = model.head
        size = head.pool_size if isinstance(head, X3DHead) else head.pool_sizes[0]
        return size[0] * trunk.timings[0].rate
    raise StreamingError(
        f"{type(model).__name__} does not know how many frames its clips had: give window "
        "(DATA.NUM_FRAMES)"
    )


def clip_size(sizes: Sizes) -> tuple[int, int]:
    """Frame size of which a head averages the whole map."""
    size = sizes[0]
    if size is None:
        raise StreamingError(
            "the model does not know the size of its frames: give frame_size, (height, width)"
        )
    return size[0] * 32, size[1] * 32
