"""What a recogniser says about a video is what a test of the same clips says."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from slowfast.datasets.base import DataError
from slowfast.datasets.decode import open_video
from slowfast.datasets.sampling import clip_size, frame_indices, segment_indices
from slowfast.deploy.demo.source import VideoSource
from slowfast.deploy.export.build import build_exports
from slowfast.deploy.export.streaming import build_stream_info, export_streaming_onnx
from slowfast.deploy.recognition import Recognition, complete_names
from slowfast.deploy.recognize import StreamRecognizer, WindowRecognizer, open_recognizer
from slowfast.deploy.recognize_build import read_task_names
from slowfast.deploy.runtime import load_runtime
from slowfast.engine.weights import load_model
from slowfast.models.base import activate
from slowfast.models.streaming import build_streaming
from slowfast.utils.errors import UserError
from tests.deploy.recognizing import numbers_of, predict_numbers, window_frames, write_model
from tests.videos import write_video


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def runtime(checkpoint):
    return load_runtime(checkpoint)


def recognise(recognizer, path, *, finish=True):
    """All predictions about a video."""
    source = VideoSource(path)
    recognizer.reset(source.fps)
    found = []
    for shot in source.frames():
        if recognizer.wants(shot.time_s):
            frame = shot.scaled(recognizer.decode_short_side(source.height, source.width))
            found.append(recognizer.push(frame, shot.time_s))
    found.append(recognizer.finish() if finish else None)
    return [one for one in found if one is not None]


def scores_of(found, task="action"):
    return np.stack([one.scores[task] for one in found])


VIDEOS = {
    "30.mp4": {"rate": 30},
    "25.mp4": {"rate": 25},
    "60.mkv": {"rate": 60},  # times in whole milliseconds
    "15.avi": {"rate": 15, "codec": "mpeg4"},
    "odd.avi": {"size": (65, 49), "codec": "mpeg4"},
    "turned.mp4": {"rotation": 90},
}


@pytest.mark.parametrize("name", VIDEOS)
@pytest.mark.parametrize("every_s", [None, 0.0, 0.21])
def test_windows_are_what_predict_says(name, every_s, runtime, tmp_path):
    path = write_video(tmp_path / name, num_frames=40, **VIDEOS[name])
    found = recognise(WindowRecognizer(runtime, every_s=every_s), path)
    with open_video(path) as reader:
        times, fps = reader.times, reader.fps
    ends = numbers_of([one.time_s for one in found], times)
    size = clip_size(4, 2, fps)
    first = int(np.ceil(size - 1 - 1e-9))
    assert (ends[0], ends[-1]) == (first, 39)  # the first full window, the end of the video
    if every_s == 0.0:
        assert ends == list(range(first, 40))
    else:
        apart = (every_s or size / fps / 4) * fps
        assert abs(np.diff(ends[:-1]).mean() - max(apart, 1.0)) < 0.5
    clips = [window_frames(runtime.info, fps, end, 40) for end in ends]
    expected = predict_numbers(runtime, path, clips)
    assert len(np.unique(expected.round(4), axis=0)) > len(clips) // 2  # they differ
    np.testing.assert_allclose(scores_of(found), expected, rtol=0, atol=1e-6)
    for one, clip in zip(found, clips, strict=True):
        assert (one.start_s, one.end_s) == pytest.approx((times[clip[0]], times[clip[-1]]))
        assert one.seconds > 0


def test_a_changing_frame_rate(runtime, tmp_path):
    """Frames count by when they are shown, not by their number."""
    draw = np.random.default_rng(0)
    gaps = draw.choice([11, 17, 43, 97], 60)
    times_ms = [0, *np.cumsum(gaps).tolist()]
    path = write_video(tmp_path / "vfr.mkv", num_frames=61, times_ms=times_ms)
    found = recognise(WindowRecognizer(runtime, every_s=0.0), path)
    source = VideoSource(path)
    times = np.array(times_ms) / 1000
    size = clip_size(4, 2, source.fps)
    clips = []
    for end in numbers_of([one.time_s for one in found], times):
        wanted = times[end] - (size - 1) / source.fps * (1 - np.arange(4) / 3)
        clips.append([max(int((times <= moment + 1e-9).sum()) - 1, 0) for moment in wanted])
    assert len(found) > 40
    distances = {tuple(np.diff(clip)) for clip in clips}
    assert len(distances) > 10
    expected = predict_numbers(runtime, path, clips)
    np.testing.assert_allclose(scores_of(found), expected, rtol=0, atol=1e-6)


def test_short_videos_and_the_end(runtime, tmp_path):
    """A video shorter than a window is the clip of a test; nothing is predicted twice."""
    path = write_video(tmp_path / "short.mp4", num_frames=5)
    recognizer = WindowRecognizer(runtime)
    (found,) = recognise(recognizer, path)
    clip = frame_indices(0, 8, 4, total=5)
    expected = predict_numbers(runtime, path, [clip])
    np.testing.assert_allclose(scores_of([found]), expected, rtol=0, atol=1e-6)
    assert recognizer.finish() is None
    recognizer.reset()
    assert recognizer.finish() is None


@pytest.mark.parametrize(("window_s", "frames"), [(0.0, 40), (0.5, 40), (0.5, 9)])
def test_segments(window_s, frames, runtime, tmp_path):
    """Of models trained on whole actions: the middles of equal parts of the window."""
    path = write_video(tmp_path / "a.mp4", num_frames=frames)
    recognizer = WindowRecognizer(runtime, segment=True, window_s=window_s, every_s=0.1)
    found = recognise(recognizer, path)
    size = min(15 if window_s else 8, frames)
    with open_video(path) as reader:
        ends = numbers_of([one.time_s for one in found], reader.times)
    clips = [[end + 1 - size + n for n in segment_indices(4, size, [0.5] * 4)] for end in ends]
    expected = predict_numbers(runtime, path, clips)
    np.testing.assert_allclose(scores_of(found), expected, rtol=0, atol=1e-6)
    with pytest.raises(UserError, match=r"only one of DATA\.SAMPLING_MODE segment"):
        WindowRecognizer(runtime, window_s=1.0)


def test_frames_of_any_size(runtime):
    """Those that no decoder scaled are scaled here."""
    recognizer = WindowRecognizer(runtime, every_s=0.0)
    frames = np.random.default_rng(0).integers(0, 256, (8, 90, 120, 3), dtype=np.uint8)
    found = [recognizer.push(frame, i / 30) for i, frame in enumerate(frames)]
    assert [one is not None for one in found] == [False] * 7 + [True]
    assert recognizer.crop(frames[0]).shape == (3, 32, 32)
    assert recognizer.decode_short_side(90, 120) == 36
    with pytest.raises(ValueError, match="after a later one: reset"):
        recognizer.push(frames[0], 0.0)


def test_a_prediction_may_wait(runtime):
    """Behind a camera, frames are taken and the newest window is predicted."""
    recognizer = WindowRecognizer(runtime, every_s=0.1)
    frames = np.random.default_rng(0).integers(0, 256, (30, 36, 48, 3), dtype=np.uint8)
    late = [recognizer.push(f, i / 30, predict=i == 20) for i, f in enumerate(frames[:21])]
    assert [one is None for one in late] == [True] * 20 + [False]
    assert (late[-1].start_s, late[-1].end_s) == pytest.approx((13 / 30, 20 / 30))
    found = [recognizer.push(f, (21 + i) / 30) for i, f in enumerate(frames[21:])]
    assert [i for i, one in enumerate(found) if one] == [2, 5, 8]


def steps_of(stream, frames, data):
    """Scores after every frame, ``(N, classes)``."""
    state, scores = stream.init_state(), []
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (data.MEAN, data.STD))
    for frame in frames:
        x = (frame.permute(2, 0, 1) / 255 - mean) / std
        x = x.flip(0) if data.REVERSE_INPUT_CHANNEL else x
        with torch.no_grad():
            preds, state = stream.step(x[None], state)
        scores.append(activate(preds, stream.spec.head_act)[0].numpy())
    return np.stack(scores)


def cropped(path, numbers, info):
    from slowfast.datasets.transforms import EvalTransform

    transform = EvalTransform(crop_size=info.crop[0], short_side=info.short_side)
    with open_video(path) as reader:
        plan = transform.plan(reader.height, reader.width)
        frames = reader.read(numbers, plan.short_side)
    return transform.apply(frames, plan)[0].permute(1, 2, 3, 0)  # (T, H, W, C)


@pytest.mark.parametrize("rate", [30, 60, 10])
@pytest.mark.parametrize("changes", [(), ("DATA.REVERSE_INPUT_CHANNEL", True)], ids=["RGB", "BGR"])
def test_a_stream_is_its_steps(rate, changes, tmp_path):
    checkpoint = write_model(tmp_path, (*changes, "DATA.MEAN", "[0.3,0.45,0.6]"))
    path = write_video(tmp_path / "a.mp4", num_frames=30, rate=rate)
    recognizer = open_recognizer(checkpoint, mode="stream", threads=1)
    found = recognise(recognizer, path)
    model, config = load_model(checkpoint)
    stream = build_streaming(config, model)
    # every second frame of 30 per second; of 10 per second each one, and now and then one twice
    numbers = {30: range(0, 30, 2), 60: range(0, 30, 4), 10: [0, 1, 2, 2, 3, 4, 4, 5, 6, 6]}[rate]
    numbers = [*numbers]
    info, delay = recognizer.info, stream.delay
    expected = steps_of(stream, cropped(path, numbers, info), config.DATA)
    times = np.array(numbers) / rate
    if rate == 10:
        last = {number: place for place, number in enumerate(numbers)}
        rows = [row for row in last.values() if row >= delay]
        found = found[: len(rows)]
    else:
        rows = range(delay, len(numbers))
    assert delay > 2
    if not rows:  # of 8 frames: as if the last one went on
        more = [*numbers, *[numbers[-1]] * (delay + 1 - len(numbers))]
        expected = steps_of(stream, cropped(path, more, info), config.DATA)
        rows, times = [delay], np.array(more) / rate
    np.testing.assert_allclose(scores_of(found), expected[rows], rtol=0, atol=1e-5)
    assert [one.time_s for one in found] == pytest.approx(times[rows].tolist(), abs=1e-3)
    assert [one.start_s for one in found] == pytest.approx(
        [times[row - delay] for row in rows], abs=1e-3
    )


def test_streams_leave_frames_out(checkpoint):
    recognizer = open_recognizer(checkpoint, mode="stream", every_s=0.5)
    assert isinstance(recognizer, StreamRecognizer)
    assert recognizer.window_s == pytest.approx(4 * 2 / 30)
    frame, wanted, found = np.zeros((36, 48, 3), np.uint8), [], []
    for i in range(60):
        wanted.append(recognizer.wants(i / 30))
        found.append(recognizer.push(frame, i / 30))
    assert wanted == [i % 2 == 0 for i in range(60)]
    predicted = [i for i, one in enumerate(found) if one]
    assert np.diff(predicted).tolist() in ([16, 14, 16], [16, 14])
    # A gap in the source is filled with the frame after it, no more than matters.
    before = recognizer._taken
    assert recognizer.push(frame, 1000.0) is not None
    assert recognizer._taken - before <= recognizer.plan.delay + 1


def test_auto_follows_the_training(tmp_path):
    checkpoint = write_model(tmp_path, ("MODEL.STREAMING.ENABLE", True))
    assert isinstance(open_recognizer(checkpoint), StreamRecognizer)
    assert isinstance(open_recognizer(checkpoint, mode="window"), WindowRecognizer)


@pytest.mark.slow
def test_exported_files(checkpoint, runtime, tmp_path):
    for library in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(library)
    path = write_video(tmp_path / "a.mp4", num_frames=40)
    (clip,) = build_exports(None, checkpoint, ["onnx"], output=tmp_path / "clip")
    expected = recognise(open_recognizer(checkpoint), path)
    found = recognise(open_recognizer(clip.path, threads=1), path)
    np.testing.assert_allclose(scores_of(found), scores_of(expected), rtol=0, atol=1e-4)
    with pytest.raises(UserError, match="exported clip model: for mode stream"):
        open_recognizer(clip.path, mode="stream")

    model, config = load_model(checkpoint)
    stream = build_streaming(config, model)
    info = build_stream_info(config, model, stream, normalize_inside=True)
    step = export_streaming_onnx(stream, tmp_path / "step.onnx", info)
    expected = recognise(open_recognizer(checkpoint, mode="stream"), path)
    found = recognise(open_recognizer(step, threads=1), path)
    np.testing.assert_allclose(scores_of(found), scores_of(expected), rtol=0, atol=1e-4)
    with pytest.raises(UserError, match="exported stream, which takes frame by frame"):
        open_recognizer(step, mode="window")
    with pytest.raises(UserError, match="runs in the precision it has"):
        open_recognizer(step, precision="bf16")


def test_what_cannot_be_opened(tmp_path):
    with pytest.raises(UserError, match="'clips' is none of auto, window, stream"):
        open_recognizer(tmp_path / "a.pyth", mode="clips")
    with pytest.raises(UserError, match="'int8' is none of f32"):
        open_recognizer(tmp_path / "a.pyth", precision="int8")
    with pytest.raises(UserError, match="does not run here"):
        open_recognizer(tmp_path / "a.mlpackage")
    with pytest.raises((UserError, OSError), match=r"nothing\.pyth"):
        open_recognizer(tmp_path / "nothing.pyth")
    with pytest.raises(UserError, match=r"nothing\.onnx"):
        open_recognizer(tmp_path / "nothing.onnx")
    torch.save({"model_state": {}}, tmp_path / "bare.pyth")
    with pytest.raises(UserError, match=r"carries no config: give .* as --cfg"):
        open_recognizer(tmp_path / "bare.pyth")


def test_recognitions_name_their_classes():
    found = Recognition(0.0, 1.0, {"verb": np.array([0.1, 0.6, 0.3])}, 0.01)
    assert [(g.class_id, g.name) for g in found.top(2)["verb"]] == [(1, "class 1"), (2, "class 2")]
    top = found.top(9, {"verb": ["take", "cut", "wash"]})["verb"]
    assert [g.name for g in top] == ["cut", "wash", "take"]
    info = SimpleNamespace(tasks=["verb"], num_classes=[3])
    assert complete_names(info, {}) == {"verb": ["class 0", "class 1", "class 2"]}
    with pytest.raises(UserError, match="2 class names for the 3 classes of 'verb'"):
        complete_names(info, {"verb": ["take", "cut"]})


def test_class_names_from_files(checkpoint, tmp_path):
    lines = tmp_path / "names.txt"
    lines.write_text("left\nright\n")
    assert read_task_names(lines, {"action": 2}) == {"action": ["left", "right"]}
    with pytest.raises(DataError, match="2 names for the 3 classes of 'action'"):
        read_task_names(lines, {"action": 3})
    both = tmp_path / "both.json"
    both.write_text(json.dumps({"verb": {"cut": 1, "take": 0}, "noun": ["pan"]}))
    assert read_task_names(both, {"verb": 2, "noun": 1}) == {
        "verb": ["take", "cut"],
        "noun": ["pan"],
    }
    with pytest.raises(DataError, match="names of each of verb, object"):
        read_task_names(both, {"verb": 2, "object": 1})
    with pytest.raises(DataError, match="cannot be read"):
        read_task_names(tmp_path / "none.json", {"verb": 2, "noun": 1})
    assert open_recognizer(checkpoint).class_names == {"action": ["class 0", "class 1"]}


def test_several_tasks(tmp_path):
    tasks = ("MODEL.TASKS", "['verb','noun']", "MODEL.NUM_CLASSES", "[3,5]")
    names = tmp_path / "names.json"
    names.write_text(json.dumps({"verb": list("abc"), "noun": list("vwxyz")}))
    checkpoint = write_model(tmp_path, (*tasks, "DEMO.LABEL_FILE_PATH", names))
    for mode in ("window", "stream"):
        recognizer = open_recognizer(checkpoint, mode=mode)
        frame = np.full((36, 48, 3), 90, np.uint8)
        found = [recognizer.push(frame, i / 30) for i in range(30)]
        top = [one for one in found if one][-1].top(1, recognizer.class_names)
        assert {task: guesses[0].name in "abcvwxyz" for task, guesses in top.items()} == {
            "verb": True,
            "noun": True,
        }
