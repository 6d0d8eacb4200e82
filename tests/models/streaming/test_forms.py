"""The clip model in streaming form: what finetuning trains is what the stream computes."""

import copy

import pytest
import torch
from torch.nn import functional as F

from slowfast.checkpoint import write_checkpoint
from slowfast.config import diff_cfg, load_cfg
from slowfast.engine.weights import load_model
from slowfast.models import build_model
from slowfast.models.layers.lgd import ContextPool
from slowfast.models.layers.se import SqueezeExcite
from slowfast.models.layers.streaming_se import FrozenSqueezeExcite
from slowfast.models.layers.time_padding import set_time_padding
from slowfast.models.streaming import (
    StreamingError,
    StreamingForm,
    build_streaming,
    calibrate,
    set_streaming_form,
    to_streaming,
)
from slowfast.models.streaming.form import last_layer
from tests.models.streaming.networks import CASES, SIZE, network
from tests.models.streaming.oracle import as_clips, logits_of, make_frames, maps_of
from tests.models.streaming.test_steps import CLOSE, run, stream_of


def in_form(name, **form):
    return set_streaming_form(network(name), StreamingForm(**form))


def whole(model, frames, alpha=None):
    with torch.no_grad():
        return model(as_clips(frames, alpha))


@pytest.mark.parametrize("name", ["X3D", "SlowFast-2", "X3D-LGD"])
@pytest.mark.parametrize("padding", ["zeros", "causal", "valid", "replicate"])
def test_weights_move_both_ways(name, padding):
    plain = network(name)
    form = in_form(name, padding=padding, window=8)
    assert type(form) is type(plain)
    assert form.state_dict().keys() == plain.state_dict().keys()
    form.load_state_dict(plain.state_dict(), strict=True)
    plain.load_state_dict(form.state_dict(), strict=True)


