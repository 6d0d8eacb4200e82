"""The demo while it runs: cameras, screens, threads, memory, and what ends it."""

import itertools
import json
import os
import signal
import sys
import time
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from slowfast.datasets.decode import VideoError
from slowfast.deploy.demo.build import DemoOptions, build_demo
from slowfast.deploy.demo.channel import Channel, Crew, StoppedError
from slowfast.utils.errors import UserError
from tests.deploy.demoing import Frames, Says, demo_of, probe
from tests.videos import decode_all, write_video


def test_memory_does_not_grow():
    """A thousand frames of 58 KB each are never held."""
    demo_of(Frames(50)).run()
    tracemalloc.start()
    try:
        summary = demo_of(Frames(1000)).run()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert summary.frames == 1000
    assert summary.predictions == 100
    assert peak < 8e6


def test_interrupted(tmp_path):
    """Ctrl-C leaves what there is, playable."""
    interrupt = {60: lambda: os.kill(os.getpid(), signal.SIGINT)}
    before = signal.getsignal(signal.SIGINT)
    demo = demo_of(Frames(10**6, pause_s=0.003, after=interrupt), tmp_path)
    demo._look_ahead = lambda: None
    summary = demo.run()
    assert summary.stopped
    assert 10 <= summary.frames < 200
    assert len(probe(tmp_path / "out.mp4").times) == summary.frames
    log = json.loads((tmp_path / "out.json").read_text())
    assert log["summary"]["stopped"]
    assert "stopped" in demo.describe(summary)
    assert signal.getsignal(signal.SIGINT) is before
    assert len(list(tmp_path.iterdir())) == 3


def fail():
    raise VideoError("made up", "damaged after frame 30")


@pytest.mark.parametrize(
    ("source", "recognizer", "match"),
    [
        (Frames(10**6, after={30: fail}), None, "damaged after frame 30"),
        (Frames(10**6), Says(error_at=40), "out of order"),
    ],
)
def test_an_error_in_a_thread_ends_all(source, recognizer, match, tmp_path):
    demo = demo_of(source, tmp_path, recognizer)
    with pytest.raises(RuntimeError, match=match):
        demo.run()
    assert not list(tmp_path.iterdir())


def test_an_error_while_drawing_ends_all(tmp_path):
    demo = demo_of(Frames(10**6), tmp_path)
    demo.overlay.draw = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        demo.run()
    assert demo.crew.is_over
    assert not list(tmp_path.iterdir())


class Screen:
    """Closes after some frames."""

    def __init__(self, count):
        self.left, self.closed = count, False

    def show(self, picture):
        assert picture.shape == (120, 160, 3)
        self.left -= 1
        return self.left > 0

    def close(self):
        self.closed = True


def test_live(tmp_path, caplog):
    """The newest frame is drawn, the recogniser follows as it can, q ends it."""
    screen = Screen(30)
    source = Frames(10**6, live=True, pause_s=0.002)
    summary = demo_of(source, tmp_path, screen=screen).run()
    assert (summary.frames, summary.stopped, screen.closed) == (30, True, True)
    assert len(probe(tmp_path / "out.mp4").times) == 30
    caplog.set_level("INFO")
    summary = demo_of(Frames(120, live=True, pause_s=0.002), limit_s=3.0).run()
    assert not summary.stopped
    assert 0 < summary.frames <= 90
    assert summary.predictions
    assert "open the jar" in caplog.text or "close" in caplog.text


def fake_cv2(pictures):
    class Capture:
        def __init__(self, device):
            self.left = list(pictures)

        def isOpened(self):  # noqa: N802
            return bool(self.left)

        def read(self):
            return (True, self.left.pop(0)) if self.left else (False, None)

        def get(self, key):
            return 25.0

        def release(self):
            pass

    return SimpleNamespace(
        VideoCapture=Capture, CAP_PROP_FPS=5, COLOR_BGR2RGB=4,
        cvtColor=lambda picture, _: picture[..., ::-1].copy(),
    )  # fmt: skip


def test_cameras(checkpoint, demo_tool, tmp_path, monkeypatch, capsys):
    pictures = [np.full((120, 160, 3), (0, 0, 200), np.uint8)] * 40  # BGR
    monkeypatch.setitem(sys.modules, "cv2", fake_cv2(pictures))
    output = tmp_path / "cam.mp4"
    words = ["--checkpoint", str(checkpoint), "--camera", "0", "--traceback"]
    with pytest.raises(UserError, match="camera 0 gives no more pictures"):
        demo_tool([*words, "--headless", "--output", str(output)])
    assert not output.exists()
    monkeypatch.setattr(time, "monotonic", itertools.count(0, 0.04).__next__)
    demo_tool([*words, "--headless", "--output", str(output), "--seconds", "1"])
    monkeypatch.undo()
    red = decode_all(output)[-1][:12, 140:]
    assert red[..., 0].mean() > 150
    assert red[..., 2].mean() < 60

    monkeypatch.setitem(sys.modules, "cv2", fake_cv2([]))
    with pytest.raises(UserError, match=r"camera 3 gives no picture.*as --camera"):
        demo_tool([*words[:3], "3", "--traceback"])
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install -e '\.\[video\]'"):
        demo_tool(words)
    with pytest.raises(SystemExit):
        demo_tool(words[:-1])
    assert "pip install" in capsys.readouterr().err


def test_no_screen(checkpoint, tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", num_frames=10)
    monkeypatch.setitem(sys.modules, "cv2", SimpleNamespace(error=RuntimeError))
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=r"no screen .* add --headless"):
        build_demo(None, checkpoint, DemoOptions(video=path, show=True))

    def no_windows(*_):
        raise RuntimeError("not implemented")

    cv2 = SimpleNamespace(error=RuntimeError, WINDOW_NORMAL=0, namedWindow=no_windows)
    monkeypatch.setitem(sys.modules, "cv2", cv2)
    monkeypatch.setenv("DISPLAY", ":0")
    with pytest.raises(UserError, match="pip install opencv-python, or add --headless"):
        build_demo(None, checkpoint, DemoOptions(video=path, show=True))


def test_channels_end_together():
    crew = Crew()
    channel = Channel(crew, 2, lossy=True)
    for number in range(5):
        channel.put(number)
    channel.close()
    assert list(channel) == [3, 4]
    full = Channel(crew, 1)
    full.put(1)
    crew.start(lambda: full.put(2), "waits")
    crew.start(lambda: 1 / 0, "fails")
    crew.join()
    assert isinstance(crew.error, ZeroDivisionError)
    with pytest.raises(StoppedError):
        full.put(3)
