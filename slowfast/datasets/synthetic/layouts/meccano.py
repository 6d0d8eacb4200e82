"""Folders of images with several actions each: MECCANO."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from slowfast.datasets.synthetic.encode import write_frames
from slowfast.datasets.synthetic.labels import ACTIONS, VERBS
from slowfast.datasets.synthetic.layouts.base import (
    LONG_VIDEOS,
    OBJECT_NAMES,
    Layout,
    clip_table,
    csv_text,
    label_tables,
    split_lists,
)
from slowfast.datasets.synthetic.specs import ClipSpec, SyntheticOptions
from slowfast.datasets.synthetic.timeline import Segment, Video, arrange

CLIPS_PER_VIDEO = 12
PATTERN = "{:05d}.jpg"
_NAMES = {
    "action": tuple(action.name for action in ACTIONS),
    "verb": VERBS,
    "object": OBJECT_NAMES,
}


class MeccanoLayout(Layout):
    """``RGB_frames/<Split>/0001/00001.jpg`` with the segments of actions, verbs and objects.

    Lists are ``MECCANO_{split}_{actions,verbs,objects}.csv`` with a header; a segment's first and
    last image are both part of it.
    """

    defaults: ClassVar[dict[str, Any]] = {**LONG_VIDEOS, "fps": 12}
    writes_files: ClassVar[bool] = False

    def videos(self, specs: Sequence[ClipSpec], options: SyntheticOptions) -> list[Video]:
        """One folder per participant; all of them together are numbered from 0001."""
        timelines = arrange(specs, options, CLIPS_PER_VIDEO)
        names = [f"{number:04d}" for number in range(1, len(timelines) + 1)]
        return [
            Video(f"RGB_frames/{t.split.capitalize()}/{name}", name, Fraction(options.fps), t)
            for name, t in zip(names, timelines, strict=True)
        ]

    def write(self, path: Path, frames: NDArray[np.uint8], video: Video) -> None:
        """One JPEG per frame."""
        write_frames(path, frames, pattern=PATTERN)

    def lists(self, videos: Sequence[Video]) -> dict[str, str]:
        """Three lists per split, and the tables that are in every layout."""
        texts = label_tables() | {"clips.csv": clip_table(videos)}
        for task in _NAMES:
            texts |= split_lists(videos, f"MECCANO_{{}}_{task}s.csv", partial(_list, task))
        return texts


def _list(task: str, rows: Sequence[tuple[Video, Segment]]) -> str:
    header = ("video_id", f"{task}_id", f"{task}_name", "start_frame", "end_frame")
    table = []
    for video, segment in rows:
        label = int(getattr(segment.spec, task))
        images = [PATTERN.format(number + 1) for number in (segment.first, segment.last)]
        table.append((video.name, label, _NAMES[task][label], *images))
    return csv_text([header, *table])
