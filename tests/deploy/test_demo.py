"""The demo: every frame comes out, with what ``predict`` says, or one message says why not."""

import csv
import itertools
import json
import os
import runpy
import signal
import sys
import time
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from slowfast.datasets.decode import VideoError, open_video
from slowfast.deploy.demo.build import DemoOptions, build_demo
from slowfast.deploy.demo.channel import Channel, Crew, StoppedError
from slowfast.deploy.demo.draw import Overlay, Style, Timeline, elided, text_font
from slowfast.deploy.demo.output import PredictionLog, VideoWriter
from slowfast.deploy.demo.run import Demo
from slowfast.deploy.demo.source import Shot, VideoSource
from slowfast.deploy.export.build import build_exports
from slowfast.deploy.recognition import Guess, Recognition
from slowfast.deploy.recognize import open_recognizer
from slowfast.deploy.runtime import load_runtime
from slowfast.utils.errors import UserError
from tests.deploy.recognizing import numbers_of, predict_numbers, window_frames, write_model
from tests.videos import SHARED_CLIPS, decode_all, write_video

REPO = Path(__file__).parents[2]
NAMES = {"action": ["open the jar", "close"]}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def demo_tool():
    return runpy.run_path(str(REPO / "tools/demo.py"))["main"]


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


VIDEOS = {
    "plain.mp4": {"rate": 25, "audio": True},
    "vfr.mkv": {"times_ms": [0, *np.cumsum([20, 60, 35, 90] * 15).tolist()][:40]},
    "turned.mp4": {"rotation": 90},
    "odd.avi": {"size": (65, 49), "codec": "mpeg4"},
}


