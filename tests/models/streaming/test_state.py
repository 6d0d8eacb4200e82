"""Streams are cut, resumed, put into batches and taken out again; what goes wrong says why."""

import pytest
import torch

from slowfast.models.layers.non_local import NonLocalSpec
from slowfast.models.layers.stage import PathwaySpec
from slowfast.models.resnet3d import ResNet3D
from slowfast.models.streaming import (
    StreamingError,
    split_state,
    stack_states,
    to_streaming,
)
from slowfast.models.streaming.cost import count_step_macs
from slowfast.models.x3d import X3D
from tests.models.streaming.networks import CASES, SIZE, network
from tests.models.streaming.oracle import make_frames
from tests.models.streaming.test_steps import CLOSE, run, stream_of

EXACT = {"rtol": 0, "atol": 0}


@pytest.mark.parametrize("name", ["X3D", "SlowFast-2", "X3D-LGD"])
def test_cut_saved_and_resumed(name, tmp_path):
    stream, frames = stream_of(name), make_frames(13)
    expected, last = run(stream, frames)
    _, state = run(stream, frames[:6])
    torch.save(state, tmp_path / "state.pt")
    loaded = torch.load(tmp_path / "state.pt", weights_only=True)
    found, end = run(stream_of(name), frames[6:], loaded)
    torch.testing.assert_close(found, expected[6:], **EXACT)
    torch.testing.assert_close(end, last, **EXACT)


@pytest.mark.parametrize("name", ["X3D", "SlowFast"])
def test_a_step_changes_no_state(name):
    stream, frames = stream_of(name), make_frames(8)
    _, state = run(stream, frames[:5])
    kept = {key: tensor.clone() for key, tensor in state.items()}
    first, _ = run(stream, frames[5:], state)
    torch.testing.assert_close(state, kept, **EXACT)
    again, _ = run(stream, frames[5:], state)
    torch.testing.assert_close(again, first, **EXACT)


@pytest.mark.parametrize("name", ["X3D", "SlowFast"])
def test_64_streams_in_a_batch_are_64_streams(name):
    stream, frames = stream_of(name), make_frames(6, batch=64)
    together, state = run(stream, frames)
    states = []
    for i in (0, 1, 31, 63):
        alone, single = run(stream, frames[:, i : i + 1])
        for a, b in zip(alone, together, strict=True):
            a, b = (y["noun"] if isinstance(y, dict) else y for y in (a, b))
            torch.testing.assert_close(a, b[i : i + 1], **CLOSE)
        torch.testing.assert_close(split_state(state)[i], single, **CLOSE)
        states.append(single)
    torch.testing.assert_close(
        stack_states(states), {k: v[[0, 1, 31, 63]] for k, v in state.items()}, **CLOSE
    )


def test_streams_of_any_age_share_a_batch_where_there_is_no_stride():
    stream, frames = stream_of("X3D"), make_frames(9)
    _, old = run(stream, frames)
    _, young = run(stream, frames[4:])
    together, _ = stream.step(frames[0].repeat(2, 1, 1, 1), stack_states([old, young]))
    apart = [stream.step(frames[0], state)[0] for state in (old, young)]
    torch.testing.assert_close(together, torch.cat(apart), **CLOSE)


def test_streams_out_of_step():
    frames = make_frames(7)
    for dense in (False, True):
        stream = stream_of("I3D", dense=dense)
        _, old = run(stream, frames)
        _, young = run(stream, frames[3:])
        _, even = run(stream, frames[2:])
        stream.step(frames[0].repeat(2, 1, 1, 1), stack_states([old, even]))
        mixed = stack_states([old, young])
        if dense:
            stream.step(frames[0].repeat(2, 1, 1, 1), mixed)
            continue
        with pytest.raises(StreamingError, match=r"in step, or convert with dense=True"):
            stream.step(frames[0].repeat(2, 1, 1, 1), mixed)


def test_layers_behind_a_stride_rest_between_its_steps():
    stream = stream_of("SlowFast-2")
    macs = [count_step_macs(stream, step=step) for step in range(2)]
    assert macs[0] > 5 * macs[1]
    assert count_step_macs(stream) == sum(macs) // 2
    assert count_step_macs(stream_of("SlowFast-2", dense=True)) == macs[0]


# Costs


def test_x3d_s_costs_what_is_promised():
    stream = to_streaming(X3D(num_classes=400, num_frames=13, crop_size=160))
    assert (stream.receptive_field, stream.delay, stream.lookahead) == (69, 40, 28)
    assert count_step_macs(stream) / 1e9 == pytest.approx(0.1527, abs=1e-4)
    assert stream.state_bytes() / 1e6 == pytest.approx(10.19, abs=0.01)
    assert stream.state_bytes(8) == 8 * stream.state_bytes()


@pytest.mark.parametrize(
    ("frames", "window", "receptive_field", "delay"),
    [(13, None, 69, 40), (16, None, 72, 43), (4, None, 60, 31), (13, 64, 120, 91)],
)
def test_x3d_figures_of_cox3d(frames, window, receptive_field, delay):
    """Hedegaard and Iosifidis 2022, for S, M, XS and a window of 64."""
    model = X3D(num_classes=4, width_factor=0.5, num_frames=frames, crop_size=SIZE)
    stream = to_streaming(model, window=window)
    assert (stream.receptive_field, stream.delay) == (receptive_field, delay)


# Errors


def test_non_local_blocks_are_refused():
    pathway = PathwaySpec(non_local=[NonLocalSpec(after=(0,))] + [NonLocalSpec()] * 3)
    model = ResNet3D(num_classes=4, depth=18, width=8, pathway=pathway)
    with pytest.raises(StreamingError, match=r"NonLocal.*all frames.*NONLOCAL\.LOCATION"):
        to_streaming(model)


def test_windows_and_sizes_that_are_not_known():
    for missing, name in (("window", "S3D"), ("frame_size", "TinyNet")):
        options = {"window": 8, "frame_size": (SIZE, SIZE)}
        with pytest.raises(StreamingError, match=rf"give {missing}"):
            to_streaming(network(name), **options | {missing: None})


def test_windows_that_strides_do_not_divide():
    with pytest.raises(StreamingError, match=r"window of 6 frames.*multiple of 4"):
        to_streaming(network("S3D"), window=6, frame_size=(SIZE, SIZE))


def test_frames_that_do_not_fit():
    stream = stream_of("TinyNet")
    state = stream.init_state(2)
    for shape in [(3, SIZE, SIZE), (1, 3, SIZE, SIZE), (2, 1, SIZE, SIZE)]:
        with pytest.raises(StreamingError, match=r"frames \(B, 3, H, W\) of the 2 stream"):
            stream.step(torch.zeros(shape), state)


def test_only_windows_of_frames_have_a_stride():
    with pytest.raises(StreamingError, match=r"stride 2: X3D takes frames as far apart"):
        to_streaming(network("X3D"), stride=2)


def test_weights_are_copies_to_predict_with():
    model = network("X3D")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    stream = to_streaming(model)
    assert not any(p.requires_grad for p in stream.parameters())
    assert not stream.train().training
    with torch.no_grad():
        for parameter in stream.parameters():
            parameter.zero_()
    torch.testing.assert_close(model.state_dict(), before, **EXACT)
    assert len(CASES) == 11
