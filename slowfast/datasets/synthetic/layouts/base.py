"""What a layout is, and the tables that all of them write."""

from __future__ import annotations

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from slowfast.datasets.synthetic.labels import ACTIONS, OBJECTS, VERBS
from slowfast.datasets.synthetic.specs import SPLITS, ClipSpec, SyntheticOptions
from slowfast.datasets.synthetic.timeline import Segment, Video

OBJECT_NAMES = tuple(OBJECTS)


class Layout(ABC):
    """How a dataset lies on disk: its videos, how each is written, and the lists beside them.

    Attributes:
        defaults: options of ``SyntheticOptions`` that suit it.
        writes_files: video files; otherwise folders of images.
    """

    defaults: ClassVar[dict[str, Any]]
    writes_files: ClassVar[bool]

    @abstractmethod
    def videos(self, specs: Sequence[ClipSpec], options: SyntheticOptions) -> list[Video]:
        """Every video, with the clips in it; paths are relative to the dataset's folder."""

    @abstractmethod
    def write(self, path: Path, frames: NDArray[np.uint8], video: Video) -> None:
        """Write uint8 RGB frames ``(T, H, W, 3)`` to ``path``, whose parent exists."""

    @abstractmethod
    def lists(self, videos: Sequence[Video]) -> dict[str, str]:
        """Annotation files: path -> text."""


LONG_VIDEOS: dict[str, Any] = {
    "num_frames": 24,
    "size": 72,
    "difficulty": 0.0,
    "split_ratio": (0.8, 0.04, 0.16),
    "firm_grip": True,
}
"""Defaults of layouts whose videos hold several clips: small, clean, quick to read."""


def all_segments(videos: Iterable[Video], split: str) -> Iterator[tuple[Video, Segment]]:
    """Video and segment, in order, of one split."""
    for video in videos:
        if video.timeline.split == split:
            yield from ((video, segment) for segment in video.timeline.segments)


def split_lists(
    videos: Sequence[Video], name: str, text: Callable[[list[tuple[Video, Segment]]], str]
) -> dict[str, str]:
    """One list per split that has clips: ``name`` with the split's name filled in -> its text."""
    found = {split: list(all_segments(videos, split)) for split in SPLITS}
    return {name.format(split): text(rows) for split, rows in found.items() if rows}


def label_tables() -> dict[str, str]:
    """``{class,verb,object}_names.json`` (name -> id) and ``actions.csv`` (the 61 pairs)."""
    names = {
        "class_names.json": [action.name for action in ACTIONS],
        "verb_names.json": list(VERBS),
        "object_names.json": list(OBJECT_NAMES),
    }
    texts = {
        path: json.dumps({name: k for k, name in enumerate(listed)}, indent=1) + "\n"
        for path, listed in names.items()
    }
    header = ("action_id", "action", "verb_id", "verb", "object_id", "object")
    table = [
        (k, a.name, a.verb, VERBS[a.verb], a.object, OBJECT_NAMES[a.object])
        for k, a in enumerate(ACTIONS)
    ]
    return texts | {"actions.csv": csv_text([header, *table])}


def clip_table(videos: Sequence[Video]) -> str:
    """A csv with video, first and last frame (from 0), split, labels and seed of every clip."""
    header = ("path", "first", "last", "split", "action", "verb", "object", "seed")
    table = [
        (video.path, s.first, s.last, s.spec.split, s.spec.action, s.spec.verb, s.spec.object,
         s.spec.seed)
        for video in videos
        for s in video.timeline.segments
    ]  # fmt: skip
    return csv_text([header, *table])


def csv_text(rows: Iterable[Sequence[object]]) -> str:
    """Rows as comma-separated lines."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