@pytest.mark.parametrize("name", VIDEOS)
def test_every_frame_and_every_prediction(name, checkpoint, demo_tool, tmp_path, capsys):
    path = write_video(tmp_path / name, num_frames=40, **VIDEOS[name])
    (tmp_path / "names.txt").write_text("left\nright\n")
    output = tmp_path / "out" / "seen.mp4"
    words = ["--checkpoint", checkpoint, "--input_video", path, "--output", output]
    demo_tool([str(word) for word in [*words, "--class_names", tmp_path / "names.txt"]])
    assert "seen.mp4: 40 frames, " in capsys.readouterr().out
    assert {file.name for file in output.parent.iterdir()} == {"seen.mp4", "seen.json", "seen.csv"}
    found, source = probe(output), VideoSource(path)
    width, height = source.width, source.height
    assert found.size == (width + width % 2, height + height % 2)
    assert (found.format, found.streams) == (("h264", "yuv420p"), 1)
    with open_video(path) as reader:
        np.testing.assert_allclose(found.times - found.times[0], reader.times, atol=1e-3)
        times = reader.times
    if "times_ms" not in VIDEOS[name]:
        assert found.rate == pytest.approx(source.fps, rel=0.01)

    log = json.loads(output.with_suffix(".json").read_text())
    assert log["summary"] | {"seconds": 0} == {
        "frames": 40, "predictions": len(log["predictions"]), "seconds": 0, "stopped": False,
    }  # fmt: skip
    assert (log["mode"], log["tasks"], log["fps"]) == ("window", {"action": 2}, pytest.approx(
        source.fps, abs=1e-3))  # fmt: skip
    scores = [{g["class"]: g["score"] for g in p["top"]["action"]} for p in log["predictions"]]
    runtime = load_runtime(checkpoint)
    ends = numbers_of([p["time_s"] for p in log["predictions"]], times)
    clips = [window_frames(runtime.info, source.fps, end, 40) for end in ends]
    expected = predict_numbers(runtime, path, clips)
    np.testing.assert_allclose([[s[0], s[1]] for s in scores], expected, rtol=0, atol=2e-5)
    for entry, clip in zip(log["predictions"], clips, strict=True):
        wanted = (times[clip[0]], times[clip[-1]])
        assert (entry["start_s"], entry["end_s"]) == pytest.approx(wanted, abs=1e-3)
    with output.with_suffix(".csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * len(ends)
    assert {row["name"] for row in rows} == {"left", "right"}
    assert [float(row["score"]) for row in rows[::2]] == [max(s.values()) for s in scores]


def test_pictures_stay_as_they_are(checkpoint, tmp_path):
    """But for what is drawn: colours, orientation, order."""
    path = write_video(tmp_path / "a.mp4", num_frames=20, size=(320, 240), rotation=90)
    output = tmp_path / "seen.mp4"
    build_demo(None, checkpoint, DemoOptions(video=path, output=output)).run()
    before, after = decode_all(path), decode_all(output)
    assert len(after) == 20
    for old, new in zip(before, after, strict=True):
        part = np.s_[30:120, 190:]  # right of the speed, above the list
        # Around 4, by what is drawn beside: the encoder shares its bits. Swapped colours: tens.
        assert np.abs(old[part].astype(int) - new[part]).mean() < 10
        assert np.abs(old.astype(int) - new).mean() > 4


def test_streams_and_config(checkpoint, tmp_path, demo_tool, monkeypatch):
    """``--cfg``, its DEMO keys, and frame by frame; files go to the current folder."""
    path = write_video(tmp_path / "a.mp4", num_frames=40)
    monkeypatch.chdir(tmp_path)
    config = checkpoint.with_name("small.yaml")
    words = ["--cfg", config, "--checkpoint", checkpoint, "--mode", "stream", "--num_frames", "4"]
    demo_tool([str(word) for word in [*words, "DEMO.INPUT_VIDEO", path]])
    log = json.loads((tmp_path / "a_demo.json").read_text())
    assert log["mode"] == "stream"
    assert len(log["predictions"]) == 20 - open_recognizer(checkpoint, mode="stream").plan.delay
    words = ["--cfg", config, "--input_video", path, "TEST.CHECKPOINT_FILE_PATH", checkpoint]
    words += ["DEMO.OUTPUT_FILE", "b.mp4", "DEMO.BUFFER_SIZE", "4"]
    demo_tool([str(word) for word in words])
    log = json.loads((tmp_path / "b.json").read_text())
    assert [p["time_s"] for p in log["predictions"]] == pytest.approx(
        [*np.arange(7, 40, 4) / 30], abs=1e-3
    )
    # bf16 moves scores a little, half a second is half the frames, and frames may be skipped.
    words = ["--checkpoint", checkpoint, "--input_video", path, "--precision", "bf16"]
    demo_tool([str(w) for w in [*words, "--seconds", "0.5", "--skip_frames", "1", "--threads", 1]])
    log = json.loads((tmp_path / "a_demo.json").read_text())
    assert log["summary"]["frames"] == 15
    times = [p["time_s"] for p in log["predictions"]]
    assert times == pytest.approx([7 / 30, 9 / 30, 11 / 30, 13 / 30, 14 / 30], abs=1e-3)


def test_a_short_video_is_labelled_throughout(checkpoint, tmp_path):
    """Its one prediction, made at its end, is shown from the beginning on."""
    path = write_video(tmp_path / "a.mp4", num_frames=5, size=(160, 120))
    shown = []
    demo = build_demo(None, checkpoint, DemoOptions(video=path, output=tmp_path / "b.mp4"))
    draw = demo.overlay.draw
    demo.overlay.draw = lambda frame, t, found, status: (
        shown.append(found) or draw(frame, t, found, status)
    )
    summary = demo.run()
    assert (summary.frames, summary.predictions, summary.stopped) == (5, 1, False)
    assert len({one.scores["action"].tobytes() for one in shown}) == 1


@pytest.mark.slow
def test_from_an_exported_file(checkpoint, tmp_path):
    for library in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(library)
    path = write_video(tmp_path / "a.mp4", num_frames=40)
    (file,) = build_exports(None, checkpoint, ["onnx"], output=tmp_path)
    logs = []
    for model in (checkpoint, file.path):
        output = tmp_path / f"{model.suffix[1:]}.mp4"
        build_demo(None, model, DemoOptions(video=path, output=output)).run()
        log = json.loads(output.with_suffix(".json").read_text())
        logs.append([p["top"]["action"][0]["score"] for p in log["predictions"]])
    assert logs[1] == pytest.approx(logs[0], abs=1e-4)


@pytest.mark.slow
@pytest.mark.skipif(not SHARED_CLIPS.is_dir(), reason="needs the shared clips")
def test_shared_clips(checkpoint, tmp_path):
    clips = sorted(SHARED_CLIPS.iterdir())
    assert len(clips) == 8
    runtime = load_runtime(checkpoint)
    for path in clips:
        output = tmp_path / f"{path.name}.mp4"
        options = DemoOptions(video=str(path), output=output, skip_frames=14, progress="none")
        summary = build_demo(None, checkpoint, options).run()
        with open_video(str(path)) as reader:
            times, fps, total = reader.times, reader.fps, reader.num_frames
            size = (reader.width + reader.width % 2, reader.height + reader.height % 2)
        found = probe(output)
        assert (len(found.times), summary.frames, found.size) == (total, total, size)
        np.testing.assert_allclose(found.times - found.times[0], times, atol=1e-3)
        log = json.loads(output.with_suffix(".json").read_text())["predictions"]
        ends = numbers_of([p["time_s"] for p in log], times)
        assert ends[-1] == total - 1
        numbers = [window_frames(runtime.info, fps, end, total) for end in ends]
        expected = predict_numbers(runtime, path, numbers)
        scores = [{g["class"]: g["score"] for g in p["top"]["action"]} for p in log]
        np.testing.assert_allclose([[s[0], s[1]] for s in scores], expected, rtol=0, atol=2e-5)


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


def test_what_cannot_be_shown(checkpoint, tmp_path):
    path = write_video(tmp_path / "a.mp4", num_frames=10)
    text = tmp_path / "text.mp4"
    text.write_text("no video at all")
    cases = [
        (DemoOptions(video=str(text)), checkpoint, r"text\.mp4: cannot be opened"),
        (DemoOptions(video=str(tmp_path / "none.mp4")), checkpoint, r"none\.mp4: "),
        (DemoOptions(), checkpoint, "--input_video, or a camera as --camera 0"),
        (DemoOptions(video=path, camera="0"), checkpoint, "either a file"),
        (DemoOptions(video=path), None, "give the model as --checkpoint"),
        (DemoOptions(video=path, output=Path(path)), checkpoint, "another name as --output"),
        (DemoOptions(video=path, output=tmp_path / "a.txt"), checkpoint, "ends in .mp4"),
        (DemoOptions(video=path, top_k=0), checkpoint, "--top_k is at least 1"),
    ]
    for options, model, match in cases:
        with pytest.raises(UserError, match=match):
            build_demo(None, model, options)
    assert {file.name for file in tmp_path.iterdir()} == {"a.mp4", "text.mp4"}


@pytest.mark.parametrize("size", [(8, 8), (48, 64), (240, 320), (640, 360), (1080, 1920)])
@pytest.mark.parametrize("tasks", [1, 2])
def test_drawing_fits_any_frame(size, tasks):
    names = {
        f"task {i}": ["a name that is longer than any panel is wide"] * 9 for i in range(tasks)
    }
    overlay = Overlay(*size, names, top_k=9, duration_s=10.0)
    scores = {task: np.linspace(1, 0, 9) for task in names}
    frame = np.full((*size, 3), 128, np.uint8)
    overlay.draw(frame, 0.0, None)
    overlay.draw(frame, 5.0, Recognition(0.0, 5.0, scores, 0.01, 5.0), "25 fps")
    overlay.draw(frame, 20.0, None, "")
    assert (frame != 128).any()
    style = Style.fitting(*size)
    assert style.font >= 11
    if min(size) >= 240:
        panel = overlay._panel
        assert panel.top + panel.keep.shape[0] <= overlay.timeline.top
        assert panel.keep.shape[0] <= 0.62 * size[0]
        assert panel.keep.shape[0] >= 2 * style.row * tasks


def test_timeline():
    """Colours where something was seen; a camera's moves on."""
    style = Style.fitting(240, 320)
    strip, frame = Timeline(style, 10.0), np.zeros((240, 320, 3), np.uint8)
    strip.mark(Guess(3, "x", 1.0))
    strip.draw(frame, 5.0)
    row = frame[strip.top + 1, strip.left : strip.left + strip.width]
    middle = strip.width // 2
    assert (row[middle] == 255).all()  # the present
    assert (row[: middle - 2] == row[0]).all()
    assert (row[middle + 2 :] == row[-1]).all()
    assert row[0].tolist() != row[-1].tolist()
    live = Timeline(style)
    for second in range(150):
        live.mark(Guess(second // 75, "x", 1.0))
        live.draw(frame, float(second))
    row = frame[live.top + 1, live.left : live.left + live.width]
    assert (row[-3:] == 255).any()
    assert (row[: live.width - 5] == row[0]).all()  # the last minute is all of one class
    assert elided("a long name", text_font(12), 30).endswith("\u2026")


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
