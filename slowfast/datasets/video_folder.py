"""A folder of videos: ``<class>/<video>``, or ``{train,val,test}/<class>/<video>``."""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from slowfast.datasets.base import SPLITS, ClipRecord, DataError, build_class_counts
from slowfast.datasets.missing import check_folder

if TYPE_CHECKING:
    from yacs.config import CfgNode

log = logging.getLogger(__name__)

VIDEO_SUFFIXES = (
    ".mp4", ".avi", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp",
    ".ts", ".mts", ".ogv",
)  # fmt: skip
SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


class VideoFolder:
    """Videos sorted into folders named after their classes.

    Class ids are the places of the names in sorted order, over all split folders together. Without
    split folders, each class is divided in the shares of ``ratio`` by a hash of the file names: the
    same on every machine. Clips cut from one recording may so come into different splits; use
    split folders where that matters.

    Args:
        root: the folder.
        ratio: shares of train, val and test.
        num_classes: how many classes the model has; ``None``: as many as there are.
    """

    tasks: tuple[str, ...] = ()

    def __init__(
        self,
        root: str | Path,
        *,
        ratio: Sequence[float] = (0.7, 0.15, 0.15),
        num_classes: int | None = None,
    ) -> None:
        self.root = Path(root)
        self.ratio = tuple(ratio)
        if len(self.ratio) != len(SPLITS) or min(self.ratio) < 0 or sum(self.ratio) <= 0:
            raise DataError(f"DATA.SPLIT_RATIO {list(ratio)}: give shares of train, val and test")
        check_folder(self.root, "DATA.PATH_TO_DATA_DIR")
        self.split_folders = find_splits(self.root)
        places = list(self.split_folders.values()) or [self.root]
        names = sorted({name for place in places for name in _class_folders(place)})
        self.class_names = {"action": names}
        if not names:
            raise DataError(f"{self.root}: no videos in folders named after their classes")
        if num_classes not in (None, len(names)):
            raise DataError(
                f"{self.root} holds {len(names)} classes ({', '.join(names[:5])}...), "
                f"MODEL.NUM_CLASSES is {num_classes}: set it to {len(names)}"
            )

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> Self:
        """Reads DATA.PATH_TO_DATA_DIR, DATA.SPLIT_RATIO and MODEL.NUM_CLASSES."""
        classes = build_class_counts(cfg)
        if len(classes) != 1:
            raise DataError(f"a folder of videos has one label set, MODEL.NUM_CLASSES {classes}")
        return cls(cfg.DATA.PATH_TO_DATA_DIR, ratio=cfg.DATA.SPLIT_RATIO, num_classes=classes[0])

    def records(self, split: str) -> list[ClipRecord]:
        """The videos of ``split``; ``test`` without videos of its own takes those of ``val``.

        Raises:
            DataError: the split is empty.
        """
        found = self._split(split)
        if not found and split == "test":
            found = self._split("val")
            if found:
                log.warning("%s has no test videos: testing on the validation videos", self.root)
        if not found:
            there = sorted(self.split_folders) or f"DATA.SPLIT_RATIO {list(self.ratio)}"
            raise DataError(f"{self.root}: no {split} videos ({there}); add some")
        return found

    def _split(self, split: str) -> list[ClipRecord]:
        records = []
        for label, name in enumerate(self.class_names["action"]):
            if self.split_folders:
                place = self.split_folders.get(split)
                videos = _videos(place / name) if place else []
            else:
                shares = divide(_videos(self.root / name), self.ratio)
                videos = shares[SPLITS.index(split)]
            records += [
                ClipRecord(
                    str(video), label, f"{video.parent}", name=str(video.relative_to(self.root))
                )
                for video in videos
            ]
        return records


def find_splits(root: Path) -> dict[str, Path]:
    """Split folders of ``root`` by split; empty unless there is one for training."""
    folders = {entry.name.lower(): entry for entry in root.iterdir() if entry.is_dir()}
    found = {
        split: folders[name]
        for split, names in SPLIT_NAMES.items()
        for name in names
        if name in folders
    }
    return found if "train" in found else {}


def divide(videos: Sequence[Path], ratio: Sequence[float]) -> list[list[Path]]:
    """``videos`` of one class in shares of ``ratio``, each sorted.

    The order of a hash of the names decides, so that other classes do not matter. Every share above
    zero gets a video as soon as there are enough, the first share first.
    """
    ranked = sorted(videos, key=lambda v: hashlib.sha256(v.name.encode()).hexdigest())
    counts = [0] * len(ratio)
    for _ in ranked:  # first one to each, then to the share furthest from what it should have
        lacks = [
            len(ranked) * share / sum(ratio) - n for share, n in zip(ratio, counts, strict=True)
        ]
        empty = [place for place, share in enumerate(ratio) if share > 0 and not counts[place]]
        counts[empty[0] if empty else lacks.index(max(lacks))] += 1
    cuts = [sum(counts[:place]) for place in range(len(counts) + 1)]
    return [sorted(ranked[a:b]) for a, b in itertools.pairwise(cuts)]


def _class_folders(place: Path) -> list[str]:
    """Names of the folders that hold videos, also deeper down."""
    folders = (entry for entry in place.iterdir() if entry.is_dir())
    return [entry.name for entry in folders if entry.name[0] != "." and _videos(entry)]


def _videos(folder: Path) -> list[Path]:
    """Video files below ``folder``, sorted; hidden files are passed over."""
    found = []
    for place, _, names in os.walk(folder, followlinks=True):
        found += [
            Path(place, name)
            for name in names
            if name.lower().endswith(VIDEO_SUFFIXES) and name[0] != "."
        ]
    return sorted(found)
