"""ResNet+LSTM and IMFE: what is kept of frames gives the clip model's outputs exactly."""

import math

import pytest
import torch

from slowfast.models.imfe import IMFE
from slowfast.models.resnet_lstm import ResNetLSTM
from slowfast.models.streaming import StreamingError, split_state, to_streaming
from tests.models.streaming.oracle import as_clips, make_frames
from tests.models.streaming.test_steps import CLOSE, run

TASKS = {"verb": 4, "noun": 3}
SIZE = (32, 32)


def lstm(**options):
    return ResNetLSTM(num_classes=TASKS, depth=18, width=8, hidden_size=8, fc_std=1.0, **options)


def imfe(**options):
    options = {"num_classes": 5, "widths": (8, 8, 12, 16), "num_frames": 4} | options
    return IMFE(depth=18, width=8, input_size=SIZE, fc_std=1.0, **options)


MODELS = {
    "LSTM": (lambda: lstm().eval(), 4),
    "IMFE": (lambda: imfe().eval(), None),
    "IMFE-all-pairs": (lambda: imfe(correlation="all_pairs").eval(), None),
    "IMFE-2": (lambda: imfe(num_frames=2).eval(), None),
    "IMFE-features": (lambda: imfe(num_classes=None).eval(), None),
}


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", MODELS)
def test_step_equals_clip_and_window(name, stride):
    make, count = MODELS[name]
    model = make()
    stream = to_streaming(model, frame_size=SIZE, window=count, stride=stride)
    window = stream.spec.window
    assert stream.delay == (window - 1) * stride
    assert (stream.receptive_field, stream.lookahead) == (
        stream.delay + 1,
        stream.delay + 1 - window,
    )
    frames = make_frames(stream.receptive_field + 2, batch=2)
    outputs, _ = run(stream, frames)
    still, _ = run(stream, frames, stream.init_state(frame=frames[0]))
    for t in range(len(frames)):
        numbers = [max(0, t - stride * back) for back in reversed(range(window))]
        with torch.no_grad():
            clip = model(as_clips(frames[numbers]))
        torch.testing.assert_close(still[t], clip, **CLOSE)
        if t >= stream.receptive_field - 1:
            torch.testing.assert_close(outputs[t], clip, **CLOSE)


def test_each_frame_and_pair_is_computed_once():
    calls = []

    def count(_, __, out):
        calls.append(len(out))

    for model, parts in (
        (lstm().eval(), ["backbone"]),
        (imfe().eval(), ["feature_encoder", "compress_conv"]),
    ):
        stream = to_streaming(model, frame_size=SIZE, window=4)
        for part in parts:
            stream.model.get_submodule(part).register_forward_hook(count)
        state = stream.init_state()  # asks the layers what they give
        calls.clear()
        run(stream, make_frames(5), state)
        assert calls == [1] * 5 * len(parts)


@pytest.mark.slow
@torch.no_grad()
def test_a_window_of_the_published_size_equals_recomputing():
    """Frames 0 to 16 of a stream: the second full window, fifteen of whose frames are kept."""
    torch.manual_seed(0)
    model = ResNetLSTM(num_classes=TASKS, fc_std=1.0).eval()
    frames = make_frames(17, size=224)
    outputs, _ = run(to_streaming(model, window=16), frames)
    expected = model(as_clips(frames[1:]))
    assert expected["verb"].std() > 0.1
    torch.testing.assert_close(outputs[-1], expected, rtol=0, atol=1e-5)


def test_recurrent_step_equals_clip():
    model = lstm(bidirectional=False, pool="last").eval()
    stream = to_streaming(model, frame_size=SIZE)
    assert (stream.delay, stream.receptive_field, stream.lookahead) == (0, math.inf, 0)
    frames = make_frames(6, batch=2)
    outputs, state = run(stream, frames)
    before = None
    for t, frame in enumerate(frames):
        with torch.no_grad():
            torch.testing.assert_close(outputs[t], model(as_clips(frames[: t + 1])), **CLOSE)
            preds, before = model.step(frame, before)
        torch.testing.assert_close(outputs[t], preds, **CLOSE)
    assert {name: tuple(t.shape) for name, t in state.items()} == {"h": (2, 2, 8), "c": (2, 2, 8)}
    assert not stream.init_state(frame=frames[0])["h"].any()


@pytest.mark.parametrize("recurrent", [False, True])
def test_cut_batched_and_resumed(recurrent):
    model = lstm(**({"bidirectional": False, "pool": "last"} if recurrent else {})).eval()
    stream = to_streaming(model, frame_size=SIZE, window=None if recurrent else 4)
    frames = make_frames(7, batch=3)
    expected, _ = run(stream, frames)
    _, state = run(stream, frames[:3])
    for i, single in enumerate(split_state(state)):
        outputs, _ = run(stream, frames[3:, i : i + 1], single)
        for a, b in zip(outputs, expected[3:], strict=True):
            torch.testing.assert_close(a["noun"], b["noun"][i : i + 1], **CLOSE)


def test_windows_must_be_known():
    with pytest.raises(StreamingError, match=r"whole clips.*give window"):
        to_streaming(lstm())
    with pytest.raises(StreamingError, match=r"compares 4 frames, not 8"):
        to_streaming(imfe(), window=8)
