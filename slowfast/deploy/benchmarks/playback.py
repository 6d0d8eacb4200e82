"""Streams on real video: from a file to predictions."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from queue import Queue
from typing import Any

import av
import numpy as np
import torch
from av.video.frame import VideoFrame
from torch import Tensor

from slowfast.datasets.decode.base import Region, VideoError
from slowfast.datasets.decode.convert import RegionScaler
from slowfast.datasets.synthetic.encode import write_video
from slowfast.deploy.benchmarks.turns import Turns
from slowfast.deploy.export.info import ExportInfo
from slowfast.deploy.export.streaming import StreamInfo
from slowfast.deploy.latency import Timing
from slowfast.deploy.stream import ModelRunner, StreamRunner
from slowfast.deploy.streamed import StreamPlan, as_taken
from slowfast.models.base import Preds
from slowfast.utils.errors import UserError

AHEAD = 8  # decoded frames that may wait
PART = 30  # frames per number of the spread
WIDTH, HEIGHT, LENGTH = 320, 240, 300


def write_sample(path: Path, frames: int = LENGTH) -> Path:
    """A video with motion all over, for when none is given: 320x240, H.264, 30 frames/s."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    pictures = np.empty((frames, HEIGHT, WIDTH, 3), np.uint8)
    for number in range(frames):
        waves = np.sin((x + 3 * number) / 17) * np.cos((y - 2 * number) / 11)
        pictures[number, ..., 0] = 127 + 120 * waves
        pictures[number, ..., 1] = (x + y + 4 * number) % 256
        pictures[number, ..., 2] = (x * y // 64 + number) % 256
    write_video(path, pictures)
    return path


def read_frames(path: Path | str, info: ExportInfo) -> Iterator[Tensor]:
    """Every frame of a video, scaled and cropped as in a test: uint8 ``(3, H, W)``, RGB.

    Frames are taken as they are stored: a rotation in the file is not applied.

    Raises:
        VideoError: it cannot be read.
    """
    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            stream.thread_type = "NONE"  # the model needs the cores
            scaler: RegionScaler | None = None
            for frame in container.decode(stream):
                scaler = scaler or RegionScaler(centre_region(frame, info))
                yield torch.from_numpy(scaler(frame).copy()).permute(2, 0, 1)
    except (av.FFmpegError, IndexError) as error:
        raise VideoError(str(path), str(error)) from error


def centre_region(frame: VideoFrame, info: ExportInfo) -> Region:
    """What of a frame the model sees, and the size it is scaled to."""
    height, width = frame.height, frame.width
    rows, columns = info.crop
    if info.resize:
        return Region(0, 0, height, width, (rows, columns))
    scale = min(height, width) / max(info.short_side, rows, columns)
    part_h, part_w = min(height, round(rows * scale)), min(width, round(columns * scale))
    return Region((height - part_h) // 2, (width - part_w) // 2, part_h, part_w, (rows, columns))


def feed(runner: StreamRunner, info: StreamInfo, frames: Sequence[Tensor], batch: int = 1) -> Preds:
    """Scores after ``info.period`` frames, the same ones in every stream of a batch.

    Args:
        runner: of a file, which takes them at once, or of a model, one by one.
        info: of the stream.
        frames: from :func:`read_frames`.
        batch: streams that the runner was reset to.
    """
    if not isinstance(runner, ModelRunner):
        taken = as_taken(frames, StreamPlan.of_file(info))
        return runner.predict(taken.expand(batch, *taken.shape[1:]))
    single = StreamPlan(info.clip, 1, info.window, info.delay)
    scores: Preds = {}
    for frame in frames:
        taken = as_taken([frame], single)
        scores = runner.predict(taken.expand(batch, *taken.shape[1:]))
    return scores


def play(path: Path | str, runner: StreamRunner, info: StreamInfo) -> dict[str, Any]:
    """Plays a video through a stream, as fast as it goes: decoding, scaling, cropping, every step.

    Every frame is stepped, whatever the stride of the training, so the video may have so many
    frames per second to be followed live. Decoding goes on beside the steps, in one thread.

    Args:
        path: of the video.
        runner: of one stream.
        info: of it.

    Returns:
        ``frames``, ``frames_per_s`` (of all of them, and quartiles of every ``PART`` frames) and
        ``step_ms``, the part of preparing and stepping.
    """
    runner.reset(1)
    waiting: Queue[Tensor | BaseException | None] = Queue(AHEAD)
    stop = threading.Event()
    thread = threading.Thread(target=_decode, args=(path, info.clip, waiting, stop), daemon=True)
    start = time.perf_counter()
    thread.start()
    ends, steps = [start], []
    try:
        frames = _received(waiting)
        while len(chunk := list(islice(frames, info.period))) == info.period:
            began = time.perf_counter()
            feed(runner, info, chunk)
            ends.append(time.perf_counter())
            steps.append((ends[-1] - began) / info.period)
    finally:
        stop.set()
        while thread.is_alive():  # it may be waiting for a place
            while not waiting.empty():
                waiting.get()
            thread.join(0.01)
    if not steps:
        raise UserError(f"{path} has fewer than {info.period} frames, which one step takes")
    calls = max(1, PART // info.period)
    parts = [(b - a) / calls for a, b in zip(ends[::calls], ends[calls::calls], strict=False)]
    spread = Timing(tuple(parts or [(ends[-1] - start) / len(steps)])).per_second(info.period)
    count = len(steps) * info.period
    return {
        "frames": count,
        "frames_per_s": spread | {"overall": count / (ends[-1] - start)},
        "step_ms": Turns((tuple(steps),)).calls.percentile_ms(50),
    }


def _decode(path: Path | str, info: ExportInfo, waiting: Queue[Any], stop: threading.Event) -> None:
    try:
        for frame in read_frames(path, info):
            if stop.is_set():
                return
            waiting.put(frame)
        waiting.put(None)
    except BaseException as error:
        waiting.put(error)


def _received(waiting: Queue[Tensor | BaseException | None]) -> Iterator[Tensor]:
    while (item := waiting.get()) is not None:
        if isinstance(item, BaseException):
            raise item
        yield item
