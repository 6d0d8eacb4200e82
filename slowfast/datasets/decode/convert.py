"""Decoded frames to RGB pixels of the wanted size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from slowfast.datasets.decode.base import Frames, Region, VideoError, check_pixels

if TYPE_CHECKING:
    from av.video.plane import VideoPlane
    from numpy.typing import NDArray

# Planar formats of which a part can be given to the scaler as it lies in memory, and by how much
# the chroma planes are smaller, as powers of two: width, height.
CUT_IN_PLACE = {"yuv420p": (1, 1), "yuvj420p": (1, 1), "yuv422p": (1, 0), "yuv444p": (0, 0)}
IN_PLACE = hasattr(VideoFrame, "from_dlpack")  # since PyAV 17


class Scaler(Protocol):
    """Makes pictures of frames.

    Attributes:
        height: of the pictures, in pixels.
        width: of the pictures, in pixels.
    """

    height: int
    width: int

    def __call__(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """``(H, W, 3)``, RGB; valid until the next call."""
        ...


class WholeScaler:
    """Whole frames, scaled.

    Args:
        width: of the pictures, in pixels.
        height: of the pictures, in pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._scaler, self._packer = VideoReformatter(), VideoReformatter()

    def __call__(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """See :class:`Scaler`."""
        if (frame.width, frame.height) != (self.width, self.height):
            # by way of planar RGB: twice as fast as straight to rgb24, chroma no less exact
            frame = self._scaler.reformat(frame, self.width, self.height, "gbrp", threads=1)
        rgb = self._packer.reformat(frame, format="rgb24", threads=1)
        lines = _lines(rgb.planes[0])  # they may be padded
        return lines[:, : self.width * 3].reshape(self.height, self.width, 3)


class RegionScaler:
    """A part of every frame, scaled: what lies outside costs nothing.

    The part is moved to whole chroma samples, by less than two pixels.

    Args:
        region: the part and its size, of frames as they are stored.
    """

    def __init__(self, region: Region) -> None:
        self.region = region
        self.height, self.width = region.size
        self._scaler = WholeScaler(self.width, self.height)
        self._packer = VideoReformatter()
        self._cuts: dict[tuple[str, int, int], list[Cut]] = {}

    def __call__(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """See :class:`Scaler`."""
        layout = (frame.format.name, frame.width, frame.height)
        cuts = self._cuts.get(layout)
        if cuts is None:
            cuts = self._cuts[layout] = _plane_cuts(self.region, *layout)
        if len(cuts) == 1:
            rgb = _lines(self._packer.reformat(frame, format="rgb24", threads=1).planes[0])
            pixels = rgb[:, : frame.width * 3].reshape(frame.height, frame.width, 3)
            return self._scaler(VideoFrame.from_numpy_buffer(pixels[cuts[0]], "rgb24"))
        planes = tuple(_lines(plane)[cut] for plane, cut in zip(frame.planes, cuts, strict=True))
        part = VideoFrame.from_dlpack(planes, format=layout[0])
        part.colorspace, part.color_range = frame.colorspace, frame.color_range
        return self._scaler(part)


Cut = tuple[slice, slice]  # rows, columns


def _plane_cuts(region: Region, pixel_format: str, width: int, height: int) -> list[Cut]:
    """What to take of each plane; one cut where the frame has to be made RGB before."""
    in_place = IN_PLACE and min(width, height) > 1  # of one row there is no half
    shifts = CUT_IN_PLACE.get(pixel_format) if in_place else None
    shift_x, shift_y = shifts or (0, 0)
    rows = _whole_samples(region.top, region.height, height, shift_y)
    columns = _whole_samples(region.left, region.width, width, shift_x)
    if shifts is None:
        return [(rows, columns)]
    chroma = (
        slice(rows.start >> shift_y, rows.stop >> shift_y),
        slice(columns.start >> shift_x, columns.stop >> shift_x),
    )
    return [(rows, columns), chroma, chroma]


def _whole_samples(start: int, length: int, limit: int, shift: int) -> slice:
    """The stretch, from a multiple of ``2 ** shift`` to another one inside ``limit``.

    Example:
        >>> _whole_samples(3, 5, 100, 1), _whole_samples(3, 6, 9, 1), _whole_samples(3, 5, 100, 0)
        (slice(2, 8, None), slice(2, 8, None), slice(3, 8, None))
    """
    last = limit >> shift
    first = min(start >> shift, last - 1)
    stop = min(max((start + length) >> shift, first + 1), last)
    return slice(first << shift, stop << shift)


def _lines(plane: VideoPlane) -> NDArray[np.uint8]:
    """The lines of a plane as they lie in memory, padding included."""
    return np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, plane.line_size)


class FrameSink:
    """Collects wanted frames, converting each the moment it is decoded.

    Args:
        path: of the video, for messages.
        numbers: of the wanted frames, in the order of the result; repeats allowed.
        scaler: makes their pictures.

    Attributes:
        frames: uint8 ``(N, H, W, 3)``, RGB.
        missing: numbers not yet collected.
    """

    def __init__(self, path: str, numbers: list[int], scaler: Scaler) -> None:
        self.path = path
        check_pixels(path, scaler.width, scaler.height, "pictures")
        self.frames: Frames = np.empty((len(numbers), scaler.height, scaler.width, 3), np.uint8)
        self.missing = set(numbers)
        self._scaler = scaler
        self._rows: dict[int, list[int]] = {}
        for row, number in enumerate(numbers):
            self._rows.setdefault(number, []).append(row)

    def put(self, number: int, frame: VideoFrame) -> None:
        """Convert and store ``frame`` if it is one of those still missing."""
        if number not in self.missing:
            return
        if frame.is_corrupt:
            raise VideoError(self.path, f"frame {number} is damaged")
        try:
            picture = self._scaler(frame)
        except (av.FFmpegError, ValueError) as error:  # colours that nothing can be made of
            raise VideoError(self.path, f"frame {number} cannot be made RGB: {error}") from error
        for row in self._rows[number]:
            self.frames[row] = picture
        self.missing.discard(number)


class FrameSinks:
    """Several sinks of one decoding pass. Same use as one.

    Args:
        sinks: each with its own frames and scaler.
    """

    def __init__(self, sinks: list[FrameSink]) -> None:
        self.sinks = sinks

    @property
    def missing(self) -> set[int]:
        """Numbers that one of them has not collected yet."""
        return set().union(*(sink.missing for sink in self.sinks))

    def put(self, number: int, frame: VideoFrame) -> None:
        """Hand ``frame`` to all."""
        for sink in self.sinks:
            sink.put(number, frame)
