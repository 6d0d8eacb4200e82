"""MECCANO (Ragusa et al., WACV 2021): egocentric assembly, 61 actions = 12 verbs x 20 objects.

Twenty videos of 1920x1080 at 12 fps, given as images ``00001.jpg``. Annotations name the first and
last image of a segment, both inclusive.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slowfast.datasets.annotations import AnnotationError, parse_integer, read_csv
from slowfast.datasets.base import ClipRecord, build_class_counts
from slowfast.datasets.layout import Folder, existing, tried
from slowfast.datasets.missing import MissingVideosError, and_others, check_folder
from slowfast.utils.errors import shortened

if TYPE_CHECKING:
    from yacs.config import CfgNode

FPS = 12.0
NUM_CLASSES = {"action": 61, "verb": 12, "object": 20}
_FILE_WORDS = {
    "action": ("action", "actions"),
    "verb": ("verb", "verbs"),
    "object": ("object", "objects", "noun", "nouns", "active_object", "active_objects"),
}
_SPLIT_NAMES = {"train": ("train",), "val": ("val", "validation"), "test": ("test",)}
_FRAME_FOLDERS = ("rgb_frames", "frames", "rgb")
_FRAME_NAME = re.compile(r"(?P<number>\d{1,9})(?P<suffix>\.[A-Za-z]{1,8})?")


@dataclass(frozen=True)
class Segment:
    """One annotated segment: images ``start`` to ``end`` of a video, both inclusive."""

    video: str
    class_id: int
    class_name: str
    start: int
    end: int
    pattern: str
    source: str


class Meccano:
    """Segments of MECCANO in any layout people have.

    * annotations ``MECCANO_{split}_actions.csv`` or ``{split}.csv``, with or without header, in
      ``data_dir`` or one folder below;
    * images in ``RGB_frames/``, ``frames/``, ``path_prefix`` or ``data_dir`` itself, below a
      folder for the split or not, video folders zero-padded or not, names in any case;
    * or the original videos, in the same places or in any folder with ``video`` in its name.

    Args:
        data_dir: where everything is.
        tasks: of ``action``, ``verb`` and ``object``. The last two need the dataset's verb and
            object annotations.
        path_prefix: folder of the images, in ``data_dir``, in its ``frames/``, or absolute.
        num_classes: task -> classes, where they are not those of the dataset.
    """

    def __init__(
        self,
        data_dir: str | Path,
        *,
        tasks: Sequence[str] = ("action",),
        path_prefix: str = "",
        num_classes: Mapping[str, int] | None = None,
    ) -> None:
        unknown = sorted(set(tasks) - set(NUM_CLASSES))
        if unknown or not tasks:
            raise ValueError(
                f"MECCANO tasks (MODEL.TASKS) {list(tasks)}: choose from {list(NUM_CLASSES)}"
            )
        self.tasks = tuple(tasks) if len(tasks) > 1 else ()
        self._label_sets = tuple(tasks)
        self.class_names: dict[str, list[str]] | None = None
        self._root = Path(data_dir)
        self._prefix = path_prefix
        self._num_classes = NUM_CLASSES | dict(num_classes or {})
        self._folder = Folder()

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> Meccano:
        """From ``DATA.PATH_TO_DATA_DIR``, ``DATA.PATH_PREFIX``, ``MODEL.{TASKS,NUM_CLASSES}``."""
        tasks = tuple(cfg.MODEL.TASKS) or ("action",)
        return cls(
            cfg.DATA.PATH_TO_DATA_DIR,
            tasks=tasks,
            path_prefix=cfg.DATA.PATH_PREFIX,
            num_classes=dict(zip(tasks, build_class_counts(cfg), strict=False)),
        )

    def records(self, split: str) -> list[ClipRecord]:
        """One record per segment of ``split`` (``train``, ``val``, ``test``).

        Labels are one class id, or ``{task: class id}`` for several tasks. ``class_names`` is set
        from the names in the annotations.

        Raises:
            AnnotationError: no annotations, a bad line, a segment without verb or object.
            MissingVideosError: neither images nor file of a video.
        """
        check_folder(self._root, "DATA.PATH_TO_DATA_DIR")
        main, *others = self._label_sets
        segments = self._segments(split, main)
        labels = {main: [segment.class_id for segment in segments]}
        names = {main: _class_names(segments, main)}
        for task in others:
            of_task = self._segments(split, task)
            labels[task] = _join(segments, of_task, task)
            names[task] = _class_names(of_task, task)
        self.class_names = names if others else {"action": names[main]}
        first_of = {segment.video: segment for segment in reversed(segments)}
        videos = {video: self._find_video(video, split) for video in sorted(first_of)}
        records = []
        for row, segment in enumerate(segments):
            of_row = {task: values[row] for task, values in labels.items()}
            place = videos[segment.video]
            if place is not None:
                records.append(_record(segment, *place, of_row if others else of_row[main]))
        missing = {v: first_of[v].source for v, place in videos.items() if place is None}
        if missing:
            raise MissingVideosError(self._missing_text(missing, split), missing, records)
        return records

    def _segments(self, split: str, task: str) -> list[Segment]:
        path = self._annotation(split, task)
        return list(read_segments(path, task, num_classes=self._num_classes[task]))

    def _annotation(self, split: str, task: str) -> Path:
        """The annotation file of one split and task."""
        names = [
            name
            for split_name in _SPLIT_NAMES[split]
            for word in _FILE_WORDS[task]
            for name in (
                f"MECCANO_{split_name}_{word}.csv",
                f"MECCANO_{word}_annotations_{split_name}.csv",
                f"{split_name}_{word}.csv",
            )
        ]
        if task == "action":
            names += [f"{split_name}.csv" for split_name in _SPLIT_NAMES[split]]
        places = self._folder.folders(self._root)
        found = [path for path in (self._folder.find(place, names) for place in places) if path]
        if not found:
            raise AnnotationError(
                f"no MECCANO {task} annotations of {split} in {self._root} (DATA.PATH_TO_DATA_DIR) "
                f"or one folder below; known names: {', '.join(names)}"
            )
        if found[0].parent != self._root and len(found) > 1:
            raise AnnotationError(
                f"MECCANO {task} annotations of {split} in several places: {tried(found)}; "
                f"put the right one into {self._root}"
            )
        return found[0]

    def _find_video(self, video: str, split: str) -> tuple[Path, bool] | None:
        """The folder of images or the video file, and whether it is a file."""
        stems, places = _stems(video), list(self._video_places(split))
        for place in places:
            folder = self._folder.find(place, stems)
            if folder is not None and folder.is_dir():
                return folder, False
        for place in places:
            for stem in stems:
                file = self._folder.video(place, stem)
                if file is not None:
                    return file, True
        return None

    def _missing_text(self, missing: dict[str, str], split: str) -> str:
        video, source = next(iter(missing.items()))
        return (
            f"{source}: neither a folder of images nor a file of video {video!r}"
            f"{and_others(list(missing))}; looked for {', '.join(_stems(video))} in "
            f"{tried(self._video_places(split))}"
        )

    def _video_places(self, split: str) -> Iterator[Path]:
        """Folders that may hold the videos of ``split``, the likeliest first."""
        frames = [
            entry
            for name in _FRAME_FOLDERS
            if (entry := self._folder.find(self._root, [name])) is not None
        ]
        bases = [base / self._prefix for base in (self._root, *frames)] if self._prefix else []
        bases += frames
        bases += [
            entry for entry in self._folder.folders(self._root) if "video" in entry.name.lower()
        ]
        bases.append(self._root)
        for base in existing(bases):
            for_split = self._folder.find(base, _SPLIT_NAMES[split])
            yield from ([for_split] if for_split is not None else [])
            yield base
            for other in sorted({*_SPLIT_NAMES} - {split}):  # some unpack all into one of them
                elsewhere = self._folder.find(base, _SPLIT_NAMES[other])
                yield from ([elsewhere] if elsewhere is not None else [])


def _stems(video: str) -> list[str]:
    """What people call the folder or file of a video, whose number may have zeros before it."""
    number = video.lstrip("0") or "0"
    return list(dict.fromkeys([video, number.zfill(4), number.zfill(2), number]))


def _record(
    segment: Segment, path: Path, is_file: bool, labels: int | dict[str, int]
) -> ClipRecord:
    name = f"{segment.video}_{segment.start:05d}_{segment.end:05d}"
    if is_file:  # image n shows the video from (n - 1) / fps on
        return ClipRecord(
            path=str(path),
            labels=labels,
            source=segment.source,
            start_s=(segment.start - 1) / FPS,
            end_s=segment.end / FPS,
            name=name,
        )
    return ClipRecord(
        path=str(path / segment.pattern),
        labels=labels,
        source=segment.source,
        start_frame=segment.start,
        end_frame=segment.end,
        fps=FPS,
        name=name,
    )


def read_segments(
    path: Path, task: str = "action", *, num_classes: int | None = None
) -> Iterator[Segment]:
    """The segments of one annotation file.

    Fields are video, class id, class name, first and last image (``00034.jpg`` or ``34``). A
    header is recognised by its first two fields, which are no numbers. Class names may contain
    commas.

    Raises:
        AnnotationError: naming file and line.
    """
    found, classes = 0, num_classes or NUM_CLASSES[task]
    for place, (source, fields) in enumerate(read_csv(path)):
        if place == 0 and not any(field.isdigit() for field in fields[:2]):
            continue
        if len(fields) < 5:
            raise AnnotationError(
                f"{source}: {len(fields)} fields, expected 5: video id, class id, class name, "
                "first image, last image"
            )
        found += 1
        video, class_id, *name, first, last = fields
        start, pattern = _frame(source, "first image", first)
        end, _ = _frame(source, "last image", last)
        if end < start:
            raise AnnotationError(f"{source}: the segment ends ({last}) before it starts ({first})")
        number = parse_integer(source, f"{task} id", class_id, high=classes - 1)
        yield Segment(video, number, ",".join(name), start, end, pattern, source)
    if not found:
        raise AnnotationError(f"{path}: no segments in this file")


def _frame(source: str, what: str, text: str) -> tuple[int, str]:
    """An image's number and the naming pattern its name shows."""
    match = _FRAME_NAME.fullmatch(text)
    if match is None:
        raise AnnotationError(f"{source}: {what} is {shortened(text)}, expected such as 00034.jpg")
    width = len(match["number"]) if match["suffix"] else 5
    return int(match["number"]), f"{{:0{width}d}}{match['suffix'] or '.jpg'}"


