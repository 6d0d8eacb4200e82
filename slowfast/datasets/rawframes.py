"""Folders of images with a text annotation: the layout of OpenVINO's custom action recognition.

``<root>/rawframes/<video>/00001.jpg`` and lines ``<video> <label>`` or, with the part of the video
that shows the action, ``<video> <label> <video start> <video end> <clip start> <clip end> <fps>``.
Frame ids count from 0, the end is not included; images count from 1.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from slowfast.datasets.annotations import AnnotationError, parse_class, parse_integer, read_lines
from slowfast.datasets.base import ClipRecord, build_class_counts
from slowfast.datasets.decode.frames import FrameFolder, detect_pattern, scan_frames
from slowfast.datasets.layout import Folder, existing, tried
from slowfast.datasets.missing import (
    MissingVideosError,
    and_others,
    check_folder,
    records_of_all,
)

if TYPE_CHECKING:
    from yacs.config import CfgNode

ORDER = "<video> <label> <video start> <video end> <clip start> <clip end> <fps>"
_FRAME_FOLDERS = ("rawframes", "rawframes_rgb", "frames")
_LIST_SUFFIXES = (".txt", ".csv")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_FPS_DEFAULT = 30.0  # what DATA.TARGET_FPS is by default: strides then count images
_LISTING_THREADS = 16
MOST_FPS = 100_000.0  # of the fastest cameras

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Line:
    """One line of an annotation file.

    Attributes:
        video: folder of the images, relative.
        label: class id.
        clip: first and last frame id of the action (inclusive, from 0), ``None`` for the whole.
        num_frames: of the whole video, where the line says it.
        fps: images per second.
        source: ``train.txt:17``.
    """

    video: str
    label: int
    clip: tuple[int, int] | None
    num_frames: int | None
    fps: float
    source: str


class RawFrames:
    """Clips from folders of images listed in ``train.txt``, ``val.txt``, ``test.txt``.

    Without a ``test.txt``, ``val.txt`` is tested on.

    Args:
        data_dir: holds the lists and ``rawframes/``, or a folder ``custom_dataset`` that does.
        lists: split -> annotation file, in ``data_dir`` or absolute, instead of the names above.
        num_classes: labels must be below; 0 checks nothing.
        parts: split -> several of ``(data_dir, annotation file)``, instead of the one place; an
            empty file name means the names above.
    """

    tasks: tuple[str, ...] = ()
    class_names: dict[str, list[str]] | None = None

    def __init__(
        self,
        data_dir: str | Path,
        *,
        lists: dict[str, str] | None = None,
        num_classes: int = 0,
        parts: dict[str, list[tuple[str, str]]] | None = None,
    ) -> None:
        self._root = Path(data_dir)
        self._parts = parts or {}
        self._lists = lists or {}
        self._num_classes = num_classes
        self._folder = Folder()

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> RawFrames:
        """From ``DATA.PATH_TO_DATA_DIR``, ``RAWFRAMES.*`` and ``MODEL.NUM_CLASSES``."""
        root = cfg.DATA.PATH_TO_DATA_DIR
        parts = {}
        for split in ("train", "val", "test"):
            lists = cfg.RAWFRAMES[f"{split.upper()}_LISTS"]
            roots = cfg.RAWFRAMES[f"{split.upper()}_ROOTS"]
            if lists or roots:
                parts[split] = pair_up(roots or [root], lists or [""])
        return cls(root, num_classes=build_class_counts(cfg)[0], parts=parts)

    def records(self, split: str) -> list[ClipRecord]:
        """One record per line of the split's list.

        Folders of lines without frame ids are listed, to know how many images they have.

        Raises:
            AnnotationError: no list, a bad line, the columns in another order.
            MissingVideosError: videos have no folder.
        """
        if split in self._parts:
            return records_of_all(self._families(split), split)
        check_folder(self._root, "DATA.PATH_TO_DATA_DIR")
        lines = self.lines(split)
        with ThreadPoolExecutor(_LISTING_THREADS) as pool:  # network disks answer slowly
            found = list(pool.map(self._look_for, lines))
        records = [_record(line, *place) for line, place in zip(lines, found, strict=True) if place]
        missing: dict[str, str] = {}
        for line, place in zip(lines, found, strict=True):
            if not place:
                missing.setdefault(line.video, line.source)
        if missing:
            raise MissingVideosError(self._missing_text(missing), missing, records)
        return records

    def lines(self, split: str) -> list[Line]:
        """What the split's lists say; no images are looked for."""
        if split in self._parts:
            return [line for part in self._families(split) for line in part.lines(split)]
        high = self._num_classes - 1 if self._num_classes else None
        return read_annotation(self._list(split), self._is_video, high_label=high)

    def _families(self, split: str) -> list[RawFrames]:
        return [
            RawFrames(root, lists={split: name} if name else None, num_classes=self._num_classes)
            for root, name in self._parts[split]
        ]

    def _roots(self) -> list[Path]:
        nested = self._folder.find(self._root, ["custom_dataset"])
        # The nested lists come first: beside custom_dataset stand the lists it was made from.
        return list(existing([*([nested] if nested else []), self._root]))

    def _list(self, split: str) -> Path:
        if split in self._lists:
            places = [root / self._lists[split] for root in self._roots() or [self._root]]
            for place in places:
                if place.is_file():
                    return place
            raise AnnotationError(f"no annotation file {tried(places)} (of split {split})")
        for name in [split, "val"] if split == "test" else [split]:
            for root in self._roots():
                path = self._folder.find(root, [name + suffix for suffix in _LIST_SUFFIXES])
                if path is not None:
                    if name != split:
                        _logger.info("no list of the %s split in %s: using %s", split, root, path)
                    return path
        raise AnnotationError(
            f"no {split}.txt in {tried(self._roots() or [self._root])} (DATA.PATH_TO_DATA_DIR)"
        )

    def _candidates(self, video: str) -> list[Path]:
        return [
            base / video
            for root in self._roots()
            for base in (*(root / name for name in _FRAME_FOLDERS), root)
        ]

    def _is_video(self, video: str) -> bool:
        return any(folder.is_dir() for folder in self._candidates(video))

    def _missing_text(self, missing: dict[str, str]) -> str:
        video, source = next(iter(missing.items()))
        return (
            f"{source}: no folder of images (00001.jpg, ...) for {video!r}"
            f"{and_others(list(missing))}; looked for {tried(self._candidates(video))}. "
            "tools/dump_frames.py makes them from videos"
        )

    def _look_for(self, line: Line) -> tuple[Path, FrameFolder | str] | None:
        """A line's folder, and the naming pattern in it or, if need be, which images there are."""
        for folder in self._candidates(line.video):
            if folder.is_dir():
                pattern = detect_pattern(folder)
                if pattern is not None:
                    return folder, scan_frames(folder, pattern) if line.clip is None else pattern
        return None


