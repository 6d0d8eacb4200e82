"""Reading of just those pixels that spatial plans use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from slowfast.datasets.decode import Frames, Region, RegionReader, RegionsReader, VideoReader


class Look(NamedTuple):
    """What is wanted of a video.

    Attributes:
        numbers: of the frames.
        transform: will apply the plan; says with ``region`` which part of the frames it shows.
        plan: see :class:`slowfast.datasets.transforms.SpatialPlan`.
    """

    numbers: Sequence[int]
    transform: Any
    plan: Any


def read_planned(reader: VideoReader, looks: Sequence[Look]) -> list[tuple[Frames, Any]]:
    """The frames of each look, and the plan for these frames.

    Where the reader can scale a part of the frames and the plan shows one, no more is scaled: a
    third of a frame's work for a 224 crop of a 256 to 320 short side. Where it can, it decodes once
    for all looks.
    """
    regions = [_region(reader, look) for look in looks]
    if len(looks) > 1 and isinstance(reader, RegionsReader) and None not in regions:
        wanted = [
            (look.numbers, region)
            for look, region in zip(looks, regions, strict=True)
            if region is not None
        ]
        read = reader.read_regions(wanted)
        return [
            (frames, look.plan.within(region.size))
            for frames, look, (_, region) in zip(read, looks, wanted, strict=True)
        ]
    return [_read(reader, look, region) for look, region in zip(looks, regions, strict=True)]


def _region(reader: VideoReader, look: Look) -> Region | None:
    find = getattr(look.transform, "region", None)
    region: Region | None = find(look.plan, reader.height, reader.width) if find else None
    return region


def _read(reader: VideoReader, look: Look, region: Region | None) -> tuple[Frames, Any]:
    if region is None or not isinstance(reader, RegionReader):
        return reader.read(look.numbers, look.plan.short_side), look.plan
    return reader.read_region(look.numbers, region), look.plan.within(region.size)
