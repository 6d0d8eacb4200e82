"""IMFE: the published network part by part, the local form, cached windows."""

from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from slowfast.checkpoint.convert import read_weights
from slowfast.checkpoint.match import load_strict
from slowfast.config import load_cfg
from slowfast.deploy.latency import speedup, time_interleaved
from slowfast.deploy.profile import count_macs, count_parameters
from slowfast.models.imfe import IMFE, WIDTHS
from slowfast.models.layers.correlation import contrast, correlate_all, correlate_local
from slowfast.models.layers.frame_encoder import FrameEncoder
from slowfast.models.windows import CachedWindows
from slowfast.utils import vision
from slowfast.utils.optional import require

CONFIGS = Path(__file__).parents[2] / "configs" / "ActivityNet"
PUBLISHED = (1, 3, 6, 256, 344)
SIZE = (64, 72)
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def torchvision_models(name):
    vision.functional()
    return require(f"torchvision.models{name}", extra="video")


def small(**options):
    """Few frames, small frames, the full end of the ResNet."""
    return IMFE(num_frames=4, input_size=SIZE, widths=(8, 8, 12, 16), **options)


def frames_of(count, batch=2, size=SIZE):
    return torch.randn(count, batch, 3, *size)  # (T, B, 3, H, W)


def as_clip(frames):
    return [frames.permute(1, 2, 0, 3, 4)]


@pytest.fixture(params=["local", "all_pairs"])
def model(request):
    return randomised(small(correlation=request.param)).eval()


def randomised(model):
    """Running statistics that are not those of a fresh batch norm."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2.0)
    return model


# The published form


@pytest.fixture(scope="module")
def published_state():
    """Random weights under the names of the published code, unused ones included."""
    raft = torchvision_models(".optical_flow.raft")
    encoder = raft.FeatureEncoder(
        block=raft.ResidualBlock,
        layers=(64, 64, 96, 128, 256),
        strides=(2, 1, 2, 2),
        norm_layer=nn.BatchNorm2d,
    )
    motion = raft.MotionEncoder(
        in_channels_corr=640, corr_layers=(256, 192), flow_layers=(128, 64), out_channels=128
    )
    motion.conv = nn.Sequential(nn.Conv2d(192, 128, 3, padding=1))  # the flow branch is cut off
    parts = nn.ModuleDict(
        {
            "feature_encoder": encoder,
            "motion_encoder": motion,
            "compress_conv": nn.Conv2d(1376, 128, 3, padding=1),
            "mid_conv": nn.Conv2d(128, 512, 1),
            "resnet": torchvision_models("").resnet50(),
        }
    )
    return randomised(parts).eval()


def published_forward(parts, clip):
    """The published computation in its own words, on torchvision's modules."""
    maps = [parts["feature_encoder"](clip[:, :, t]) for t in range(clip.shape[2])]
    pairs = []
    for before, after in pairwise(maps):
        volume = torch.einsum("bcij,bckl->bijkl", before, after) / 16
        pairs.append(parts["compress_conv"](volume.flatten(1, 2)))
    motion = parts["motion_encoder"]
    x = motion.conv(motion.convcorr2(motion.convcorr1(torch.cat(pairs, dim=1)))).relu()
    resnet = parts["resnet"]
    return resnet.avgpool(resnet.layer4(resnet.layer3(parts["mid_conv"](x)))).flatten(1)


def test_published_parameters_and_macs(published_state):
    with torch.device("meta"):
        model = IMFE(correlation="all_pairs")
    assert count_parameters(published_state) == pytest.approx(29.193e6, abs=1e3)
    assert count_parameters(model) == 25_612_128
    assert count_macs(model, [PUBLISHED]) / 1e9 == pytest.approx(54.54, abs=0.005)


@pytest.mark.slow
@torch.no_grad()
def test_published_checkpoint_gives_the_published_features(published_state, tmp_path):
    model = IMFE(correlation="all_pairs").eval()
    saved = {f"module.{name}": value for name, value in published_state.state_dict().items()}
    torch.save({"epoch": 8, "model": saved, "scaler": {}}, tmp_path / "checkpoint-8.pt")
    load_strict(model, read_weights(tmp_path / "checkpoint-8.pt", model=model))
    clip = torch.randn(PUBLISHED)
    expected = published_forward(published_state, clip)
    assert expected.shape == (1, 2048)
    torch.testing.assert_close(model([clip]), expected, rtol=1e-4, atol=1e-5)


def test_frame_encoder_is_torchvisions(published_state):
    encoder = FrameEncoder().eval()
    encoder.load_state_dict(published_state["feature_encoder"].state_dict(), strict=True)
    frames = torch.randn(2, 3, 40, 64)
    torch.testing.assert_close(encoder(frames), published_state["feature_encoder"](frames), **CLOSE)


def test_another_size_is_refused_by_the_published_form():
    with pytest.raises(ValueError, match=r"built for 64x72.*maps of 8x8.*IMFE.CORRELATION local"):
        small(correlation="all_pairs")([torch.zeros(1, 3, 4, 64, 64)])