def _class_names(segments: Sequence[Segment], task: str) -> list[str]:
    """Names by id; the id as text where no segment shows the name."""
    names = {segment.class_id: segment.class_name for segment in reversed(segments)}
    count = max(NUM_CLASSES[task], max(names, default=0) + 1)
    return [names.get(number, str(number)) for number in range(count)]


def _join(segments: Sequence[Segment], of_task: Sequence[Segment], task: str) -> list[int]:
    """The class ids of ``task`` in the order of ``segments``, matched by video and bounds.

    Segments with the same bounds are matched in the order of the files.
    """
    waiting: dict[tuple[str, int, int], list[int]] = defaultdict(list)
    for segment in reversed(of_task):
        waiting[_key(segment)].append(segment.class_id)
    labels = []
    for segment in segments:
        if not waiting[_key(segment)]:
            file = of_task[0].source.rpartition(":")[0]
            raise AnnotationError(
                f"{segment.source}: no {task} for images {segment.start} to {segment.end} of video "
                f"{segment.video} in {file}; leave {task!r} out of MODEL.TASKS to train without"
            )
        labels.append(waiting[_key(segment)].pop())
    return labels


def _key(segment: Segment) -> tuple[str, int, int]:
    return segment.video.lstrip("0"), segment.start, segment.end
