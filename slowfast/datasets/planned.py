"""Reading of just those pixels that a spatial plan uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from slowfast.datasets.decode import Frames, RegionReader, VideoReader


def read_planned(
    reader: VideoReader, numbers: Sequence[int], transform: Any, plan: Any
) -> tuple[Frames, Any]:
    """The frames for a plan, and the plan for these frames.

    Where the reader can scale a part of the frames and the plan shows one, no more is scaled: a
    third of a frame's work for a 224 crop of a 256 to 320 short side.

    Args:
        reader: of the video.
        numbers: of the frames.
        transform: made the plan; says with ``region`` which part of the frames it shows.
        plan: see :class:`slowfast.datasets.transforms.SpatialPlan`.
    """
    find = getattr(transform, "region", None)
    region = find(plan, reader.height, reader.width) if find else None
    if region is None or not isinstance(reader, RegionReader):
        return reader.read(numbers, plan.short_side), plan
    return reader.read_region(numbers, region), plan.within(region.size)
