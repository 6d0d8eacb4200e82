"""A step gives what the clip model gives for the window it is about."""

import copy

import pytest
import torch

from slowfast.models.streaming import StreamingForm, set_streaming_form, to_streaming
from tests.models.streaming.networks import CASES, SIZE, network
from tests.models.streaming.oracle import as_clips, make_frames, maps_of, window_logits

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def stream_of(name, model=None, **options):
    size = {"frame_size": (SIZE, SIZE), "window": CASES[name].window}
    return to_streaming(model or network(name), **size | options)


def in_frame_form(name):
    return set_streaming_form(network(name), StreamingForm())


def run(stream, frames, state=None):
    """Predictions after every frame, and the last state."""
    state = stream.init_state(frames.shape[1]) if state is None else state
    outputs = []
    for frame in frames:
        preds, state = stream.step(frame, state)
        outputs.append(preds)
    return outputs, state


@pytest.mark.parametrize(
    ("name", "dense"),
    [*((name, False) for name in CASES), ("C2D", True), ("SlowFast-2", True)],
)
def test_step_equals_clip(name, dense):
    case, stream = CASES[name], stream_of(name, dense=dense)
    assert (stream.receptive_field, stream.delay) == (case.receptive_field, case.delay)
    assert stream.spec.period == case.period
    count = -(-(case.receptive_field + 2 * case.period + 3) // case.period) * case.period
    frames, form = make_frames(count), in_frame_form(name)
    rates = [timing.rate for timing in stream.trunk.timings]
    with torch.no_grad():
        maps = maps_of(form, as_clips(frames, case.alpha))
    outputs, _ = run(stream, frames)
    compared = []
    for t in range(case.receptive_field - 1, count):
        first = t - stream.delay
        if first % case.period == 0:
            with torch.no_grad():
                expected = window_logits(form, maps, first, rates, stream.spec.window)
            torch.testing.assert_close(outputs[t], expected, **CLOSE)
            compared.append(expected if torch.is_tensor(expected) else expected["verb"])
    assert len(compared) >= 2
    assert (compared[0] - compared[-1]).abs().max() > 1e-4  # there is something to tell apart


@pytest.mark.parametrize("name", ["C2D", "I3D", "SlowFast-2"])
def test_dense_step_equals_a_stream_begun_later(name):
    """Whatever frame a window begins with, not only multiples of the period."""
    case = CASES[name]
    frames = make_frames(case.receptive_field + 2 * case.period)
    dense, strided = stream_of(name, dense=True), stream_of(name)
    everywhere, _ = run(dense, frames)
    for shift in range(case.period):
        outputs, _ = run(strided, frames[shift:])
        for t in range(case.receptive_field - 1, len(outputs)):
            if (t - strided.delay) % case.period == 0:
                torch.testing.assert_close(outputs[t], everywhere[t + shift], **CLOSE)


@pytest.mark.parametrize("name", ["C2D", "I3D", "SlowFast-2", "TinyNet"])
def test_receptive_field_is_exact(name):
    """One frame less would be wrong, one more would be too many."""
    case = CASES[name]
    stream = stream_of(name).double()
    back = stream.receptive_field - 1 - stream.delay
    oldest = -back % case.period
    frames = make_frames(oldest + stream.receptive_field + case.period + 1).double()
    changed = frames.clone()
    changed[oldest] += 1.0
    (a, _), (b, _) = run(stream, frames), run(stream, changed)
    a, b = ([y["verb"] if isinstance(y, dict) else y for y in outputs] for outputs in (a, b))
    last = oldest + stream.receptive_field - 1
    assert not torch.equal(a[last], b[last])
    for x, y in zip(a[last + case.period :], b[last + case.period :], strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["X3D", "I3D", "SlowFast-2"])
def test_a_still_beginning_is_a_stream_of_one_frame(name):
    stream, (frame, new) = stream_of(name), make_frames(2, batch=2)
    copies = frame.expand(stream.receptive_field + 4 - stream.receptive_field % 4, *frame.shape)
    (*_, expected), expected_state = run(stream, copies)
    (found,), state = run(stream, frame[None], stream.init_state(frame=frame))
    torch.testing.assert_close(found, expected, **CLOSE)
    if stream.spec.period == 1:
        torch.testing.assert_close(state, expected_state, **CLOSE)
        torch.testing.assert_close(
            stream.step(new, state)[0], stream.step(new, expected_state)[0], **CLOSE
        )


@pytest.mark.parametrize("name", CASES)
def test_there_is_a_prediction_after_every_frame(name):
    stream = stream_of(name)
    outputs, state = run(stream, make_frames(9, batch=2))
    for preds in outputs:
        tasks = preds if isinstance(preds, dict) else {"action": preds}
        assert tuple(tasks) == stream.spec.tasks
        assert all(y.isfinite().all() and len(y) == 2 for y in tasks.values())
    assert all(len(tensor) == 2 for tensor in state.values())
    scores, _ = stream.predict(make_frames(1, batch=2)[0], state)
    scores = scores["verb"] if isinstance(scores, dict) else scores
    torch.testing.assert_close(scores.sum(dim=1), torch.ones(2))


def test_a_wider_frame_is_pooled_at_every_position():
    """Fully convolutional, as the clip model: features are averaged over positions."""
    model = set_streaming_form(network("Slow"), StreamingForm())
    stream = stream_of("Slow", model, frame_size=(64, 96))
    frames = make_frames(stream.receptive_field, size=96)[..., :64, :]
    (*_, found), _ = run(stream, frames)
    with torch.no_grad():
        maps = maps_of(model, as_clips(frames))
        first = stream.receptive_field - 1 - stream.delay
        expected = window_logits(model, maps, first, [1], stream.spec.window)
    torch.testing.assert_close(found, expected, **CLOSE)


def test_a_longer_window_is_the_mean_over_more_frames():
    model = in_frame_form("X3D")
    stream = stream_of("X3D", model, window=9)
    assert stream.delay - CASES["X3D"].delay == stream.receptive_field - 22 == 9 - 4
    frames = make_frames(stream.receptive_field)
    (*_, found), _ = run(stream, frames)
    longer = copy.deepcopy(model)
    longer.head.pool_size = (9, 1, 1)
    with torch.no_grad():
        maps = maps_of(longer, as_clips(frames))
        expected = window_logits(longer, maps, stream.receptive_field - 1 - stream.delay, [1], 9)
    torch.testing.assert_close(found, expected, **CLOSE)
