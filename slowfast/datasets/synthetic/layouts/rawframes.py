"""Folders of images with a text annotation of seven columns."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from slowfast.datasets.synthetic.encode import write_frames
from slowfast.datasets.synthetic.layouts.base import (
    LONG_VIDEOS,
    Layout,
    clip_table,
    label_tables,
    split_lists,
)
from slowfast.datasets.synthetic.specs import ClipSpec, SyntheticOptions
from slowfast.datasets.synthetic.timeline import Segment, Video, arrange


class RawFramesLayout(Layout):
    """``rawframes/<clip>/00001.jpg`` with ``{train,val,test}.txt``.

    Each folder shows one action and what comes before and after. The lists tell the frames of
    both, counted from 0, the end not included.
    """

    defaults: ClassVar[dict[str, Any]] = {**LONG_VIDEOS, "fps": 30}
    writes_files: ClassVar[bool] = False

    def videos(self, specs: Sequence[ClipSpec], options: SyntheticOptions) -> list[Video]:
        """One folder per clip."""
        timelines = arrange(specs, options, 1)
        return [
            Video(f"rawframes/{spec.name}", spec.name, Fraction(options.fps), timeline)
            for spec, timeline in zip(specs, timelines, strict=True)
        ]

    def write(self, path: Path, frames: NDArray[np.uint8], video: Video) -> None:
        """One JPEG per frame."""
        write_frames(path, frames, pattern="{:05d}.jpg")

    def lists(self, videos: Sequence[Video]) -> dict[str, str]:
        """A list per split, and the tables that are in every layout."""
        texts = label_tables() | {"clips.csv": clip_table(videos)}
        return texts | split_lists(videos, "{}.txt", _list)


def _list(rows: Sequence[tuple[Video, Segment]]) -> str:
    return "".join(
        f"{video.name} {segment.spec.action} 0 {video.timeline.num_frames} "
        f"{segment.first} {segment.last + 1} {float(video.fps):g}\n"
        for video, segment in rows
    )