@pytest.mark.parametrize(
    "name", ["X3D", "I3D", "Slow", "SlowFast-2", "MobileNet", "S3D", "TinyNet"]
)
def test_a_causal_clip_is_the_beginning_of_a_stream(name):
    """No start-up: padding of the clip and first state of the stream are the same zeros."""
    case = CASES[name]
    form = in_form(name, padding="causal")
    stream = stream_of(name, form)
    window, period = stream.spec.window, case.period
    if case.alpha is None:
        assert stream.receptive_field == case.receptive_field  # the same kernels, all behind
    assert stream.lookahead <= period  # at most until the pathways meet
    frames = make_frames(window + 3 * period)
    outputs, _ = run(stream, frames)
    rates = [timing.rate for timing in stream.trunk.timings]
    with torch.no_grad():
        maps = maps_of(form, as_clips(frames, case.alpha))
    compared = 0
    for t in range(window - 1, len(frames)):
        first = t - stream.delay
        if first >= 0 and first % period == 0:
            parts = [
                y[:, :, first // r : (first + window) // r]
                for y, r in zip(maps, rates, strict=True)
            ]
            with torch.no_grad():
                torch.testing.assert_close(outputs[t], logits_of(form, parts), **CLOSE)
            compared += 1
    assert compared >= 2


@pytest.mark.parametrize("name", ["SlowFast-2", "S3D", "TinyNet"])
def test_a_causal_network_does_not_look_ahead(name):
    alpha, form = CASES[name].alpha, in_form(name, padding="causal")
    frames = make_frames(16)
    with torch.no_grad():
        longer = maps_of(form, as_clips(frames, alpha))
        shorter = maps_of(form, as_clips(frames[:8], alpha))
    for a, b in zip(longer, shorter, strict=True):
        torch.testing.assert_close(a[:, :, : b.shape[2]], b, **CLOSE)


@pytest.mark.parametrize("name", ["X3D", "I3D", "SlowFast-2", "TinyNet"])
def test_a_valid_clip_is_a_stream(name):
    """The clip model's whole forward pass, on hardly more frames than a step depends on."""
    case = CASES[name]
    window = case.window or 4
    form = in_form(name, padding="valid", window=window)
    stream = stream_of(name, form, window=window)
    (trim,) = last_layer(form)._forward_hooks.values()
    before, after = (n * stream.trunk.timings[0].rate for n in trim.ends[0])
    assert 0 <= before + window + after - stream.receptive_field < 2 * case.period
    frames = make_frames(before + stream.delay + 1 + case.period)
    outputs, _ = run(stream, frames)
    clip = whole(form, frames[: before + window + after], case.alpha)
    torch.testing.assert_close(outputs[before + stream.delay], clip, **CLOSE)


def test_a_clip_too_short_for_valid_values():
    with pytest.raises(StreamingError, match=r"PADDING valid needs longer clips"):
        whole(in_form("X3D", padding="valid", window=4), make_frames(18))
    with pytest.raises(StreamingError, match=r"needs the window"):
        StreamingForm(padding="valid")


@pytest.mark.parametrize("name", ["X3D", "I3D", "TinyNet"])
def test_a_still_clip_with_replicate_padding_is_a_still_stream(name):
    form = in_form(name, padding="replicate")
    stream, frame = stream_of(name, form), make_frames(1)
    found, _ = stream.step(frame[0], stream.init_state(frame=frame[0]))
    expected = whole(form, frame.expand(stream.spec.window, -1, -1, -1, -1))
    torch.testing.assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize(("padding", "ends"), [("causal", (2, 0)), ("replicate", (1, 1))])
def test_padded_convolutions(kernel, stride, padding, ends):
    """Against a convolution of a clip that was padded by hand."""
    half = kernel // 2
    if padding == "replicate" and half % stride:
        pytest.skip("refused")
    for groups in (1, 4):
        conv = torch.nn.Conv3d(
            4, 4, (kernel, 1, 1), (stride, 1, 1), (half, 0, 0), groups=groups, bias=False
        )
        clip, weight = torch.randn(1, 4, 7, 2, 2), conv.weight.detach()
        mode = "replicate" if padding == "replicate" else "constant"
        sides = (0, 0, 0, 0, ends[0] * half, ends[1] * half)
        expected = F.conv3d(F.pad(clip, sides, mode), weight, stride=(stride, 1, 1), groups=groups)
        set_time_padding(conv, padding)
        torch.testing.assert_close(conv(clip), expected, **CLOSE)


# Squeeze-and-excitation


@pytest.mark.parametrize("frames", [1, 3])
def test_running_squeeze_in_a_stream(frames):
    model = in_form("X3D", squeeze="running" if frames > 1 else "frame", squeeze_frames=frames)
    stream = stream_of("X3D", model)
    blocks = sum(isinstance(module, SqueezeExcite) for module in model.modules())
    assert blocks == 5
    assert stream.receptive_field == CASES["X3D"].receptive_field + blocks * (frames - 1)
    clip = make_frames(stream.receptive_field)
    (*_, found), _ = run(stream, clip)
    with torch.no_grad():
        maps = maps_of(model, as_clips(clip))
        first = stream.receptive_field - 1 - stream.delay
        expected = logits_of(model, [maps[0][:, :, first : first + 4]])
    torch.testing.assert_close(found, expected, **CLOSE)


def test_running_squeeze_is_a_mean_over_the_frames_before():
    plain = SqueezeExcite(6, ratio=0.5)
    running = torch.nn.Sequential(copy.deepcopy(plain))
    from slowfast.models.layers.streaming_se import set_squeeze

    set_squeeze(running, "running", frames=3)
    clip = torch.randn(2, 6, 5, 2, 2)
    found = running(clip)
    for t in range(5):
        seen = clip[:, :, max(0, t - 2) : t + 1]
        gate = plain.sigmoid(plain.fc2(plain.relu(plain.fc1(seen.mean((2, 3, 4), keepdim=True)))))
        torch.testing.assert_close(found[:, :, t], (clip[:, :, t : t + 1] * gate)[:, :, 0], **CLOSE)


def test_frozen_squeeze_is_calibrated_and_streams():
    model = in_form("X3D", squeeze="frozen")
    with pytest.raises(StreamingError, match=r"calibrate\(model, clips\)"):
        stream_of("X3D", model)
    clips = [torch.randn(2, 3, 4, SIZE, SIZE) for _ in range(3)]
    seen = []
    first = next(m for m in model.modules() if isinstance(m, FrozenSqueezeExcite))
    first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].mean((0, 2, 3, 4))))
    assert calibrate(model, [[clip] for clip in clips]) == 3
    torch.testing.assert_close(first.squeezed, torch.stack(seen).mean(0), **CLOSE)
    stream, frames = stream_of("X3D", model), make_frames(CASES["X3D"].receptive_field)
    (*_, found), _ = run(stream, frames)
    with torch.no_grad():
        maps = maps_of(model, as_clips(frames))
        expected = logits_of(model, [maps[0][:, :, 9:13]])
    torch.testing.assert_close(found, expected, **CLOSE)
    with pytest.raises(StreamingError, match=r"no squeeze of the kind"):
        calibrate(network("X3D"), [])


def test_frozen_squeeze_follows_training():
    model = in_form("X3D", squeeze="frozen").train()
    layer = next(m for m in model.modules() if isinstance(m, FrozenSqueezeExcite))
    for count in (1, 2):
        model([torch.randn(2, 3, 4, SIZE, SIZE)])
        assert int(layer.batches) == count
    kept = layer.squeezed.clone()
    model.eval()([torch.randn(2, 3, 4, SIZE, SIZE)])
    assert torch.equal(layer.squeezed, kept)


