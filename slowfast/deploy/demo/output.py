"""What the demo writes: the video, and the predictions as JSON and CSV. Nothing is kept in memory.

Files have another name until they are finished.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame

from slowfast.deploy.recognition import Recognition
from slowfast.deploy.recognize import Frame
from slowfast.utils.errors import UserError

CODEC = "libx264"
ENCODING = {"preset": "veryfast", "crf": "20"}
CLOCK = 90_000
"""Ticks per second of the video's time stamps: whole numbers for all usual frame rates."""
HD_LINES = 720
BT709, BT601 = 1, 6  # FFmpeg's numbers
COLUMNS = ("time_s", "start_s", "end_s", "task", "rank", "class", "name", "score")


def unfinished(path: Path) -> Path:
    """Where a file is while it is written; of the same suffix."""
    return path.with_name(f".{path.stem}.part{path.suffix}")


class VideoWriter:
    """An H.264 video that plays everywhere, with the times of the frames it was made from.

    Args:
        path: ``.mp4``, ``.mkv`` or ``.mov``; its folder is made.
        fps: nominal frames per second.
        width: pixels; where it is odd, a column is added, as H.264 players need even ones.
        height: pixels; likewise.

    Raises:
        UserError: FFmpeg does not write such files.
    """

    def __init__(self, path: Path, *, fps: float, width: int, height: int) -> None:
        self.path, self._part, self.num_frames = path, unfinished(path), 0
        path.parent.mkdir(parents=True, exist_ok=True)
        rate = Fraction(fps).limit_denominator(1001)
        self._pad = (height % 2, width % 2)
        try:
            self._container = av.open(str(self._part), "w")
            stream: Any = self._container.add_stream(CODEC, rate=rate, options=ENCODING)
        except (av.FFmpegError, ValueError) as error:
            raise UserError(
                f"{path} cannot be written ({error}): give a name that ends in .mp4, .mkv or .mov"
            ) from error
        stream.width, stream.height = width + self._pad[1], height + self._pad[0]
        stream.pix_fmt = "yuv420p"
        stream.thread_type = "AUTO"
        self._is_hd = height >= HD_LINES
        context = stream.codec_context
        context.time_base = Fraction(1, CLOCK)
        context.colorspace = BT709 if self._is_hd else BT601
        self._stream, self._last = stream, -1

    def write(self, picture: Frame, time_s: float) -> None:
        """One frame more, uint8 ``(H, W, 3)``, RGB."""
        if any(self._pad):
            picture = np.pad(picture, ((0, self._pad[0]), (0, self._pad[1]), (0, 0)), mode="edge")
        rgb = VideoFrame.from_ndarray(picture, format="rgb24")
        frame = rgb.reformat(format="yuv420p", dst_colorspace="ITU709" if self._is_hd else "ITU601")
        self._last = max(round(time_s * CLOCK), self._last + 1)
        frame.pts, frame.time_base = self._last, Fraction(1, CLOCK)
        self._container.mux(self._stream.encode(frame))
        self.num_frames += 1

    def finish(self) -> None:
        """End the file and give it its name; without a frame there is none."""
        if not self.num_frames:
            self.discard()
            return
        self._container.mux(self._stream.encode(None))
        self._container.close()
        os.replace(self._part, self.path)

    def discard(self) -> None:
        """Leave nothing behind."""
        self._container.close()
        self._part.unlink(missing_ok=True)


class PredictionLog:
    """Predictions over time, as ``.json`` and ``.csv`` beside a video, written as they come.

    Args:
        path: of the video.
        about: what stands at the head of the JSON file.
        class_names: task -> names by class id.
        top_k: classes per prediction.
    """

    def __init__(
        self,
        path: Path,
        about: Mapping[str, Any],
        class_names: Mapping[str, Sequence[str]],
        top_k: int,
    ) -> None:
        self.paths = [path.with_suffix(".json"), path.with_suffix(".csv")]
        self._class_names, self._top_k, self.num_predictions = class_names, top_k, 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._json, self._csv = (
            unfinished(path).open("w", encoding="utf-8", newline="") for path in self.paths
        )
        head = json.dumps(dict(about), indent=1, ensure_ascii=False)
        self._json.write(head.removesuffix("\n}") + ',\n "predictions": [')
        self._rows = csv.writer(self._csv)
        self._rows.writerow(COLUMNS)

    def write(self, found: Recognition) -> None:
        """One prediction more."""
        times = {name: round(getattr(found, name), 3) for name in ("time_s", "start_s", "end_s")}
        top = found.top(self._top_k, self._class_names)
        entry = {
            **times,
            "inference_ms": round(found.seconds * 1e3, 2),
            "top": {
                task: [
                    {"class": guess.class_id, "name": guess.name, "score": round(guess.score, 5)}
                    for guess in guesses
                ]
                for task, guesses in top.items()
            },
        }
        comma = "," if self.num_predictions else ""
        self._json.write(f"{comma}\n  {json.dumps(entry, ensure_ascii=False)}")
        for task, guesses in top.items():
            for rank, guess in enumerate(guesses, 1):
                score = round(guess.score, 5)
                self._rows.writerow(
                    [*times.values(), task, rank, guess.class_id, guess.name, score]
                )
        self.num_predictions += 1
        for file in (self._json, self._csv):
            file.flush()  # whoever looks meanwhile sees whole lines

    def finish(self, summary: Mapping[str, Any]) -> None:
        """End the files, with ``summary`` in the JSON, and give them their names."""
        self._json.write(f'\n ],\n "summary": {json.dumps(dict(summary))}\n}}\n')
        for file, path in zip((self._json, self._csv), self.paths, strict=True):
            file.close()
            os.replace(unfinished(path), path)

    def discard(self) -> None:
        """Leave nothing behind."""
        for file, path in zip((self._json, self._csv), self.paths, strict=True):
            file.close()
            unfinished(path).unlink(missing_ok=True)