def pair_up(roots: Sequence[str], lists: Sequence[str]) -> list[tuple[str, str]]:
    """``(root, list)`` pairs: one root of all lists, one list in every root, or one to one.

    Raises:
        AnnotationError: numbers that do not go together.
    """
    if len(roots) == 1:
        roots = list(roots) * len(lists)
    if len(lists) == 1:
        lists = list(lists) * len(roots)
    if len(roots) != len(lists):
        raise AnnotationError(
            f"{len(lists)} annotation files ({', '.join(lists)}) and {len(roots)} data roots "
            f"({', '.join(roots)}): give one root for all files, or one per file"
        )
    return list(zip(roots, lists, strict=True))


def _record(line: Line, folder: Path, found: FrameFolder | str) -> ClipRecord:
    if isinstance(found, FrameFolder):
        pattern, first, last = found.pattern, found.first, found.last
    else:
        assert line.clip is not None
        pattern, first, last = found, line.clip[0] + 1, line.clip[1] + 1
    return ClipRecord(
        path=str(folder / pattern),
        labels=line.label,
        source=line.source,
        start_frame=first,
        end_frame=last,
        fps=line.fps,
        claimed_frames=line.num_frames,
        name=line.video if line.clip is None else f"{line.video}_{first:05d}_{last:05d}",
    )


def read_annotation(
    path: Path,
    is_video: Callable[[str], bool] = lambda _: False,
    *,
    high_label: int | None = None,
) -> list[Line]:
    """The lines of an annotation file with 2 or 7 columns.

    Args:
        path: the file.
        is_video: whether a name is a video's folder: lets a name that ends in a number, such as
            ``take 3``, be told from a line with a wrong number of columns.
        high_label: largest class id allowed.

    Raises:
        AnnotationError: naming file and line; also when columns 3-4 and 5-6 are exchanged.
    """
    lines = []
    for source, text in read_lines(path):
        fields = text.split()
        numbers = len(list(takewhile(_NUMBER.fullmatch, reversed(fields[1:]))))
        if numbers >= 6:
            video, *values = text.rsplit(maxsplit=6)
            clip, num_frames, fps = _clip(source, values[1:])
        else:
            video, *values = text.rsplit(maxsplit=1)
            clip, num_frames, fps = None, None, _FPS_DEFAULT
            if not values or (numbers > 1 and not is_video(video)):
                raise AnnotationError(
                    f"{source}: {len(fields)} columns, expected 2 (<video> <label>) or 7 ({ORDER})"
                )
        label = parse_class(source, "label", values[0], high=high_label)
        lines.append(Line(video, label, clip, num_frames, fps, source))
    if not lines:
        raise AnnotationError(f"{path}: no lines in this file")
    return lines


def _clip(source: str, values: Sequence[str]) -> tuple[tuple[int, int], int, float]:
    """First and last frame id of the action, frames of the video, and their rate: columns 3-7."""
    names = ("video start", "video end", "clip start", "clip end")
    video_start, video_end, clip_start, clip_end = (
        parse_integer(source, name, value) for name, value in zip(names, values[:4], strict=True)
    )
    fps = float(values[4])
    if not 0 < fps <= MOST_FPS:
        raise AnnotationError(
            f"{source}: fps is {values[4]:.60}, expected more than 0, at most {MOST_FPS:g}"
        )
    if clip_end <= clip_start or video_end <= video_start:
        raise AnnotationError(
            f"{source}: nothing between start and end (video {video_start} to {video_end}, clip "
            f"{clip_start} to {clip_end}; the end is not included)"
        )
    if video_start <= clip_start and clip_end <= video_end:
        return (clip_start, clip_end - 1), video_end, fps
    if clip_start <= video_start and video_end <= clip_end:
        raise AnnotationError(
            f"{source}: the clip ({clip_start} to {clip_end}) is longer than the video "
            f"({video_start} to {video_end}): columns 3-4 and 5-6 are exchanged. "
            f"The order is {ORDER}; exchange them in the whole file"
        )
    raise AnnotationError(
        f"{source}: the clip ({clip_start} to {clip_end}) is not within the video "
        f"({video_start} to {video_end}). The order is {ORDER}"
    )