# Correlations


def test_all_pairs_are_scaled_dot_products():
    before, after = torch.randn(2, 2, 16, 3, 4).unbind()
    expected = torch.einsum("bcij,bckl->bijkl", before, after).flatten(1, 2) / 4
    torch.testing.assert_close(correlate_all(before, after), expected)


@pytest.mark.parametrize("radius", [0, 1, 3])
def test_local_correlation_equals_a_plain_loop(radius):
    before, after = torch.randn(2, 2, 16, 5, 7, dtype=torch.float64).unbind()
    padded = F.pad(before, (radius,) * 4)
    size = 2 * radius + 1
    expected = [
        (after * padded[..., dy : dy + 5, dx : dx + 7]).sum(1) / 4
        for dy in range(size)
        for dx in range(size)
    ]
    torch.testing.assert_close(correlate_local(before, after, radius), torch.stack(expected, dim=1))


def test_local_correlation_is_part_of_all_pairs():
    before, after = torch.randn(2, 1, 16, 6, 6).unbind()
    local = correlate_local(before, after, 1).view(3, 3, 6, 6)
    full = correlate_all(before, after).view(6, 6, 6, 6)
    for dy, dx in ((-1, -1), (0, 0), (1, 0)):
        torch.testing.assert_close(local[dy + 1, dx + 1, 2, 3], full[2 + dy, 3 + dx, 2, 3])


def test_a_moved_pattern_shows_at_its_offset():
    before = torch.randn(1, 64, 9, 9)
    after = before.roll((1, 2), dims=(2, 3))  # what is at (y, x) was at (y - 1, x - 2)
    best = correlate_local(before, after, 2)[0, :, 4, 4].argmax()
    assert divmod(int(best), 5) == (2 - 1, 2 - 2)


def test_contrasted_maps_correlate_as_cosines():
    maps = 3 + 5 * torch.randn(2, 16, 4, 6)
    same = correlate_local(contrast(maps), contrast(7 * maps + 2), 1)
    torch.testing.assert_close(same[:, 4], torch.ones(2, 4, 6))  # offset (0, 0)
    assert same.abs().max() < 1 + 1e-5
    assert correlate_all(contrast(torch.ones(1, 16, 4, 6)), contrast(maps[:1])).abs().max() == 0


# Form


def test_local_form_takes_any_size_and_needs_a_third_of_the_macs():
    with torch.device("meta"):
        local, full = IMFE(), IMFE(correlation="all_pairs")
    sizes = [(256, 344), (224, 224), (320, 576)]
    macs = [count_macs(local, [(1, 3, 6, *size)]) for size in sizes]
    assert count_macs(full, [PUBLISHED]) / macs[0] > 2.8
    assert macs[1] < macs[0] < macs[2]


@pytest.mark.slow
def test_local_form_is_at_least_half_again_as_fast():
    """By turns: ``tools/benchmark.py --compare`` measures the same, longer."""
    clip = [torch.randn(PUBLISHED)]
    models = {"local": IMFE().eval(), "full": IMFE(correlation="all_pairs").eval()}
    with torch.inference_mode():
        runs = {name: partial(model, clip) for name, model in models.items()}
        timings = time_interleaved(runs, warmup=1, repeats=4)
    assert speedup(timings["full"], timings["local"])["median"] > 1.5


@pytest.mark.slow
@pytest.mark.parametrize("size", [(224, 224), (320, 576)])
@torch.no_grad()
def test_local_form_runs_at_sizes_of_use(size):
    model = IMFE().eval()
    moving, still = torch.randn(2, 1, 3, 6, *size).unbind()
    still = still[:, :, :1].expand_as(still)
    features = torch.cat([model([moving]), model([still])])
    assert features.shape == (2, 2048)
    assert features.isfinite().all()
    assert not torch.allclose(*features, rtol=1e-3)


@torch.no_grad()
def test_local_form_runs_at_several_sizes():
    model = small().eval()
    for size in ((64, 72), (48, 48), (80, 144), (50, 60)):
        assert model([torch.randn(2, 3, 4, *size)]).shape == (2, 2048)


def test_without_classes_features_come_out(model):
    clip = as_clip(frames_of(4))
    features = model.forward_features(clip)
    assert model.num_features == features.shape[1] == 2048
    assert model.classifiers == {}
    assert not any(name.startswith("head") for name in model.state_dict())
    torch.testing.assert_close(model(clip), features)
    torch.testing.assert_close(model.predict(clip), features)


def test_with_classes_it_classifies_the_feature():
    model = small(num_classes={"verb": 7, "noun": 5}).eval()
    clip = as_clip(frames_of(4))
    assert {task: tuple(v.shape) for task, v in model(clip).items()} == {
        "verb": (2, 7),
        "noun": (2, 5),
    }
    assert set(model.classifiers) == {"verb", "noun"}
    torch.testing.assert_close(model.predict(clip)["verb"].sum(-1), torch.ones(2))


