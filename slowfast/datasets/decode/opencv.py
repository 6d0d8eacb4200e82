"""OpenCV: frames by position, as exact as OpenCV's seeking.

Exact on files with a constant frame rate whose timestamps start at zero. The container's frame
count is believed; colours are converted as BT.601 limited range whatever the stream says.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from slowfast.datasets.decode.base import (
    ClosingReader,
    Frames,
    Times,
    VideoError,
    check_indices,
    scaled_size,
)
from slowfast.utils.optional import require
from slowfast.utils.stopwatch import Watch, no_watch

if TYPE_CHECKING:
    import cv2
else:
    cv2 = require("cv2", extra="video")

WORTH_A_SEEK = 48  # frames: a seek decodes again from the last keyframe


class OpenCVReader(ClosingReader):
    """Frames through ``cv2.VideoCapture``. See :class:`VideoReader`.

    Args:
        path: video file.
        threads: accepted for the common interface; OpenCV decides.
        watch: is told what the time goes into: open, seek, decode (to full-size RGB), scale.
    """

    def __init__(self, path: str, *, threads: int = 1, watch: Watch = no_watch) -> None:
        self.path, self._watch = str(path), watch
        with watch("open"):
            self._capture = cv2.VideoCapture(self.path, cv2.CAP_FFMPEG)
        if not self._capture.isOpened():
            raise VideoError(self.path, "OpenCV cannot open it")
        self.num_frames = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        if self.num_frames <= 0:
            raise VideoError(self.path, "OpenCV finds no frames")
        self.fps = float(self._capture.get(cv2.CAP_PROP_FPS)) or 30.0
        self.width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        self.height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
        self.times: Times = np.arange(self.num_frames) / self.fps
        self._next = 0

    def close(self) -> None:
        """Let go of the file."""
        self._capture.release()

    def read(self, indices: Sequence[int], short_side: int | None = None) -> Frames:
        """The frames ``indices`` as ``(N, H, W, 3)`` RGB; see :meth:`VideoReader.read`."""
        numbers = check_indices(self.path, indices, self.num_frames)
        width, height = scaled_size(self.width, self.height, short_side)
        frames = np.empty((len(numbers), height, width, 3), np.uint8)
        for number in sorted(set(numbers)):
            frames[np.array(numbers) == number] = self._frame(number, (width, height))
        return frames

    def _frame(self, number: int, size: tuple[int, int]) -> Any:
        if number < self._next or number - self._next > WORTH_A_SEEK:
            with self._watch("seek"):
                self._capture.set(cv2.CAP_PROP_POS_FRAMES, number)
            self._next = number
        with self._watch("decode"):
            while self._next < number:
                self._capture.grab()
                self._next += 1
            done, picture = self._capture.read()
        self._next += 1
        if not done:
            raise VideoError(self.path, f"OpenCV cannot decode frame {number} of {self.num_frames}")
        with self._watch("scale"):
            if (picture.shape[1], picture.shape[0]) != size:
                reduces = size[0] < picture.shape[1]
                method = cv2.INTER_AREA if reduces else cv2.INTER_LINEAR
                picture = cv2.resize(picture, size, interpolation=method)
            return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
