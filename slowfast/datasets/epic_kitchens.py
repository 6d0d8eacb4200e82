"""EPIC-KITCHENS-100 (Damen et al., IJCV 2022): 97 verbs, 300 nouns, an action is a pair of them.

Annotations have two clocks. ``start_frame`` and ``stop_frame`` number the *extracted images*, made
at 60 frames per second (50 for videos ``Pxx_1yy``) whatever the rate of the video. Counting so
many frames in the video file itself drifts, by thousands of frames in some videos. So folders of
images use the frame numbers, video files the timestamps.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slowfast.datasets.annotations import AnnotationError, Row, read_table
from slowfast.datasets.base import UNLABELLED, ClipRecord, build_class_counts
from slowfast.datasets.layout import Folder, tried
from slowfast.datasets.missing import MissingVideosError, check_folder
from slowfast.utils.errors import shortened

if TYPE_CHECKING:
    from yacs.config import CfgNode

NUM_CLASSES = {"verb": 97, "noun": 300}
FRAME_PATTERN = "frame_{:010d}.jpg"
_TIMED_COLUMNS = (
    "narration_id",
    "participant_id",
    "video_id",
    "start_timestamp",
    "stop_timestamp",
    "start_frame",
    "stop_frame",
)

_TIMESTAMP = re.compile(r"(\d{1,3}):(\d{1,2}):(\d{1,2}(?:\.\d{0,30})?)", re.ASCII)

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EpicSegment:
    """One narrated segment.

    Attributes:
        narration_id: its name in results and submissions, ``P01_11_0``.
        participant: ``P01``.
        video: ``P01_11``.
        start_s: start in the video, seconds.
        stop_s: end in the video, seconds.
        start_frame: first image of the released frames, inclusive.
        stop_frame: last image, inclusive.
        verb: class, ``None`` in the test set, where it is not published.
        noun: class, ``None`` in the test set, where it is not published.
        source: where it stands, ``EPIC_100_validation.csv:17``.
    """

    narration_id: str
    participant: str
    video: str
    start_s: float
    stop_s: float
    start_frame: int
    stop_frame: int
    verb: int | None
    noun: int | None
    source: str


class EpicKitchens:
    """Segments of EPIC-KITCHENS-100 with the place of their images or video.

    Images stand in ``<P>/rgb_frames/<video>/`` or ``<P>/<video>/``, videos in ``<P>/videos/``,
    ``<P>/`` or ``videos_640x360/<P>/``; all below ``visual_dir`` or its ``EPIC-KITCHENS/``.

    Args:
        visual_dir: root of the images or videos.
        annotations_dir: folder of the annotation files; class names are read from it, too.
        lists: split -> file name there, CSV or pickle; where only the other kind exists, it is
            taken. Several names are joined: ``{"train": ["EPIC_100_train.csv", ...]}``.
        tasks: of ``verb`` and ``noun``.
        source: ``frames``, ``video``, or ``auto``: per video what is there, frames first.
        frame_index_base: what the annotations count from: 1 as released (image
            ``frame_0000000001.jpg`` is frame 1), 0 if yours call that image frame 0.
        num_classes: task -> classes, where they are not those of the dataset.
        allow_missing: leave out segments of videos that are not there, with a warning that counts
            them; figures are then not those of the dataset. The default is an error.

    Attributes:
        annotations_dir: as given; also holds the lists of tail classes and unseen participants.
    """

    def __init__(
        self,
        visual_dir: str | Path,
        annotations_dir: str | Path,
        *,
        lists: dict[str, str | Sequence[str]] | None = None,
        tasks: Sequence[str] = ("verb", "noun"),
        source: str = "auto",
        frame_index_base: int = 1,
        num_classes: Mapping[str, int] | None = None,
        allow_missing: bool = False,
    ) -> None:
        if not tasks or set(tasks) - set(NUM_CLASSES):
            raise ValueError(
                f"EPIC-KITCHENS tasks (MODEL.TASKS) {list(tasks)}: choose from {list(NUM_CLASSES)}"
            )
        if source not in ("auto", "frames", "video"):
            raise ValueError(f"EPICKITCHENS.SOURCE {source!r}: choose auto, frames or video")
        if frame_index_base not in (0, 1):
            raise ValueError(f"EPICKITCHENS.FRAME_INDEX_BASE {frame_index_base}: choose 0 or 1")
        self.tasks = tuple(tasks) if len(tasks) > 1 else ()
        self._label_sets = tuple(tasks)
        self._visual = Path(visual_dir)
        self.annotations_dir = Path(annotations_dir)
        self._lists = _DEFAULT_LISTS | (lists or {})
        self._source = source
        self._base = frame_index_base
        self._num_classes = NUM_CLASSES | dict(num_classes or {})
        self._allow_missing = allow_missing
        self._folder = Folder()
        self.class_names = self._class_names()

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> EpicKitchens:
        """From ``EPICKITCHENS.*`` and ``MODEL.TASKS``; data root ``DATA.PATH_TO_DATA_DIR``."""
        keys = cfg.EPICKITCHENS
        train = [keys.TRAIN_LIST] + ([keys.VAL_LIST] if keys.TRAIN_PLUS_VAL else [])
        root = keys.VISUAL_DATA_DIR or cfg.DATA.PATH_TO_DATA_DIR
        return cls(
            root,
            keys.ANNOTATIONS_DIR or root,
            lists={"train": train, "val": keys.VAL_LIST, "test": keys.TEST_LIST},
            tasks=tuple(cfg.MODEL.TASKS) or tuple(NUM_CLASSES),
            source=keys.SOURCE,
            frame_index_base=keys.FRAME_INDEX_BASE,
            num_classes=dict(zip(cfg.MODEL.TASKS, build_class_counts(cfg), strict=False)),
            allow_missing=keys.ALLOW_MISSING,
        )

    def records(self, split: str) -> list[ClipRecord]:
        """One record per segment of ``split``, named by its narration id.

        Labels are ``{"verb": class, "noun": class}``, or one class id for a single task;
        ``UNLABELLED`` in a test list without classes.

        Raises:
            AnnotationError: a bad annotation file or line; training or validation without classes.
            MissingVideosError: videos are missing; the message counts and names them.
        """
        segments = self.segments(split)
        check_folder(self._visual, "EPICKITCHENS.VISUAL_DATA_DIR or DATA.PATH_TO_DATA_DIR")
        first_of = {segment.video: segment for segment in reversed(segments)}
        places = {
            video: self._find_video(segment.participant, video)
            for video, segment in sorted(first_of.items())
        }
        self._check_labelled(segments, split)
        records = [
            _record(segment, place, self._label_sets, self._base)
            for segment in segments
            if (place := places[segment.video])
        ]
        missing = {v: first_of[v].source for v, place in places.items() if not place}
        if missing:
            self._report_missing(segments, missing, records)
        return records

    def segments(self, split: str) -> list[EpicSegment]:
        """The annotated segments of ``split``, whether their videos are there or not."""
        check_folder(self.annotations_dir, "EPICKITCHENS.ANNOTATIONS_DIR or DATA.PATH_TO_DATA_DIR")
        names = self._lists[split]
        paths = [self._list_path(name) for name in ([names] if isinstance(names, str) else names)]
        return read_segments(*paths, num_classes=self._num_classes)

    def _check_labelled(self, segments: Sequence[EpicSegment], split: str) -> None:
        bare = next((segment for segment in segments if segment.verb is None), None)
        if bare is None:
            return
        if split != "test":
            raise AnnotationError(
                f"{bare.source}: no column verb_class in this list, but {split} needs labels; set "
                f"EPICKITCHENS.{split.upper()}_LIST"
            )
        _logger.info("%s has no classes: scores only, no metrics", bare.source.rpartition(":")[0])

    def _list_path(self, name: str) -> Path:
        stem = name.rpartition(".")[0] or name
        candidates = [name, f"{stem}.csv", f"{stem}.pkl"]
        path = self._folder.find(self.annotations_dir, candidates)
        if path is None:
            raise AnnotationError(
                f"none of {tried(candidates)} in {self.annotations_dir} "
                "(EPICKITCHENS.ANNOTATIONS_DIR)"
            )
        return path

    def _class_names(self) -> dict[str, list[str]] | None:
        """Class names in the order of ids, ``None`` without the class lists."""
        names = {}
        for task in self._label_sets:
            path = self._folder.find(self.annotations_dir, [f"EPIC_100_{task}_classes.csv"])
            if path is None:
                return None
            names[task] = read_class_names(path)
        return names if self.tasks else {"action": names[self._label_sets[0]]}

    def _find_video(self, participant: str, video: str) -> Place | None:
        for root in self._roots():
            if self._source != "video":
                for folder in (
                    root / participant / "rgb_frames" / video,
                    root / participant / video,
                ):
                    if folder.is_dir():
                        first = 0 if (folder / FRAME_PATTERN.format(0)).exists() else 1
                        return Place(folder, first)
            if self._source != "frames":
                for folder in self._video_folders(root, participant):
                    file = self._folder.video(folder, video)
                    if file is not None:
                        return Place(file, None)
        return None

    def _roots(self) -> list[Path]:
        return [self._visual, self._visual / "EPIC-KITCHENS"]

    @staticmethod
    def _video_folders(root: Path, participant: str) -> list[Path]:
        return [
            root / participant / "videos",
            root / participant,
            root / "videos_640x360" / participant,
            root / "videos" / participant,
        ]

    def _report_missing(
        self, segments: Sequence[EpicSegment], missing: dict[str, str], found: list[ClipRecord]
    ) -> None:
        """An error, or a warning when that was asked for."""
        dropped = len(segments) - len(found)
        example = next(segment for segment in segments if segment.video in missing)
        frames = example.participant + "/rgb_frames/" + example.video
        text = (
            f"{len(missing)} videos of {len({segment.video for segment in segments})}, with "
            f"{dropped} of {len(segments)} segments, are not in {self._visual}: "
            f"{tried(sorted(missing))}"
        )
        if self._allow_missing and found:
            _logger.warning("%s. These segments are left out", text)
            return
        raise MissingVideosError(
            f"{example.source}: {text}. Expected, for example, {frames}/{FRAME_PATTERN.format(1)} "
            f"or {example.participant}/{example.video}.MP4. Set EPICKITCHENS.VISUAL_DATA_DIR,"
            " unpack .tar files, or leave segments out with EPICKITCHENS.ALLOW_MISSING True",
            missing,
            found,
        )


_DEFAULT_LISTS: dict[str, str | Sequence[str]] = {
    "train": "EPIC_100_train.csv",
    "val": "EPIC_100_validation.csv",
    "test": "EPIC_100_validation.csv",
}


@dataclass(frozen=True)
class Place:
    """A video file, or a folder of images and the number of its first one."""

    path: Path
    first: int | None


def _record(
    segment: EpicSegment, place: Place, tasks: Sequence[str], frame_index_base: int
) -> ClipRecord:
    of_task = {"verb": segment.verb, "noun": segment.noun}
    known = {task: label for task, label in of_task.items() if label is not None}
    labels = {task: known.get(task, UNLABELLED) for task in tasks}
    label = labels if len(tasks) > 1 else labels[tasks[0]]
    if place.first is None:
        return ClipRecord(
            path=str(place.path),
            labels=label,
            source=segment.source,
            start_s=segment.start_s,
            end_s=segment.stop_s,
            name=segment.narration_id,
        )
    shift = place.first - frame_index_base
    return ClipRecord(
        path=str(place.path / FRAME_PATTERN),
        labels=label,
        source=segment.source,
        start_frame=segment.start_frame + shift,
        end_frame=segment.stop_frame + shift,
        fps=frame_rate(segment.video),
        name=segment.narration_id,
    )


def frame_rate(video: str) -> float:
    """Images per second of the released frames.

    Example:
        >>> frame_rate("P01_11"), frame_rate("P01_101")
        (60.0, 50.0)
    """
    return 50.0 if len(video.rpartition("_")[2]) == 3 else 60.0


def read_segments(*paths: Path, num_classes: Mapping[str, int] = NUM_CLASSES) -> list[EpicSegment]:
    """The segments of official annotation files, CSV or pickled, in order.

    Raises:
        AnnotationError: a missing column, a bad line, a narration id twice.
    """
    rows = (row for path in paths for row in read_table(path, _TIMED_COLUMNS))
    segments = [_segment(row, num_classes) for row in rows]
    if not segments:
        raise AnnotationError(f"no segments in {tried(paths)}")
    seen: dict[str, str] = {}
    for segment in segments:
        if segment.narration_id in seen:
            raise AnnotationError(
                f"{segment.source}: narration id {shortened(segment.narration_id)} is also in "
                f"{seen[segment.narration_id]}"
            )
        seen[segment.narration_id] = segment.source
    return segments


def _segment(row: Row, num_classes: Mapping[str, int]) -> EpicSegment:
    segment = EpicSegment(
        narration_id=row.text("narration_id"),
        participant=row.text("participant_id"),
        video=row.text("video_id"),
        start_s=parse_timestamp(row, "start_timestamp"),
        stop_s=parse_timestamp(row, "stop_timestamp"),
        start_frame=row.integer("start_frame"),
        stop_frame=row.integer("stop_frame"),
        verb=_label(row, "verb", num_classes),
        noun=_label(row, "noun", num_classes),
        source=row.source,
    )
    if segment.stop_s <= segment.start_s or segment.stop_frame < segment.start_frame:
        raise AnnotationError(
            f"{row.source}: segment {segment.narration_id:.100} ends before it starts "
            f"({segment.start_s} to {segment.stop_s} s, frames {segment.start_frame} to "
            f"{segment.stop_frame})"
        )
    return segment


def _label(row: Row, task: str, num_classes: Mapping[str, int]) -> int | None:
    column = f"{task}_class"
    if column not in row.values:
        return None
    return row.integer(column, high=num_classes[task] - 1)


def parse_timestamp(row: Row, column: str) -> float:
    """Seconds of ``HH:MM:SS.ss``, any number of decimals."""
    text = row.text(column)
    match = _TIMESTAMP.fullmatch(text)
    if match is None or int(match[2]) >= 60 or float(match[3]) >= 60:
        raise AnnotationError(
            f"{row.source}: {column} is {shortened(text)}, expected HH:MM:SS.ss, e.g. 00:01:02.50"
        )
    return int(match[1]) * 3600 + int(match[2]) * 60 + float(match[3])


def read_class_names(path: Path) -> list[str]:
    """Names (column ``key``) in the order of ids, from ``EPIC_100_{verb,noun}_classes.csv``."""
    names = {row.integer("id"): row.text("key") for row in read_table(path, ("id", "key"))}
    if sorted(names) != list(range(len(names))):
        raise AnnotationError(f"{path}: ids do not count from 0 to {len(names) - 1}")
    return [names[number] for number in range(len(names))]


def read_column(path: Path, column: str) -> list[str]:
    """One column of a list, such as the tail classes or the unseen participants."""
    return [row.text(column) for row in read_table(path, (column,))]