@pytest.mark.parametrize("correlation", WIDTHS)
def test_no_parameter_is_dead(correlation):
    model = small(correlation=correlation, num_classes=3, dropout=0.0)
    model(as_clip(frames_of(4))).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    # A bias before a batch norm is cancelled by it: zero but for rounding.
    silent = {name for name, p in model.named_parameters() if not p.grad.abs().sum() > 0}
    assert all(name.startswith("feature_encoder") and "bias" in name for name in silent)


def test_frames_in_another_order_give_another_feature(model):
    frames = frames_of(4)
    forward, backward = model(as_clip(frames)), model(as_clip(frames.flip(0)))
    assert not torch.allclose(forward, backward, rtol=1e-3)


def test_unfit_arguments_are_named():
    with pytest.raises(ValueError, match=r"IMFE.CORRELATION is 'global'"):
        IMFE(correlation="global")
    with pytest.raises(ValueError, match=r"DATA.NUM_FRAMES is 1"):
        IMFE(num_frames=1)


def test_imagenet_weights_of_the_end_come_from_a_file(tmp_path):
    state = torchvision_models("").resnet50().state_dict()
    state["layer4.2.bn3.bias"] = torch.full((2048,), 0.5)
    torch.save(state, tmp_path / "resnet50.pth")
    model = small(pretrained=str(tmp_path / "resnet50.pth"))
    assert (model.resnet.get_submodule("layer4.2.bn3").bias == 0.5).all()


def test_saves_and_loads(model, tmp_path):
    other = small(correlation=model.correlation).eval()
    torch.save(model.state_dict(), tmp_path / "model.pyth")
    other.load_state_dict(torch.load(tmp_path / "model.pyth", weights_only=True))
    clip = as_clip(frames_of(4))
    torch.testing.assert_close(other(clip), model(clip), rtol=0, atol=0)


# Cached windows


def test_window_costs_a_quarter_of_a_published_clip():
    with torch.device("meta"):
        model = IMFE(correlation="all_pairs")
    maps = (1, 256, 32, 43)
    parts = [
        (lambda x: model.frame_features(x[0]), [(1, 3, 256, 344)]),
        (lambda x: model.pair_features(*x), [maps, maps]),
        (lambda x: model.window_features(x[0]), [(1, 5, 128, 32, 43)]),
    ]
    macs = sum(count_macs(Part(model, function), shapes) for function, shapes in parts)
    assert macs / count_macs(model, [PUBLISHED]) < 0.26


class Part(nn.Module):
    """One step of a model as a module."""

    def __init__(self, model, function):
        super().__init__()
        self.model, self.function = model, function

    def forward(self, inputs):
        return self.function(inputs)


@pytest.mark.parametrize("batch", [2, 16])
@torch.no_grad()
def test_features_of_a_video_equal_those_clip_by_clip(model, batch):
    frames = frames_of(9, batch=1)
    clips = [[0, 0, 1, 2], [1, 2, 3, 4], [2, 3, 4, 5], [5, 6, 7, 8]]
    expected = torch.cat([model(as_clip(frames[clip])) for clip in clips])
    features = CachedWindows(model, lambda numbers: frames[numbers, 0], batch=batch)
    torch.testing.assert_close(features(clips), expected, **CLOSE)
    features = CachedWindows(model, lambda numbers: frames[numbers, 0], batch=batch)
    found = torch.cat([features(clips[:1]), features(clips[1:3]), features(clips[3:])])
    torch.testing.assert_close(found, expected, **CLOSE)


def test_frames_and_pairs_shared_by_clips_are_computed_once(model):
    frames, calls = frames_of(9, batch=1), []
    for part in (model.feature_encoder, model.compress_conv):
        part.register_forward_hook(lambda module, _, out: calls.append((type(module), len(out))))
    features = CachedWindows(model, lambda numbers: frames[numbers, 0])
    features([[0, 1, 2, 3], [1, 2, 3, 4]])
    features([[2, 3, 4, 5]])
    assert calls == [(FrameEncoder, 5), (nn.Conv2d, 4), (FrameEncoder, 1), (nn.Conv2d, 1)]
    assert min(features._frames.values) == 2  # older ones are forgotten


# Configs


@pytest.mark.parametrize(
    ("name", "parameters"), [("IMFE_6x1", 25_612_128), ("IMFE_LOCAL_6x1", 23_548_930)]
)
def test_shipped_configs(name, parameters):
    cfg = load_cfg(CONFIGS / f"{name}.yaml")
    with torch.device("meta"):
        model = IMFE.from_cfg(cfg)
    assert count_parameters(model) == parameters
    assert model.classifiers == {}


def test_rates_of_the_shipped_configs_are_the_published_decay():
    solver = load_cfg(CONFIGS / "IMFE_6x1.yaml").SOLVER
    rates = dict(zip(solver.STEPS, solver.LRS, strict=True))
    assert len(rates) == 5 * solver.MAX_EPOCH
    for epoch in range(solver.MAX_EPOCH):
        assert rates[epoch] == pytest.approx(0.59049**epoch, rel=1e-4)
