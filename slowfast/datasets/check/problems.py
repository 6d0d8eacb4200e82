"""What can be wrong with a dataset."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = {
    "annotation": "the lists of a split cannot be read",
    "missing": "no such file, or images of a folder are not there",
    "empty": "no bytes, no frames or no duration",
    "truncated": "the file ends before what it announces",
    "unreadable": "cannot be opened or decoded",
    "crash": "the decoder died at it",
    "frame_count": "another number of frames than the container claims",
    "segment": "the labelled part is not, or not all, within the video",
    "too_short": "shorter than a clip of the config (its last frame would be repeated)",
    "label": "a class the model does not have",
    "duplicate": "twice in one split",
    "overlap": "in two splits",
}
UNLOADABLE = ("missing", "empty", "truncated", "unreadable", "crash")
"""Kinds of which no clip can be relied on: such videos belong on the list of bad ones."""


@dataclass(frozen=True, order=True)
class Problem:
    """One thing wrong.

    Attributes:
        kind: a key of ``KINDS``.
        split: where.
        path: video file, or pattern of a frame folder.
        detail: what exactly.
        source: line of the annotation, ``"train.csv:17"``.
        name: of the record when the problem is of one segment only, else empty.
        loads: clips of this record can be loaded all the same.
    """

    kind: str
    split: str
    path: str
    detail: str
    source: str = ""
    name: str = ""
    loads: bool = True
