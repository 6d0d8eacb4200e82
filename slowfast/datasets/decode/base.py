"""What every decoding backend offers, and the errors it may raise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from slowfast.utils.errors import UserError

Frames = NDArray[np.uint8]  # (N, H, W, 3), RGB
Times = NDArray[np.float64]  # (N,), seconds after the first frame


MOST_PIXELS = 2**26
"""Of a frame, as it is stored and as it is asked for: 8192 x 8192, twice as many as 8K has."""


class VideoError(UserError, RuntimeError):
    """A video that cannot be read as asked; the text names the file and the cause."""

    def __init__(self, path: str, cause: str = "") -> None:
        super().__init__(path, cause)  # both in args, so that it survives pickling
        self.path = path
        self.cause = cause

    def __str__(self) -> str:
        return f"{self.path}: {self.cause}" if self.cause else self.path


class FrameCountError(VideoError):
    """Decoding showed another number of frames than the container's packets promise.

    The reader has corrected its ``num_frames`` and ``times``; choose frames anew and read again.
    """


class VideoReader(Protocol):
    """Random access to the frames of one video file; also a context manager.

    Frame ``i`` is the i-th frame in presentation order, as decoding the whole file gives it.

    Attributes:
        num_frames: frames in the file.
        fps: mean frames per second.
        width: pixels, after rotation by the stream's metadata.
        height: pixels, after rotation.
        times: when each frame is shown, ``(num_frames,)`` seconds after the first.
    """

    num_frames: int
    fps: float
    width: int
    height: int
    times: Times

    def read(self, indices: Sequence[int], short_side: int | None = None) -> Frames:
        """The frames ``indices`` (any order, repeats allowed) as ``(N, H, W, 3)`` RGB.

        Args:
            indices: frame numbers, 0 to ``num_frames - 1``.
            short_side: scale to this short side while converting; ``None`` keeps the size.

        Raises:
            VideoError: a frame cannot be decoded.
            IndexError: a frame number outside the file.
        """
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Region(NamedTuple):
    """A part of every frame, and the size it is wanted in.

    Attributes:
        top, left: first row and column, in pixels of the full-size upright frame.
        height, width: of the part, in the same pixels.
        size: (H, W) to scale it to.
    """

    top: int
    left: int
    height: int
    width: int
    size: tuple[int, int]

    def turned(self, turns: int, height: int, width: int) -> Region:
        """The part in frames that become upright by ``turns`` right angles anticlockwise.

        Args:
            turns: 0 to 3.
            height, width: of the upright frame.
        """
        size = self.size if turns % 2 == 0 else self.size[::-1]
        below, right = height - self.top - self.height, width - self.left - self.width
        return [
            self,
            Region(self.left, below, self.width, self.height, size),
            Region(below, right, self.height, self.width, size),
            Region(right, self.top, self.width, self.height, size),
        ][turns]


@runtime_checkable
class RegionReader(Protocol):
    """A reader that scales a part of the frames for less than it scales whole ones."""

    def read_region(self, indices: Sequence[int], region: Region) -> Frames:
        """Like :meth:`VideoReader.read`, of a part: ``(N, *region.size, 3)``.

        The part may be moved to where it can be cut without computing, by less than two pixels of
        the frame or one of the result.
        """
        ...


@runtime_checkable
class RegionsReader(RegionReader, Protocol):
    """A reader that decodes once what several clips need."""

    def read_regions(self, wanted: Sequence[tuple[Sequence[int], Region]]) -> list[Frames]:
        """What :meth:`read_region` gives for each pair of frame numbers and region."""
        ...


class ClosingReader:
    """``with`` for readers that have ``close``."""

    def close(self) -> None:
        """Let go of the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def scaled_size(width: int, height: int, short_side: int | None) -> tuple[int, int]:
    """``(width, height)`` with the short side ``short_side``, the long one rounded down.

    Example:
        >>> scaled_size(426, 240, 256), scaled_size(480, 640, 256), scaled_size(8, 6, None)
        ((454, 256), (256, 341), (8, 6))
    """
    if short_side is None:
        return width, height
    if width < height:
        return short_side, height * short_side // width
    return width * short_side // height, short_side


def check_pixels(path: str, width: int, height: int, what: str = "frames") -> None:
    """Raise for frames that a damaged header makes larger than any camera's.

    Raises:
        VideoError: naming the size and the largest.
    """
    if width * height > MOST_PIXELS:
        raise VideoError(
            path,
            f"{what} of {width}x{height} pixels, at most {MOST_PIXELS} are decoded; scale it down, "
            "e.g. with tools/prepare_videos.py, or copy the file again if that is not its size",
        )


def check_indices(path: str, indices: Iterable[int], num_frames: int) -> list[int]:
    """``indices`` as a list of ints, all inside the file.

    Raises:
        IndexError: naming the file, the number asked for and the numbers there are.
    """
    numbers = [int(index) for index in indices]
    for number in numbers:
        if not 0 <= number < num_frames:
            raise IndexError(f"{path}: frame {number} asked for, frames are 0 to {num_frames - 1}")
    return numbers
