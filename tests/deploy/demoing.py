"""Shared by tests of the demo: a source and a recogniser, made up, and a look at videos."""

import time
from types import SimpleNamespace

import av
import numpy as np

from slowfast.deploy.demo.draw import Overlay
from slowfast.deploy.demo.output import PredictionLog, VideoWriter
from slowfast.deploy.demo.run import Demo
from slowfast.deploy.demo.source import Shot
from slowfast.deploy.recognition import Recognition

NAMES = {"action": ["open the jar", "close"]}


def probe(path):
    """Times, size, rate and format of a video that every player should take."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [float(frame.pts * frame.time_base) for frame in container.decode(stream)]
        return SimpleNamespace(
            times=np.array(frames),
            size=(stream.width, stream.height),
            rate=float(stream.average_rate),
            format=(stream.codec_context.name, stream.codec_context.pix_fmt),
            streams=len(container.streams),
        )


class Frames:
    """A source that makes its frames up."""

    name, fps, width, height = "made up", 30.0, 160, 120

    def __init__(self, count, *, live=False, pause_s=0.0, after=None):
        self.count, self.pause_s, self.after = count, pause_s, after or {}
        self.num_frames = 0 if live else count
        self.duration_s = 0.0 if live else count / 30

    def frames(self):
        for number in range(self.count):
            if number in self.after:
                self.after[number]()
            time.sleep(self.pause_s)
            picture = np.full((120, 160, 3), number % 251, np.uint8)
            yield Shot(number / 30, number / 30, picture.copy, lambda _, p=picture: p)

    def shown_at(self, clock_s):
        return clock_s


class Says:
    """A recogniser that needs no model."""

    class_names = NAMES
    info = SimpleNamespace(tasks=["action"], num_classes=[2])

    def __init__(self, error_at=None):
        self.pushed, self.error_at = 0, error_at

    def reset(self, fps=0.0):
        self.pushed = 0

    def wants(self, time_s):
        return True

    def decode_short_side(self, height, width):
        return None

    def push(self, frame, time_s, *, predict=True):
        self.pushed += 1
        if time_s * 30 == self.error_at:
            raise RuntimeError("the model is out of order")
        if self.pushed % 10 or not predict:
            return None
        share = self.pushed % 100 / 100
        return Recognition(0.0, time_s, {"action": np.array([share, 1 - share])}, 0.01, time_s)

    def finish(self):
        return None


def demo_of(source, folder=None, recognizer=None, **options):
    overlay = Overlay(120, 160, NAMES, duration_s=source.duration_s)
    demo = Demo(source, recognizer or Says(), overlay, progress="none", **options)
    if folder is not None:
        demo.video = VideoWriter(folder / "out.mp4", fps=30, width=160, height=120)
        demo.log = PredictionLog(folder / "out.mp4", {"video": "x"}, NAMES, 5)
    return demo
