"""The demo: every frame comes out, with what ``predict`` says, or one message says why not."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from slowfast.datasets.decode import open_video
from slowfast.deploy.demo.build import DemoOptions, build_demo
from slowfast.deploy.demo.source import VideoSource
from slowfast.deploy.export.build import build_exports
from slowfast.deploy.recognize import open_recognizer
from slowfast.deploy.runtime import load_runtime
from slowfast.utils.errors import UserError
from tests.deploy.demoing import probe
from tests.deploy.recognizing import numbers_of, predict_numbers, window_frames
from tests.videos import SHARED_CLIPS, decode_all, write_video

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
