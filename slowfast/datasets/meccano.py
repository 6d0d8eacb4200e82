"""MECCANO (Ragusa et al., WACV 2021): egocentric assembly, 61 actions = 12 verbs x 20 objects.

Twenty videos of 1920x1080 at 12 fps, given as images ``00001.jpg``. Annotations name the first and
last image of a segment, both inclusive.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slowfast.datasets.annotations import AnnotationError, parse_integer, read_csv
from slowfast.datasets.base import ClipRecord
from slowfast.datasets.layout import Folder, existing, tried

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
_FRAME_NAME = re.compile(r"(?P<number>\d+)(?P<suffix>\.[A-Za-z]+)?")


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
        path_prefix: folder of the images, in ``data_dir`` or absolute.
    """

    def __init__(
        self, data_dir: str | Path, *, tasks: Sequence[str] = ("action",), path_prefix: str = ""
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
        self._folder = Folder()

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> Meccano:
        """From ``DATA.PATH_TO_DATA_DIR``, ``DATA.PATH_PREFIX`` and ``MODEL.TASKS``."""
        return cls(
            cfg.DATA.PATH_TO_DATA_DIR,
            tasks=tuple(cfg.MODEL.TASKS) or ("action",),
            path_prefix=cfg.DATA.PATH_PREFIX,
        )

    def records(self, split: str) -> list[ClipRecord]:
        """One record per segment of ``split`` (``train``, ``val``, ``test``).

        Labels are one class id, or ``{task: class id}`` for several tasks. ``class_names`` is set
        from the names in the annotations.

        Raises:
            AnnotationError: no annotations, a bad line, a segment without verb or object.
            FileNotFoundError: neither images nor file of a video.
        """
        main, *others = self._label_sets
        segments = list(read_segments(self._annotation(split, main), main))
        labels = {main: [segment.class_id for segment in segments]}
        names = {main: _class_names(segments, main)}
        for task in others:
            of_task = list(read_segments(self._annotation(split, task), task))
            labels[task] = _join(segments, of_task, task)
            names[task] = _class_names(of_task, task)
        self.class_names = names if others else {"action": names[main]}
        videos: dict[str, tuple[Path, bool]] = {}
        records = []
        for row, segment in enumerate(segments):
            if segment.video not in videos:
                videos[segment.video] = self._find_video(segment, split)
            of_row = {task: values[row] for task, values in labels.items()}
            records.append(
                _record(segment, *videos[segment.video], of_row if others else of_row[main])
            )
        return records

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

    def _find_video(self, segment: Segment, split: str) -> tuple[Path, bool]:
        """The folder of images or the video file, and whether it is a file."""
        number = segment.video.lstrip("0") or "0"
        stems = list(dict.fromkeys([segment.video, number.zfill(4), number.zfill(2), number]))
        places = list(self._video_places(split))
        for place in places:
            folder = self._folder.find(place, stems)
            if folder is not None and folder.is_dir():
                return folder, False
        for place in places:
            for stem in stems:
                file = self._folder.video(place, stem)
                if file is not None:
                    return file, True
        raise FileNotFoundError(
            f"{segment.source}: neither a folder of images nor a file of video {segment.video!r}; "
            f"looked for {', '.join(stems)} in {tried(places)}"
        )

    def _video_places(self, split: str) -> Iterator[Path]:
        """Folders that may hold the videos of ``split``, the likeliest first."""
        bases = [self._root / self._prefix] if self._prefix else []
        bases += [
            entry
            for name in _FRAME_FOLDERS
            if (entry := self._folder.find(self._root, [name])) is not None
        ]
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


def read_segments(path: Path, task: str = "action") -> Iterator[Segment]:
    """The segments of one annotation file.

    Fields are video, class id, class name, first and last image (``00034.jpg`` or ``34``). A
    header is recognised by its first two fields, which are no numbers. Class names may contain
    commas.

    Raises:
        AnnotationError: naming file and line.
    """
    found = 0
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
        number = parse_integer(source, f"{task} id", class_id, high=NUM_CLASSES[task] - 1)
        yield Segment(video, number, ",".join(name), start, end, pattern, source)
    if not found:
        raise AnnotationError(f"{path}: no segments in this file")


def _frame(source: str, what: str, text: str) -> tuple[int, str]:
    """An image's number and the naming pattern its name shows."""
    match = _FRAME_NAME.fullmatch(text)
    if match is None:
        raise AnnotationError(f"{source}: {what} is {text!r}, expected such as 00034.jpg")
    width = len(match["number"]) if match["suffix"] else 5
    return int(match["number"]), f"{{:0{width}d}}{match['suffix'] or '.jpg'}"


def _class_names(segments: Sequence[Segment], task: str) -> list[str]:
    """Names by id; the id as text where no segment shows the name."""
    names = {segment.class_id: segment.class_name for segment in reversed(segments)}
    return [names.get(number, str(number)) for number in range(NUM_CLASSES[task])]


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
