"""One video re-encoded so that random clips of it decode fast, with the same frames and times."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np

from slowfast.datasets.decode import FrameCountError, VideoError, open_video, scaled_size
from slowfast.datasets.decode.base import Times
from slowfast.datasets.decode.index import video_stream
from slowfast.datasets.decode.pyav import PyAVReader

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

TIME_BASE = Fraction(1, 90000)  # seconds per unit: exact for all common frame rates
LATE = 1.5 / 90000  # seconds by which a time may move: rounding to units, twice
VERSION = 1  # of the recipe: files of another one are made anew
PIXELS = "yuv420p"
RANGE = 1  # levels 16 to 235, in FFmpeg's numbering


@dataclass(frozen=True)
class Recipe:
    """How videos are re-encoded (H.264 in MP4, no sound, index at the start).

    Measured on 340x256 and 426x240 clips, 32x2: four to five times less time per random clip than
    the files as they were, of which ``tune fastdecode`` (no CABAC, no deblocking) brings the most.

    Attributes:
        short_side: pixels, made even; smaller videos keep their size.
        gop: frames from one keyframe to the next, always.
        crf: x264's quality, 0 (lossless) to 51; 18 is visually lossless.
        b_frames: between two others, never referred to: strided clips skip decoding many of them.
        preset: x264's effort; slower ones make smaller files.
    """

    short_side: int = 256
    gop: int = 16
    crf: int = 20
    b_frames: int = 3
    preset: str = "fast"

    def options(self) -> dict[str, str]:
        """Options of the encoder."""
        fixed = f"keyint={self.gop}:min-keyint={self.gop}:scenecut=0:open-gop=0"
        b_frames = f"bframes={self.b_frames}:b-adapt=0:b-pyramid=none"
        return {
            "preset": self.preset,
            "tune": "fastdecode",
            "crf": str(self.crf),
            "x264-params": f"{fixed}:{b_frames}",
            "threads": "1",  # the processes are the parallelism
        }

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the copy, even, for a video of this (upright) size."""
        short = min(self.short_side, width, height)
        return tuple(max(side // 2 * 2, 2) for side in scaled_size(width, height, short))  # type: ignore[return-value]


def stamp(source: str, recipe: Recipe) -> str:
    """What a copy was made from and how: stored in it, and the same as long as both are."""
    status = os.stat(source)
    words = [f"v{VERSION}", f"bytes={status.st_size}", f"mtime={status.st_mtime_ns}"]
    words += [f"{name}={value}" for name, value in asdict(recipe).items()]
    return "prepare_videos " + " ".join(words)


def is_copy(target: str, wanted: str) -> bool:
    """Whether ``target`` is a finished copy with this stamp; opens it only."""
    try:
        with av.open(target) as container:
            return container.metadata.get("comment") == wanted
    except (av.FFmpegError, OSError):
        return False


def encode_video(source: str, target: str, recipe: Recipe) -> int:
    """Re-encode ``source`` to ``target``, which appears when it is complete; the frames in it.

    Every frame is kept, with its time after the first one: segments in seconds or frames stay
    valid. The first frame is at time 0. Rotation by metadata becomes rotation of the pixels.

    Raises:
        VideoError: the source cannot be decoded, or the copy is not as it should be.
    """
    wanted = stamp(source, recipe)
    folder, name = os.path.split(target)
    os.makedirs(folder, exist_ok=True)
    partial = os.path.join(folder, f".{name}.partial")  # hidden: no dataset takes it for a video
    try:
        with PyAVReader(source) as reader:
            try:
                _encode(reader, partial, recipe, wanted)
            except FrameCountError:
                _count_anew(reader)
                _encode(reader, partial, recipe, wanted)
            times, size = reader.times, recipe.size(reader.width, reader.height)
        _verify(source, partial, times, size)
        os.replace(partial, target)
    finally:
        Path(partial).unlink(missing_ok=True)
    return len(times)


def _count_anew(reader: PyAVReader) -> None:
    """Let the reader find out how many frames decode where the packets promise another number."""
    try:
        reader.read(range(reader.num_frames), 16)
    except FrameCountError:
        return


def _encode(reader: PyAVReader, partial: str, recipe: Recipe, comment: str) -> None:
    try:
        options = {"movflags": "faststart"}
        with av.open(partial, "w", format="mp4", options=options) as out:
            out.metadata["comment"] = comment
            _copy_frames(reader, out, recipe)
    except av.FFmpegError as error:
        raise VideoError(reader.path, f"cannot be re-encoded: {error.strerror}") from error


def _copy_frames(reader: PyAVReader, out: OutputContainer, recipe: Recipe) -> None:
    stream: VideoStream | None = None
    size = recipe.size(reader.width, reader.height)
    times, count = reader.times, 0
    for frame in _decoded(reader.path):
        if stream is None:
            stream = _add_stream(out, recipe, frame, size)
        if count < len(times):
            out.mux(stream.encode(_converted(frame, size, float(times[count]))))
        count += 1
    if stream is None or count != len(times):
        raise FrameCountError(reader.path, f"{len(times)} frames promised, {count} decode")
    out.mux(stream.encode(None))


def _decoded(path: str) -> Iterator[VideoFrame]:
    """All frames, in the order and number that a reader gives them."""
    with av.open(path) as container:
        stream = video_stream(container, path)
        stream.thread_type, stream.thread_count = "NONE", 1
        for frame in container.decode(stream):
            if frame.is_corrupt:
                raise VideoError(path, f"the frame at {frame.time or 0.0:.3f} s is damaged")
            yield frame


def _add_stream(
    out: OutputContainer, recipe: Recipe, frame: VideoFrame, size: tuple[int, int]
) -> VideoStream:
    """A stream for frames like ``frame``, in its colours: matrix and range of the source."""
    stream: VideoStream = out.add_stream("libx264", options=recipe.options())
    stream.width, stream.height = size
    stream.pix_fmt = PIXELS
    stream.time_base = TIME_BASE
    context = stream.codec_context
    context.time_base = TIME_BASE
    context.colorspace = frame.colorspace
    context.color_primaries = frame.color_primaries
    context.color_trc = frame.color_trc
    context.color_range = RANGE
    return stream


def _converted(frame: VideoFrame, size: tuple[int, int], seconds: float) -> VideoFrame:
    """The frame upright, in another size, and shown at another time."""
    turns = round(frame.rotation / 90) % 4
    width, height = size if turns % 2 == 0 else size[::-1]
    small = frame.reformat(width, height, PIXELS, interpolation="BICUBIC", dst_color_range=RANGE)
    if turns:
        small = _turned(small, turns)
    small.pts, small.time_base = round(seconds / TIME_BASE), TIME_BASE
    small.pict_type = 0  # else the encoder repeats the source's choice
    return small


def _turned(frame: VideoFrame, turns: int) -> VideoFrame:
    """The frame turned anticlockwise by so many right angles."""
    planes = []
    for plane in frame.planes:
        lines = np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)
        planes.append(np.rot90(lines[:, : plane.width], turns))
    height, width = planes[0].shape
    flat = np.concatenate([plane.ravel() for plane in planes])
    return av.VideoFrame.from_ndarray(flat.reshape(height * 3 // 2, width), PIXELS)


def _verify(source: str, copy: str, times: Times, size: tuple[int, int]) -> None:
    """Open the copy as training would.

    Raises:
        VideoError: other frames, times or size than the source's.
    """
    with open_video(copy) as reader:
        same = reader.num_frames == len(times) and (reader.width, reader.height) == size
        late = float(np.abs(reader.times - times).max()) if same else 0.0
        if not same or late > LATE:
            raise VideoError(
                source,
                f"its copy has {reader.num_frames} frames of {reader.width}x{reader.height}, off "
                f"by up to {late:.6f} s, not {len(times)} of {size[0]}x{size[1]}",
            )
        reader.read(sorted({0, reader.num_frames - 1}), 16)
