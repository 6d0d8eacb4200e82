"""What a running stream takes, and cropped frames in that form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from slowfast.deploy.export.info import ExportInfo
from slowfast.deploy.export.streaming import StreamInfo


@dataclass(frozen=True)
class StreamPlan:
    """What must be known to feed a stream.

    Attributes:
        clip: how frames are prepared, classes, see :class:`StreamInfo`.
        period: frames that one call takes.
        window: frames that a prediction is about.
        delay: from the first of them to the newest frame.
    """

    clip: ExportInfo
    period: int
    window: int
    delay: int

    @classmethod
    def of_file(cls, info: StreamInfo) -> StreamPlan:
        """Of an exported stream."""
        return cls(info.clip, info.period, info.window, info.delay)


def as_taken(frames: Sequence[Tensor], plan: StreamPlan) -> Tensor:
    """Cropped frames as one call of the stream takes them.

    Args:
        frames: ``plan.period`` of them, uint8 ``(3, H, W)``, RGB.
        plan: of the stream.

    Returns:
        ``(1, 3, H, W)``, or ``(1, 3, period, H, W)`` of more than one.
    """
    clip = plan.clip
    pixels = frames[0] if plan.period == 1 else torch.stack(list(frames), dim=1)
    if clip.channels == "BGR":
        pixels = pixels.flip(0)
    if clip.normalized_inside:
        return pixels[None].contiguous()
    shape = (-1, *[1] * (pixels.ndim - 1))
    mean, std = (torch.tensor(values).view(shape) for values in (clip.mean, clip.std))
    return (pixels.float() * (1.0 / (255.0 * std)) - mean / std)[None].contiguous()
