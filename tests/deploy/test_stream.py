"""Exported streams: what their files compute, say and refuse."""

import json
from dataclasses import replace

import pytest
import torch

from slowfast.config import load_cfg
from slowfast.deploy.export.info import ExportError
from slowfast.deploy.export.step import StepGraph
from slowfast.deploy.export.streaming import (
    build_stream_info,
    check_stream_parity,
    export_streaming_onnx,
    export_streaming_openvino,
    read_stream_info,
    write_stream_info,
)
from slowfast.deploy.stream import ModelRunner, open_stream
from slowfast.models import build_model
from slowfast.models.streaming import build_streaming
from slowfast.utils.seed import seed_everything
from tests.models.streaming.networks import liven
from tests.models.streaming.oracle import make_frames

FAMILIES = {
    "X3D": ["MODEL.ARCH", "x3d", "RESNET.TRANS_FUNC", "x3d_transform", "X3D.DEPTH_FACTOR", "0.5",
            "DATA.NUM_FRAMES", "4"],
    "SlowFast": ["MODEL.ARCH", "slowfast", "RESNET.DEPTH", "18", "RESNET.WIDTH_PER_GROUP", "16",
                 "SLOWFAST.ALPHA", "2", "DATA.NUM_FRAMES", "4", "MODEL.TASKS", "['verb','noun']",
                 "MODEL.NUM_CLASSES", "[3,5]"],
    "ResNetLSTM": ["MODEL.ARCH", "resnet_lstm", "RESNET.DEPTH", "18", "RESNET.WIDTH_PER_GROUP",
                   "8", "LSTM.HIDDEN_SIZE", "8", "LSTM.BIDIRECTIONAL", "False", "LSTM.POOL",
                   "last"],
    "TinyNet": ["MODEL.ARCH", "tiny", "DATA.NUM_FRAMES", "4"],
}  # fmt: skip
STEPS = 200


def prepare(family, **options):
    """Config, clip model, stream and description."""
    seed_everything(0)
    size = ["DATA.TRAIN_CROP_SIZE", "32", "DATA.TEST_CROP_SIZE", "32", "MODEL.NUM_CLASSES", "4"]
    cfg = load_cfg(opts=["MODEL.MODEL_NAME", family, *size, *FAMILIES[family]])
    model = liven(build_model(cfg))
    stream = build_streaming(cfg, model)
    return stream, build_stream_info(cfg, model, stream, **options)


def as_dict(preds):
    return preds if isinstance(preds, dict) else {"action": preds}


@pytest.mark.slow
@pytest.mark.parametrize("family", ["X3D", "SlowFast", "ResNetLSTM"])
def test_200_steps_without_drift(family, tmp_path):
    """And cut, resumed: the state goes from one kind of runner to the other."""
    stream, info = prepare(family)
    onnx = export_streaming_onnx(stream, tmp_path / "step.onnx", info)
    xml = export_streaming_openvino(stream, tmp_path / "step.xml", info, onnx_path=onnx)
    runners = [open_stream(path) for path in (onnx, xml)]
    runners[0].reset(1)
    reference = ModelRunner(stream)
    frames = make_frames(STEPS * info.period)
    for step in range(STEPS):
        part = frames[step * info.period : (step + 1) * info.period]
        for frame in part:
            expected = as_dict(reference.push(frame))
        chunk = part[0] if info.period == 1 else part.permute(1, 2, 0, 3, 4).contiguous()
        if step == STEPS // 2:
            states = [runner.state for runner in runners]
            for runner, state in zip(runners, reversed(states), strict=True):
                runner.reset(1)
                runner.state = state
        for runner in runners:
            torch.testing.assert_close(as_dict(runner.push(chunk)), expected, rtol=0, atol=1e-4)
    for path in (onnx, xml):
        assert read_stream_info(path).parity["max"] < 1e-4


