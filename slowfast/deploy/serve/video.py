"""A video file that a stranger sent: looked at before it is decoded, then recognised."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import av

from slowfast.datasets.decode import VideoError
from slowfast.datasets.decode.index import video_stream
from slowfast.deploy.demo.source import VideoSource
from slowfast.deploy.recognize import Recognition, Recognizer
from slowfast.deploy.serve.limits import Limits, ServeError, no_video, too_long

LOCAL_ONLY = {"protocol_whitelist": "file"}


class GoneError(Exception):
    """Nobody waits for the result any more."""


@dataclass
class Recognised:
    """A whole video.

    Attributes:
        width, height: pixels of an upright frame.
        fps: frames per second.
        num_frames: decoded.
        duration_s: of the video.
        found: the predictions, in order.
        inference_s: seconds that they took.
        total_s: seconds with decoding.
    """

    width: int
    height: int
    fps: float
    num_frames: int
    duration_s: float
    found: list[Recognition] = field(default_factory=list)
    inference_s: float = 0.0
    total_s: float = 0.0


def check_video(path: Path, container_format: str, limits: Limits) -> None:
    """Look at a file without decoding it: is it one video of allowed size and length?

    Args:
        path: of the file.
        container_format: FFmpeg's name of what it claims to be; nothing else is tried.
        limits: of the server.

    Raises:
        ServeError: it is not.
    """
    try:
        with av.open(str(path), format=container_format, options=LOCAL_ONLY) as container:
            stream = video_stream(container, "the upload")
            context = stream.codec_context
            limits.check_size(context.width, context.height, limits.video_pixels, "The video")
            limit, first, last = limits.video_s, None, 0.0
            for number, packet in enumerate(container.demux(stream)):
                if number > limit * limits.frame_rate:
                    raise too_long(number / limits.frame_rate, limit)
                stamp = packet.dts if packet.pts is None else packet.pts  # AVI has no other
                if stamp is None or packet.time_base is None:
                    continue
                seconds = float(stamp * packet.time_base)
                first = seconds if first is None else min(first, seconds)
                last = max(last, seconds - first)
                if last > limit:
                    announced = (container.duration or 0) / av.time_base
                    raise too_long(max(last, announced), limit)
    except VideoError as error:
        raise no_video(error.cause) from error
    except (av.FFmpegError, ValueError) as error:
        cause = getattr(error, "strerror", None) or "it is damaged"
        raise no_video(str(cause)) from error


def recognise_video(
    path: Path,
    recognizer: Recognizer,
    limits: Limits,
    *,
    lock: threading.Lock,
    is_cancelled: Callable[[], bool],
) -> Recognised:
    """Push all frames of a video.

    Args:
        path: of the file.
        recognizer: that nobody else uses; is reset.
        limits: of the server.
        lock: held while the model computes.
        is_cancelled: asked at every frame.

    Raises:
        ServeError: it cannot be decoded, or is longer than it said.
        GoneError: it was.
    """
    begin = time.perf_counter()
    try:
        source = VideoSource(path)
        result = Recognised(source.width, source.height, source.fps, 0, source.duration_s)
        limits.check_size(source.width, source.height, limits.video_pixels, "The video")
        short_side = recognizer.decode_short_side(source.height, source.width)
        recognizer.reset(source.fps)
        for shot in source.frames():
            if is_cancelled():
                raise GoneError
            if shot.time_s > limits.video_s:
                raise too_long(shot.time_s, limits.video_s)
            result.num_frames += 1
            if recognizer.wants(shot.time_s):
                frame = shot.scaled(short_side)
                with lock:
                    keep(result, recognizer.push(frame, shot.time_s))
    except VideoError as error:
        raise no_video(error.cause) from error
    with lock:
        keep(result, recognizer.finish())
    if not result.found:
        raise ServeError(
            400,
            f"The video of {result.num_frames} frames is too short for a prediction.",
            f"Send one of at least {recognizer.window_s:.1f} s.",
        )
    result.total_s = time.perf_counter() - begin
    return result


def keep(result: Recognised, found: Recognition | None) -> None:
    """Add a prediction to the result."""
    if found is not None:
        result.found.append(found)
        result.inference_s += found.seconds
