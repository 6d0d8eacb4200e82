"""What is wrong with one video file or frame folder, and with the segments in it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slowfast.datasets.base import ClipRecord, segment
from slowfast.datasets.check.problems import UNLOADABLE, Problem
from slowfast.datasets.decode import FrameCountError, VideoError, VideoReader
from slowfast.datasets.decode.frames import FrameFolder, is_frame_path, scan_frames
from slowfast.datasets.sampling import clip_size
from slowfast.datasets.shards.record import is_in_shard

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

DEEP_SIDE = 16  # pixels: decoding costs the same at any size, keeping the frames does not
DEEP_FRAMES = 2048  # decoded at a time
SLACK_FRAMES = 2  # by which bounds and counts may be off: rounding of times, hidden frames
STORED_LENGTH = ("mov", "matroska", "avi", "flv", "asf")  # others estimate theirs
LATE_S = 1.0  # a file that ends so much before its announced end is cut short
_HASH_BLOCK = 1 << 20

Found = Iterator[Problem]


@dataclass(frozen=True)
class FileJob:
    """One file and the records that use it, each with its split."""

    path: str
    records: tuple[tuple[str, ClipRecord], ...]


@dataclass(frozen=True)
class FileCheck:
    """How files are checked.

    Attributes:
        open: the reader of a record.
        num_frames: T of a clip.
        stride: of a clip, at ``target_fps``.
        target_fps: frames per second that the stride refers to.
        mode: ``"segment"`` spreads a clip over videos of any length, ``"stride"`` does not.
        deep: decode everything; otherwise the first and the last frame.
    """

    open: Callable[[ClipRecord], VideoReader]
    num_frames: int
    stride: float
    target_fps: float = 30.0
    mode: str = "stride"
    deep: bool = False

    def __call__(self, job: FileJob) -> list[Problem]:
        """The problems of one file and of the records in it."""
        found: list[Problem] = []
        try:
            for problem in self._folder(job) if is_frame_path(job.path) else self._file(job):
                found.append(problem)
        except VideoError as error:
            found.append(_of_file(job, *classify(job.path, error)))
        return found

    def _file(self, job: FileJob) -> Found:
        with self.open(job.records[0][1]) as reader:
            if not is_in_shard(job.path):
                yield from _claims(job, reader)
            try:
                self._decode(reader)
            except FrameCountError as error:
                yield _of_file(job, "frame_count", error.cause)
                self._decode(reader)
            for split, record in job.records:
                yield from self._segment(split, record, reader)

    def _folder(self, job: FileJob) -> Found:
        folder, pattern = os.path.split(job.path)
        images = scan_frames(folder, pattern)
        gaps = images.num_images < images.last - images.first + 1
        claimed = next((r.claimed_frames for _, r in job.records if r.claimed_frames), None)
        if claimed and claimed != images.num_images:
            detail = f"the list claims {claimed} images, there are {images.num_images}"
            yield _of_file(job, "frame_count", detail)
        for split, record in job.records:
            wanted = _images(record, images)
            missing = [
                number
                for number in wanted
                if not images.first <= number <= images.last
                or (gaps and not os.path.exists(job.path.format(number)))
            ]
            if missing:
                yield _missing_images(split, record, missing, len(wanted), images)
            else:
                yield from self._images(split, record, wanted)

    def _images(self, split: str, record: ClipRecord, wanted: range) -> Found:
        try:
            with self.open(record) as reader:
                numbers: Sequence[int] = wanted if self.deep else (wanted[0], wanted[-1])
                for number in numbers:
                    reader.read([number], DEEP_SIDE)
                yield from self._length(split, record, len(wanted), reader.fps)
        except VideoError as error:
            kind, detail = classify(error.path, error)
            yield _of_record(split, record, kind, f"{error.path}: {detail}", loads=False)

    def _decode(self, reader: VideoReader) -> None:
        """Decode what is to be decoded, keeping nothing."""
        if not self.deep:
            reader.read(sorted({0, reader.num_frames - 1}), DEEP_SIDE)
            return
        start = 0
        while start < reader.num_frames:
            stop = min(start + DEEP_FRAMES, reader.num_frames)
            reader.read(range(start, stop), DEEP_SIDE)
            start = stop

    def _segment(self, split: str, record: ClipRecord, reader: VideoReader) -> Found:
        try:
            _, total = segment(record, reader)
        except VideoError as error:
            yield _of_record(split, record, "segment", error.cause, loads=False)
            return
        beyond = _beyond_end(record, reader)
        if record.end_s is not None and record.end_s <= record.start_s:
            yield _of_record(split, record, "segment", f"ends at {record.end_s:.2f} s, before it "
                             f"starts at {record.start_s:.2f} s")  # fmt: skip
        elif beyond:
            yield _of_record(split, record, "segment", beyond)
        yield from self._length(split, record, total, reader.fps)

    def _length(self, split: str, record: ClipRecord, total: int, fps: float) -> Found:
        needed = self.num_frames
        if self.mode == "stride":
            needed = int(clip_size(needed, self.stride, fps, self.target_fps))
        if total < needed:
            detail = f"{total} frames, a clip spans {needed} at {fps:.4g} frames/s"
            yield _of_record(split, record, "too_short", detail)


def classify(path: str, error: VideoError) -> tuple[str, str]:
    """Kind and detail of an error of a reader."""
    cause = error.cause or str(error)
    if is_in_shard(path):
        return ("truncated" if "cut short" in cause else "unreadable"), cause
    if not is_frame_path(path) and not os.path.exists(path):
        return "missing", "no such file"
    if os.path.isfile(path) and os.path.getsize(path) == 0:
        return "empty", "0 bytes"
    if "no frames" in cause:
        return "empty", cause
    if "cut short" in cause:
        return "truncated", cause
    if os.path.isfile(path) and _lacks_index(path):
        return "truncated", f"{cause} (an MP4 whose index, written last, is not there)"
    if os.path.isfile(path) and _lasts_nothing(path):
        return "empty", f"{cause}: all frames are at the same time"
    if not os.path.isfile(path) and "No such file" in cause:
        return "missing", cause
    return "unreadable", cause


def _lacks_index(path: str) -> bool:
    """Whether a file is an MP4 of which only the beginning is there: no ``moov`` box."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        place, first = 0, True
        while place + 8 <= size:
            file.seek(place)
            header = file.read(16)
            length, kind = int.from_bytes(header[:4], "big"), header[4:8]
            if first and kind != b"ftyp":
                return False
            if kind == b"moov":
                return place + length > size
            if length == 1:
                length = int.from_bytes(header[8:16], "big")
            if length < 8:
                break  # 0: to the end of the file
            place, first = place + length, False
    return not first


