"""Videos as folders of JPEG images with the 7-column annotation of :mod:`.rawframes`."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from slowfast.datasets.annotations import AnnotationError, parse_class, read_lines
from slowfast.datasets.decode import FrameCountError, Frames, VideoError, VideoReader, open_video
from slowfast.datasets.layout import Folder
from slowfast.datasets.missing import check_folder
from slowfast.datasets.video_folder import VIDEO_SUFFIXES
from slowfast.utils.parallel import WorkerDied, run_parallel
from slowfast.utils.plain_json import parse_json

DATASET_FOLDER = "custom_dataset"
FRAMES_FOLDER = "rawframes"
IMAGE = "{:05d}.jpg"
STAMP = ".dump_frames.json"  # in each folder: what it was made from and how
CHUNK_BYTES = 256 << 20  # of decoded frames at a time, per process


@dataclass(frozen=True)
class DumpJob:
    """One video to be written as images.

    Attributes:
        video: the file.
        folder: of its images.
    """

    video: str
    folder: str


@dataclass(frozen=True)
class Dumped:
    """One video that is there as images.

    Attributes:
        num_frames: images.
        fps: frames per second.
        reused: they were there before.
    """

    num_frames: int
    fps: float
    reused: bool = False


@dataclass
class DumpResult:
    """What came of a run.

    Attributes:
        lists: the annotation files written.
        dumped: video name -> its images.
        dropped: video name -> reason; also of lines that name no video.
    """

    lists: list[Path] = field(default_factory=list)
    dumped: dict[str, Dumped] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)


def dump_dataset(
    videos_dir: Path,
    annotations: Sequence[Path],
    output_dir: Path,
    *,
    short_side: int = 256,
    quality: int = 90,
    workers: int = 1,
    progress: str = "auto",
) -> DumpResult:
    """Write ``<output_dir>/custom_dataset/{rawframes/<video>/00001.jpg, ..., <list>.txt}``.

    Args:
        videos_dir: the paths in the annotations start here.
        annotations: lists of ``<video file> <label>``; the new ones have the same names.
        output_dir: may hold the input: nothing of it is overwritten.
        short_side: of the images, pixels; smaller videos keep their size.
        quality: of the JPEGs, 1 to 100.
        workers: processes.
        progress: see :func:`slowfast.utils.progress.open_progress`.

    Raises:
        AnnotationError: a bad line, or a list would overwrite another or itself.
    """
    check_folder(videos_dir, "--videos_dir")
    target = output_dir / DATASET_FOLDER
    lists = {path: read_videos(path) for path in annotations}
    check_targets(annotations, target)
    result = DumpResult()
    places = _find_videos(videos_dir, lists, result)
    names = list(places)
    jobs = [DumpJob(str(places[n]), str(target / FRAMES_FOLDER / frame_folder(n))) for n in names]
    job = partial(dump_video, short_side=short_side, quality=quality)
    for number, answer in run_parallel(
        job, jobs, workers=workers, description="extracting frames", progress=progress
    ):
        if isinstance(answer, WorkerDied):
            result.dropped[names[number]] = "the process that decoded it died"
        elif isinstance(answer, str):
            result.dropped[names[number]] = answer
        else:
            result.dumped[names[number]] = answer
    target.mkdir(parents=True, exist_ok=True)
    for path, rows in lists.items():
        result.lists.append(write_annotation(target / path.name, rows, result.dumped))
    return result


def read_videos(path: Path) -> list[tuple[str, str, int]]:
    """``(source, video, label)`` of every line ``<video> <label>``; names may hold blanks."""
    rows = []
    for source, line in read_lines(path):
        *video, label = line.rsplit(maxsplit=1)
        if not video:
            raise AnnotationError(f"{source}: {line!r}, expected <video file> <label>")
        rows.append((source, video[0], parse_class(source, "label", label)))
    if not rows:
        raise AnnotationError(f"{path}: no lines in this file")
    return rows


def check_targets(annotations: Sequence[Path], target: Path) -> None:
    """Raise when a new annotation file would replace an input or another new one."""
    twice = [
        name for name, count in Counter(path.name for path in annotations).items() if count > 1
    ]
    if twice:
        raise AnnotationError(f"several annotations are called {twice[0]}: rename them")
    for path in annotations:
        if (target / path.name).resolve() == path.resolve():
            raise AnnotationError(
                f"{path} would be overwritten: the new annotation goes to {target}. "
                "Choose another --output_dir"
            )


def frame_folder(video: str) -> str:
    """The folder of a video's images: its name without the suffix of a video file.

    Example:
        >>> frame_folder("sub/My.clip.MP4"), frame_folder("take.2")
        ('sub/My.clip', 'take.2')
    """
    stem, suffix = os.path.splitext(video)
    return stem if suffix.lower() in VIDEO_SUFFIXES else video


def _find_videos(
    videos_dir: Path, lists: dict[Path, list[tuple[str, str, int]]], result: DumpResult
) -> dict[str, Path]:
    """Video name -> file. What cannot be dumped goes to ``result.dropped``."""
    places: dict[str, Path] = {}
    owners: dict[str, str] = {}
    folder = Folder()
    for source, video, _ in (row for rows in lists.values() for row in rows):
        if video in places or video in result.dropped:
            continue
        path = videos_dir / video
        if not path.is_file():  # the list may leave out the suffix
            path = folder.video(path.parent, path.name) or path
        first = owners.setdefault(frame_folder(video), video)
        if not path.is_file():
            result.dropped[video] = f"no such file in {videos_dir} ({source})"
        elif os.path.isabs(video) or ".." in Path(video).parts:
            result.dropped[video] = f"not a path below --videos_dir ({source})"
        elif first != video:
            result.dropped[video] = f"would share its folder with {first} ({source})"
        else:
            places[video] = path
    return places


def dump_video(job: DumpJob, short_side: int, quality: int) -> Dumped | str:
    """Write the images of one video, all or none; or why there are none."""
    try:
        status = os.stat(job.video)
        wanted = {
            "bytes": status.st_size,
            "mtime_ns": status.st_mtime_ns,
            "short_side": short_side,
            "quality": quality,
        }
        done = read_stamp(job.folder)
        if done is not None and wanted.items() <= done.items() and has_images(job.folder, done):
            return Dumped(done["num_frames"], done["fps"], reused=True)
        if done is None and os.path.exists(job.folder):
            return f"{job.folder} is there, but was not made by this tool: move it away"
        return _dump(job, wanted)
    except (VideoError, OSError) as error:
        return error.cause if isinstance(error, VideoError) else str(error)


def read_stamp(folder: str) -> dict[str, Any] | None:
    """What a folder was made from and how; ``None`` for folders of other origin."""
    try:
        stamp: dict[str, Any] = parse_json(Path(folder, STAMP).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return stamp if isinstance(stamp, dict) and "num_frames" in stamp else None


def has_images(folder: str, done: dict[str, Any]) -> bool:
    """Whether all images that the stamp speaks of are there."""
    with os.scandir(folder) as entries:
        return sum(entry.name.endswith(".jpg") for entry in entries) == done["num_frames"]


def _dump(job: DumpJob, wanted: dict[str, Any]) -> Dumped:
    place, name = os.path.split(job.folder)
    partial_folder = Path(place, f".{name}.partial")
    shutil.rmtree(partial_folder, ignore_errors=True)
    partial_folder.mkdir(parents=True)
    try:
        with open_video(job.video) as reader:
            try:
                _write_images(reader, partial_folder, wanted)
            except FrameCountError:  # the reader knows better now
                _write_images(reader, partial_folder, wanted)
            dumped = Dumped(reader.num_frames, reader.fps)
        stamp = wanted | {"num_frames": dumped.num_frames, "fps": dumped.fps}
        (partial_folder / STAMP).write_text(json.dumps(stamp), "utf-8")
        shutil.rmtree(job.folder, ignore_errors=True)  # made with other settings
        partial_folder.rename(job.folder)
    finally:
        shutil.rmtree(partial_folder, ignore_errors=True)
    return dumped


def _write_images(reader: VideoReader, folder: Path, wanted: dict[str, Any]) -> None:
    short = min(wanted["short_side"], reader.width, reader.height)
    size = reader.width * reader.height * short**2 // min(reader.width, reader.height) ** 2
    chunk = max(CHUNK_BYTES // (3 * size), 1)
    for start in range(0, reader.num_frames, chunk):
        numbers = range(start, min(start + chunk, reader.num_frames))
        for number, frame in zip(numbers, reader.read(numbers, short), strict=True):
            (folder / IMAGE.format(number + 1)).write_bytes(encode_jpeg(frame, wanted["quality"]))


def encode_jpeg(frame: Frames, quality: int) -> bytes:
    """An RGB picture ``(H, W, 3)`` as JPEG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def write_annotation(
    path: Path, rows: Sequence[tuple[str, str, int]], dumped: dict[str, Dumped]
) -> Path:
    """Write the 7-column list of the videos that were dumped; the action is the whole video."""
    lines = []
    for _, video, label in rows:
        if video in dumped:
            end, fps = dumped[video].num_frames, dumped[video].fps
            lines.append(f"{frame_folder(video)} {label} 0 {end} 0 {end} {round(fps, 3):g}\n")
    partial_file = path.with_name(f".{path.name}.partial")
    partial_file.write_text("".join(lines), "utf-8")
    partial_file.replace(path)
    return path