@pytest.mark.slow
def test_a_file_takes_raw_frames_and_gives_probabilities(tmp_path):
    stream, info = prepare("TinyNet", kind="probabilities", normalize_inside=True, batch=3)
    path = export_streaming_onnx(stream, tmp_path / "deep" / "step.onnx", info)
    runner, reference = open_stream(path, threads=1), ModelRunner(stream)
    reference.reset(3)
    raw = torch.randint(0, 256, (6, 3, 3, 32, 32), dtype=torch.uint8)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (info.clip.mean, info.clip.std))
    for frames in raw:
        expected = reference.predict((frames / 255 - mean) / std)
        torch.testing.assert_close(runner.push(frames), expected, rtol=0, atol=1e-5)
        assert runner.predict(frames).sum(1).allclose(torch.ones(3))
        reference.predict((frames / 255 - mean) / std)
    found = json.loads((path.parent / "step.onnx.json").read_text())
    assert found["streaming"]
    assert (found["delay"], found["receptive_field"]) == (5, 8)
    # A file for three streams runs three; a changed one runs no more.
    other = prepare("TinyNet", kind="probabilities", normalize_inside=True, batch=3)[0]
    with torch.no_grad():
        other.classify.layers[0].weight.mul_(-1)
    with pytest.raises(ExportError, match=r"computes something else"):
        check_stream_parity(other, path)
    path.write_bytes(path.read_bytes() + b"0")
    with pytest.raises(ExportError, match=r"is not the file that"):
        open_stream(path)


def test_description():
    stream, info = prepare("SlowFast")
    assert info.clip.inputs == {"frames": [1, 3, 2, 32, 32]}
    assert (info.period, info.window, info.clip.layout) == (2, 4, "BCTHW")
    assert info.clip.outputs == ["verb", "noun"]
    assert "clock" not in info.states
    assert (
        info.state_bytes == 4 * sum(torch.Size(shape).numel() for shape in info.states.values()) + 8
    )
    assert (info.delay, info.receptive_field) == (stream.delay, stream.receptive_field)
    stream, info = prepare("ResNetLSTM")
    assert info.receptive_field == 0
    assert info.states == {"h": [2, 8], "c": [2, 8]}


@pytest.mark.parametrize("family", ["SlowFast", "TinyNet"])
def test_the_graph_is_the_stream(family):
    """A period of steps as one function, colours turned round inside."""
    stream, info = prepare(family)
    info = replace(info, clip=replace(info.clip, channels="BGR"))
    graph, reference = StepGraph(stream, info.clip, list(info.states)), ModelRunner(stream)
    reference.reset(2)
    state = [torch.zeros(2, *shape) for shape in info.states.values()]
    for frames in make_frames(4 * info.period, batch=2).split(info.period):
        for frame in frames:
            expected = reference.push(frame)
        chunk = frames.permute(1, 2, 0, 3, 4) if info.period > 1 else frames[0]
        outputs = graph(chunk.flip(1), *state)
        count = len(info.clip.outputs)
        state = list(outputs[count:])
        for a, b in zip(outputs, as_dict(expected).values(), strict=False):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_a_runner_goes_on_from_a_state():
    stream, _ = prepare("X3D")
    runner, frames = ModelRunner(stream), make_frames(6)
    expected = [runner.push(frame) for frame in frames]
    runner.reset()
    for frame in frames[:3]:
        runner.push(frame)
    kept = runner.state
    runner.reset(frame=frames[0])
    runner.state = kept
    for frame, logits in zip(frames[3:], expected[3:], strict=True):
        assert torch.equal(runner.push(frame), logits)


def test_what_is_no_stream(tmp_path):
    path = tmp_path / "clip.onnx"
    path.write_bytes(b"0")
    with pytest.raises(ExportError, match=r"without its description"):
        open_stream(path)
    (tmp_path / "clip.onnx.json").write_text("{}")
    with pytest.raises(ExportError, match=r"of a clip model, not of a stream"):
        open_stream(path)
    stream, info = prepare("TinyNet")
    (tmp_path / "step.tflite").write_bytes(b"0")
    write_stream_info(tmp_path / "step.tflite", info)
    with pytest.raises(ExportError, match=r"end in \.onnx, \.xml or \.pte"):
        open_stream(tmp_path / "step.tflite")
    assert stream.delay == info.delay
    with pytest.raises(ExportError, match=r"no output 'cosines'"):
        prepare("TinyNet", kind="cosines")
