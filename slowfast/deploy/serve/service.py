"""The model that all clients share, and the places that they have."""

from __future__ import annotations

import copy
import re
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slowfast.deploy.recognize import Recognizer, StreamRecognizer
from slowfast.deploy.serve.limits import Limits, busy
from slowfast.utils.errors import UserError

MOST_FPS = 30.0
FRAMES_PER_STEP = 3.0
USUAL_FRAME = (720, 1280)


def fork(recognizer: Recognizer) -> Recognizer:
    """Another recogniser with the same weights, for another source, at its beginning."""
    other = copy.copy(recognizer)
    if isinstance(other, StreamRecognizer):
        other.runner = other.runner.fork()
    other.reset()
    return other


@dataclass
class Service:
    """What answers clients.

    Attributes:
        recognizer: whose weights are used; itself it sees no frame.
        limits: of the server.
        model_path: where it came from.
        settings: how it runs, for people: mode, precision, threads.
        token: that clients must know; empty: none.
        folder: for uploads.
        lock: held while the model computes, so that one prediction has all threads.
        workers: decode and compute, so that the event loop need not.
        closing: set when the server ends.
    """

    recognizer: Recognizer
    limits: Limits
    model_path: Path
    settings: Mapping[str, Any] = field(default_factory=dict)
    token: str = ""
    folder: Path = Path()
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.~-]*", self.token, re.ASCII):
            raise UserError("--token: letters, digits and .~_- only, as it stands in an address")
        self.used = 0
        self.workers = ThreadPoolExecutor(self.limits.sessions, "recognise")

    @contextmanager
    def place(self) -> Iterator[Recognizer]:
        """A recogniser of one's own, as long as one needs it. On the event loop's thread.

        Raises:
            ServeError: all places are taken.
        """
        if self.used >= self.limits.sessions:
            raise busy(self.limits.sessions)
        self.used += 1
        try:
            yield fork(self.recognizer)
        finally:
            self.used -= 1

    def close(self) -> None:
        """Let all work end soon."""
        self.closing.set()
        self.workers.shutdown(wait=True, cancel_futures=True)

    def health(self) -> dict[str, Any]:
        """That it runs, and how many places are taken."""
        return {"status": "ok", "sessions": self.used, "max_sessions": self.limits.sessions}

    def describe(self) -> dict[str, Any]:
        """The model and the limits, for programs and the page."""
        recognizer, limits = self.recognizer, self.limits
        info = recognizer.info
        short_side = recognizer.decode_short_side(*USUAL_FRAME) or max(info.crop or [256])
        return {
            "model": info.model,
            "file": self.model_path.name,
            "tasks": dict(zip(info.tasks, info.num_classes, strict=True)),
            "class_names": recognizer.class_names,
            "num_frames": info.num_frames,
            "stride": info.stride,
            "target_fps": info.target_fps,
            "crop": info.crop,
            "window_s": round(recognizer.window_s, 3),
            **self.settings,
            "mode": "stream" if isinstance(recognizer, StreamRecognizer) else "window",
            "live": {"fps": round(live_fps(recognizer), 2), "short_side": short_side},
            "limits": {
                "upload_bytes": limits.upload_bytes,
                "seconds": limits.video_s,
                "sessions": limits.sessions,
                "frame_bytes": limits.frame_bytes,
                "frame_pixels": limits.frame_pixels,
                "idle_s": limits.idle_s,
                "live_s": limits.live_s,
            },
        }


def live_fps(recognizer: Recognizer) -> float:
    """Frames per second that a live source should send.

    Some more than the model takes, so that each one is near to the time it should be of; those
    of a source of 30 are enough for any model trained on usual videos.
    """
    info = recognizer.info
    step_s = info.stride / (info.target_fps or MOST_FPS)
    return min(MOST_FPS, FRAMES_PER_STEP / max(step_s, 1e-3))