def test_the_squeeze_is_all_that_differs_from_the_clip_model():
    """What a stream of an untuned X3D gets wrong comes from the gates: with constant ones the
    form is the clip model."""
    plain, form = network("X3D"), in_form("X3D")
    clip = make_frames(4)
    assert (whole(plain, clip) - whole(form, clip)).abs().max() > 3e-5
    for model in (plain, form):
        for module in model.modules():
            if isinstance(module, SqueezeExcite):
                module.fc2.weight.data.zero_()
    torch.testing.assert_close(whole(plain, clip), whole(form, clip), **CLOSE)


def test_diffusion_of_one_frame_is_that_of_a_clip_of_one_frame():
    plain, form = network("X3D-LGD"), in_form("X3D-LGD")
    clip = make_frames(1)
    torch.testing.assert_close(whole(plain, clip), whole(form, clip), **CLOSE)
    assert sum(isinstance(m, ContextPool) for m in form.modules()) == 14
    clip = make_frames(8)
    assert torch.linalg.vector_norm(whole(plain, clip)["verb"] - whole(form, clip)["verb"]) > 1e-4


@pytest.mark.parametrize("squeeze", ["frame", "running", "frozen"])
@pytest.mark.parametrize("padding", ["zeros", "replicate", "causal"])
def test_every_parameter_is_trained(padding, squeeze):
    model = in_form("X3D", padding=padding, squeeze=squeeze).train()
    model.head.dropout.p = 0.0
    clip = torch.randn(2, 3, 4, SIZE, SIZE).contiguous(memory_format=torch.channels_last_3d)
    model([clip]).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


# The config


def tiny_cfg(*opts):
    return load_cfg(
        opts=["MODEL.MODEL_NAME", "X3D", "MODEL.ARCH", "x3d", "RESNET.TRANS_FUNC", "x3d_transform",
              "MODEL.NUM_CLASSES", "4", "DATA.NUM_FRAMES", "4", "DATA.TRAIN_CROP_SIZE", "32",
              "X3D.DEPTH_FACTOR", "0.5",
              "DATA.TEST_CROP_SIZE", "32", *opts]
    )  # fmt: skip


@pytest.mark.parametrize("padding", ["zeros", "replicate", "causal", "valid"])
def test_config(padding):
    cfg = tiny_cfg("MODEL.STREAMING.ENABLE", "True", "MODEL.STREAMING.PADDING", padding,
                   "MODEL.STREAMING.WINDOW", "3")  # fmt: skip
    with torch.device("meta"):
        build_model(cfg)  # costs nothing
    model = build_model(cfg).eval()
    stream = build_streaming(cfg, model)
    assert stream.spec.window == 3
    assert stream.spec.frame_size == (32, 32)
    frames = make_frames(stream.receptive_field if padding == "valid" else 1)
    (*_, found), _ = run(stream, frames)
    assert found.shape == (1, 4)
    if padding == "valid":
        torch.testing.assert_close(found, whole(model, frames), **CLOSE)


def test_config_of_a_plain_model():
    stream = build_streaming(tiny_cfg(), build_model(tiny_cfg()).eval())
    assert (stream.spec.window, stream.receptive_field) == (4, 22)


def test_networks_of_another_form_are_told_apart():
    enable = ("MODEL.STREAMING.ENABLE", "True")
    causal = ("MODEL.STREAMING.PADDING", "causal")
    assert diff_cfg(tiny_cfg(), tiny_cfg(*causal)) == {}
    assert set(diff_cfg(tiny_cfg(), tiny_cfg(*enable))) == {"MODEL.STREAMING.ENABLE"}
    assert set(diff_cfg(tiny_cfg(*enable), tiny_cfg(*enable, *causal))) == {
        "MODEL.STREAMING.PADDING"
    }


def test_families_without_a_form_are_named():
    class Other(type(network("TinyNet")).__mro__[1]):
        pass

    with pytest.raises(StreamingError, match=r"Other has no streaming form; X3D"):
        to_streaming(Other())


def test_a_checkpoint_alone_becomes_a_stream(tmp_path):
    """Trained in streaming form, saved, loaded and converted: nothing else has to be known."""
    cfg = tiny_cfg("MODEL.STREAMING.ENABLE", "True", "MODEL.STREAMING.SQUEEZE", "frozen",
                   "MODEL.STREAMING.PADDING", "causal")  # fmt: skip
    model = build_model(cfg)
    model.train()([torch.randn(2, 3, 4, SIZE, SIZE)])  # the means to freeze
    path = write_checkpoint(tmp_path, epoch=0, model=model, optimizer=None, cfg_yaml=cfg.dump())
    loaded, loaded_cfg = load_model(path)
    stream = build_streaming(loaded_cfg, loaded)
    assert (stream.lookahead, stream.spec.window) == (0, 4)
    frames = make_frames(4)
    (*_, found), _ = run(stream, frames)
    torch.testing.assert_close(found, whole(model.eval(), frames), **CLOSE)