def _lasts_nothing(path: str) -> bool:
    """Whether a file can be opened and its table has all frames at the same time."""
    import av

    try:
        with av.open(path) as container:
            return any(_is_momentary(stream) for stream in container.streams.video)
    except (av.FFmpegError, OSError):
        return False


def _is_momentary(stream: VideoStream) -> bool:
    entries = stream.index_entries  # of all frames in MP4, of keyframes or none elsewhere
    return len(entries) > 1 and entries[0].timestamp == entries[-1].timestamp


def _claims(job: FileJob, reader: VideoReader) -> Found:
    """Compare what the container's header says with what there is."""
    import av

    from slowfast.datasets.decode.index import video_stream

    with av.open(job.path) as container:
        stream = video_stream(container, job.path)
        claimed, counted = stream.frames, reader.num_frames
        if _is_momentary(stream):
            yield _of_file(job, "empty", f"{counted} frames, all at the same time")
        if claimed and abs(claimed - counted) > SLACK_FRAMES:
            hidden = sum(packet.is_discard for packet in container.demux(stream))
            if abs(claimed - hidden - counted) > SLACK_FRAMES:
                detail = f"the container claims {claimed} frames, there are {counted}"
                yield _of_file(job, "frame_count", detail)
        if not set(container.format.name.split(",")).isdisjoint(STORED_LENGTH):
            yield from _ends_early(job, reader, container)


def _ends_early(job: FileJob, reader: VideoReader, container: InputContainer) -> Found:
    announced = (container.duration or 0) / 1e6  # microseconds
    limit = announced - max(LATE_S, announced / 50)
    if float(reader.times[-1]) + 1 / reader.fps >= limit:
        return
    container.seek(0)
    ends = [
        float((packet.pts + (packet.duration or 0)) * packet.time_base)
        for packet in container.demux()  # sound may go on where the pictures end
        if packet.pts is not None
    ]
    end = max(ends, default=0.0) - (container.start_time or 0) / 1e6
    if end < limit:
        yield _of_file(job, "truncated", f"ends at {end:.1f} s of {announced:.1f} s announced")


def _beyond_end(record: ClipRecord, reader: VideoReader) -> str:
    """How far a segment reaches beyond its video, empty if it does not."""
    length = float(reader.times[-1]) + 1 / reader.fps
    if record.end_s is not None and record.end_s > length + SLACK_FRAMES / reader.fps:
        return f"ends at {record.end_s:.2f} s, the video at {length:.2f} s"
    if record.end_frame is not None and record.end_frame >= reader.num_frames:
        return f"ends with frame {record.end_frame}, the video with {reader.num_frames - 1}"
    return ""


def _images(record: ClipRecord, images: FrameFolder) -> range:
    first, last = record.start_frame, record.end_frame
    first = images.first if first is None else first
    return range(first, (images.last if last is None else last) + 1)


def _missing_images(
    split: str, record: ClipRecord, missing: Sequence[int], total: int, images: FrameFolder
) -> Problem:
    kind = "missing"
    if missing[0] > images.last or missing[-1] < images.first:
        kind = "segment"  # nothing has got lost: it reaches beyond what there ever was
    detail = (
        f"{len(missing)} of its {total} images are not there, first {missing[0]}; the folder has "
        f"{images.first} to {images.last}"
    )
    return _of_record(split, record, kind, detail, loads=False)


def _of_record(
    split: str, record: ClipRecord, kind: str, detail: str, *, loads: bool = True
) -> Problem:
    name = record.name or record.path
    return Problem(kind, split, record.path, detail, record.source, name=name, loads=loads)


def _of_file(job: FileJob, kind: str, detail: str) -> Problem:
    splits = ", ".join(sorted({split for split, _ in job.records}))
    loads = kind not in UNLOADABLE
    return Problem(kind, splits, job.path, detail, job.records[0][1].source, loads=loads)


def content_digest(path: str) -> str:
    """SHA-256 of a file; of a frame folder, of its first, middle and last image.

    Empty when there is nothing to read.
    """
    digest: Any = hashlib.sha256()
    try:
        for part in _parts(path):
            with open(part, "rb") as file:
                while block := file.read(_HASH_BLOCK):
                    digest.update(block)
    except (OSError, VideoError):
        return ""
    return str(digest.hexdigest())


def content_size(path: str) -> int:
    """Bytes of what :func:`content_digest` reads; -1 when there is nothing to read."""
    try:
        return sum(os.path.getsize(part) for part in _parts(path))
    except (OSError, VideoError):
        return -1


def _parts(path: str) -> list[str]:
    if not is_frame_path(path):
        return [path]
    images = scan_frames(*os.path.split(path))
    numbers = (images.first, (images.first + images.last) // 2, images.last)
    return [path.format(number) for number in numbers]
