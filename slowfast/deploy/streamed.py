"""What a running stream takes, and cropped frames in that form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from slowfast.deploy.export.info import ExportInfo
from slowfast.deploy.export.streaming import StreamInfo
from slowfast.deploy.frames import normalize, stack


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
        ``(1, 3, H, W)``, or ``(1, 3, period, H, W)`` of more than one; in the
        frames' order in memory.
    """
    clip, taken = plan.clip, stack(frames)
    if clip.channels == "BGR":
        taken = taken.flip(1)
    if not clip.normalized_inside:
        taken = normalize(taken, clip.mean, clip.std)
    return taken[:, :, 0] if plan.period == 1 else taken
