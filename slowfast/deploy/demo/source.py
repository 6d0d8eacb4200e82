"""Where frames come from: a video file, or a camera."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np
from av.video.frame import VideoFrame

from slowfast.datasets.decode import VideoError, open_video, scaled_size
from slowfast.datasets.decode.base import check_pixels
from slowfast.datasets.decode.convert import WholeScaler
from slowfast.datasets.decode.sources import ContainerSource, explain
from slowfast.deploy.recognize import DEFAULT_FPS, Frame
from slowfast.utils.errors import UserError
from slowfast.utils.optional import require

CAMERA_EXTRA = "video"
Scalers = dict[tuple[int, int], WholeScaler]


class Shot:
    """One frame of a source.

    Args:
        time_s: when it is shown, seconds after the first.
        clock_s: its time for a recogniser. Of a file, its number over the mean frame rate, so
            that clips are those of a test, which counts frames, where the rate changes too.
        full: makes its picture.
        scaled: gives the frame with another short side, or as it is for ``None``, as the dataset's
            reader decodes it. To be called by one thread.
    """

    def __init__(
        self,
        time_s: float,
        clock_s: float,
        full: Callable[[], Frame],
        scaled: Callable[[int | None], Frame],
    ) -> None:
        self.time_s, self.clock_s, self._full, self.scaled = time_s, clock_s, full, scaled

    @cached_property
    def picture(self) -> Frame:
        """uint8 ``(H, W, 3)``, RGB, upright, full size; to be asked for first by one thread."""
        return self._full()


class FrameSource(Protocol):
    """A source of frames.

    Attributes:
        name: for people.
        fps: nominal frames per second.
        width: pixels of an upright frame.
        height: pixels.
        num_frames: 0 where it has no end.
        duration_s: seconds; 0 where it has no end.
    """

    name: str
    fps: float
    width: int
    height: int
    num_frames: int
    duration_s: float

    def frames(self) -> Generator[Shot]:
        """All of them, in order; a video's again with every call."""
        ...

    def shown_at(self, clock_s: float) -> float:
        """When the frame is shown that has this time for a recogniser, seconds."""
        ...


class VideoSource:
    """The frames of a video file, each one, upright. See :class:`FrameSource`.

    Args:
        path: of the file.

    Raises:
        VideoError: missing, no video, or cut short; says which.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = self.name = str(path)
        with open_video(self.path) as reader:
            self.fps, self.num_frames, self._times = reader.fps, reader.num_frames, reader.times
            self.width, self.height = reader.width, reader.height
        self.duration_s = float(self._times[-1]) + 1.0 / self.fps
        self._scalers: Scalers = {}
        self._full_scalers: Scalers = {}  # of another thread

    def frames(self) -> Generator[Shot]:
        """See :class:`FrameSource`."""
        source = ContainerSource(self.path, threads=0)
        number = 0
        try:
            for frame in source.container.decode(source.stream):
                clock_s = number / self.fps
                time_s = self.shown_at(clock_s)
                yield Shot(time_s, clock_s, self._full(frame), self._scaled(frame))
                number += 1
        except av.FFmpegError as error:
            raise VideoError(
                self.path, f"damaged after frame {number} of {self.num_frames}: {explain(error)}"
            ) from error
        finally:
            source.close()

    def shown_at(self, clock_s: float) -> float:
        """See :class:`FrameSource`."""
        number = round(clock_s * self.fps)
        beyond = number - (self.num_frames - 1)
        if beyond > 0:  # more than its container promises
            return float(self._times[-1]) + beyond / self.fps
        return float(self._times[number])

    def _full(self, frame: VideoFrame) -> Callable[[], Frame]:
        return lambda: self._upright(frame, (self.width, self.height), self._full_scalers)

    def _scaled(self, frame: VideoFrame) -> Callable[[int | None], Frame]:
        def scaled(short_side: int | None) -> Frame:
            size = scaled_size(self.width, self.height, short_side)
            return self._upright(frame, size, self._scalers)

        return scaled

    def _upright(self, frame: VideoFrame, size: tuple[int, int], scalers: Scalers) -> Frame:
        """The frame as a picture of ``size`` (width, height); a copy."""
        check_pixels(self.path, *size, "pictures")
        turns = frame.rotation // 90
        stored = size[::-1] if turns % 2 else size
        if stored not in scalers:
            scalers[stored] = WholeScaler(*stored)
        try:
            return np.rot90(scalers[stored](frame), turns).copy()
        except (av.FFmpegError, ValueError) as error:  # colours that nothing can be made of
            raise VideoError(self.path, f"a frame cannot be made RGB: {error}") from error


class CameraSource:
    """What a camera sees. See :class:`FrameSource`.

    Args:
        device: number of the camera, or what else OpenCV opens: a device file, an address.

    Raises:
        ModuleNotFoundError: OpenCV is not installed; says how.
        UserError: no such camera.
    """

    def __init__(self, device: str) -> None:
        os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # one message about a camera, ours
        self._cv2: Any = require("cv2", extra=CAMERA_EXTRA)
        self.name = f"camera {device}"
        self._capture = self._cv2.VideoCapture(int(device) if device.isdigit() else device)
        picture: Any = self._capture.read()[1] if self._capture.isOpened() else None
        if picture is None:
            self._capture.release()
            raise UserError(
                f"{self.name} gives no picture: is one connected, may this program use it, and "
                "does no other one? Give its number as --camera (0 is the first, 1 the next), or "
                "a file as --input_video"
            )
        self.height, self.width = picture.shape[:2]
        self.fps = self._capture.get(self._cv2.CAP_PROP_FPS) or DEFAULT_FPS
        self.num_frames, self.duration_s = 0, 0.0

    def frames(self) -> Generator[Shot]:
        """See :class:`FrameSource`."""
        begin = time.monotonic()
        try:
            while True:
                is_there, picture = self._capture.read()
                if not is_there:
                    raise UserError(f"{self.name} gives no more pictures: was it taken away?")
                rgb = self._cv2.cvtColor(picture, self._cv2.COLOR_BGR2RGB)
                time_s = time.monotonic() - begin
                yield Shot(time_s, time_s, rgb.copy, _as_it_is(rgb))
        finally:
            self._capture.release()

    def shown_at(self, clock_s: float) -> float:
        """See :class:`FrameSource`."""
        return clock_s


def _as_it_is(picture: Frame) -> Callable[[int | None], Frame]:
    return lambda _: picture
