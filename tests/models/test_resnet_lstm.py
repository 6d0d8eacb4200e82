"""ResNet+LSTM: published counts, pretrained weights, frozen BN, windows and streams."""

import copy
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import torch
from torch import nn

from slowfast.checkpoint.convert import read_weights
from slowfast.checkpoint.match import load_strict
from slowfast.config import load_cfg
from slowfast.deploy.profile import count_macs, count_parameters
from slowfast.models.layers.batchnorm import FrozenBatchNorm2d
from slowfast.models.layers.image_resnet import BLOCKS, ImageResNet, Keypoints
from slowfast.models.layers.resnet2d import PretrainedError
from slowfast.models.resnet_lstm import ResNetLSTM
from slowfast.models.windows import CachedWindows
from slowfast.utils import vision
from slowfast.utils.optional import require

CONFIGS = Path(__file__).parents[2] / "configs" / "EPIC-KITCHENS"
EPIC = {"verb": 97, "noun": 300}
TASKS = {"verb": 7, "noun": 5}
SIZE = 32
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def tiny(num_classes=4, **options):
    return ResNetLSTM(num_classes=num_classes, depth=18, hidden_size=16, fc_std=1.0, **options)


def stream(num_frames=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num_frames, 2, 3, SIZE, SIZE, generator=generator)  # (T, B, 3, H, W)


def as_clip(frames):
    return [frames.permute(1, 2, 0, 3, 4)]


@pytest.fixture
def weights(tmp_path):
    """A file of ResNet-18 weights, told from fresh ones by their values."""
    state = ImageResNet(18).state_dict() | {
        "fc.weight": torch.zeros(1000, 512),
        "fc.bias": torch.ones(9),
    }
    state["conv1.weight"] = torch.full_like(state["conv1.weight"], 0.25)
    torch.save(state, tmp_path / "resnet18.pth")
    return tmp_path / "resnet18.pth"


# Published figures


@pytest.mark.parametrize(
    ("hidden", "parameters", "mib"), [(1024, 74_685_901, 285.2), (512, 40_708_557, 155.5)]
)
def test_published_parameters_and_file_size(hidden, parameters, mib):
    with torch.device("meta"):
        model = ResNetLSTM(num_classes=EPIC, hidden_size=hidden)
    assert count_parameters(model) == parameters
    size = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    assert size / 2**20 == pytest.approx(mib, abs=0.1)


@pytest.mark.parametrize(("num_frames", "gmacs"), [(16, 66.2), (32, 132.4)])
def test_published_macs(num_frames, gmacs):
    with torch.device("meta"):
        model = ResNetLSTM(num_classes=EPIC)
    macs = count_macs(model, [(1, 3, num_frames, 224, 224)])
    assert macs / 1e9 == pytest.approx(gmacs, abs=0.05)


def test_a_window_costs_a_thirteenth_of_recomputing():
    with torch.device("meta"):
        model = ResNetLSTM(num_classes=EPIC)
    clip = count_macs(model, [(1, 3, 16, 224, 224)])
    frame = count_macs(Part(model, model.frame_features), [(1, 3, 224, 224)])
    window = count_macs(Part(model, model.window_features), [(1, 16, 2048)])
    assert (frame + window) / 1e9 == pytest.approx(4.9, abs=0.05)
    assert clip / (frame + window) > 13


class Part(nn.Module):
    """One step of a model as a module over ``[input]``."""

    def __init__(self, model, function):
        super().__init__()
        self.model, self.function = model, function

    def forward(self, inputs):
        return self.function(inputs[0])


@pytest.mark.parametrize("num_frames", [16, 32])
def test_shipped_configs(num_frames):
    cfg = load_cfg(CONFIGS / f"RESNET50_LSTM_{num_frames}.yaml")
    with torch.device("meta"):
        model = ResNetLSTM.from_cfg(cfg)
    assert num_frames == cfg.DATA.NUM_FRAMES
    assert cfg.TRAIN.BATCH_SIZE * cfg.SOLVER.ACCUMULATE_STEPS == 100
    assert count_parameters(model) == 74_685_901
    assert model.pending == "imagenet"
    assert isinstance(model.backbone.bn1, FrozenBatchNorm2d)


def test_shipped_stream_config_runs_frame_by_frame():
    cfg = load_cfg(CONFIGS / "RESNET50_LSTM_STREAM.yaml")
    with torch.device("meta"):
        model = ResNetLSTM.from_cfg(cfg)
        logits, _ = model.eval().step(torch.empty(1, 3, 224, 224))
    assert {task: value.shape[1] for task, value in logits.items()} == EPIC
    assert count_parameters(model) == 44_902_861


@pytest.mark.parametrize("place", ["", "1."])
def test_published_checkpoint_layout_loads(tmp_path, place):
    model = tiny(TASKS)
    names = {
        "lstm.": "temporal.",
        "head.projection_verb.": f"verb_head.{place}",
        "head.projection_noun.": f"noun_head.{place}",
    }
    published = {}
    for name, value in model.state_dict().items():
        ours = next((prefix for prefix in names if name.startswith(prefix)), None)
        new = name if ours is None else names[ours] + name.removeprefix(ours)
        published[f"module.{new}"] = value
    torch.save({"model_state": published, "epoch": 3}, tmp_path / "best_model.pth")
    other = tiny(TASKS)
    load_strict(other, read_weights(tmp_path / "best_model.pth", model=other))
    torch.testing.assert_close(other.state_dict(), model.state_dict(), rtol=0, atol=0)


# Form


def test_tasks_gradients_and_a_second_crop():
    model = tiny(TASKS, dropout=0.0)
    for size in (SIZE, 48):
        logits = model([torch.randn(2, 3, 3, size, size)])
        assert {task: tuple(value.shape) for task, value in logits.items()} == {
            "verb": (2, 7),
            "noun": (2, 5),
        }
    sum(value.square().sum() for value in logits.values()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_each_frame_goes_through_the_image_network_by_itself():
    model, frames = tiny().eval(), stream(3)
    features = torch.stack([model.frame_features(frame) for frame in frames], dim=1)
    expected = model.forward_head(model.window_features(features))
    torch.testing.assert_close(model(as_clip(frames)), expected, **CLOSE)


@pytest.mark.parametrize("depth", BLOCKS)
def test_backbone_has_torchvisions_parameters(depth):
    vision.functional()
    models = require("torchvision.models", extra="video")
    with torch.device("meta"):
        theirs, ours = getattr(models, f"resnet{depth}")(), ImageResNet(depth)
    shapes = {k: v.shape for k, v in theirs.state_dict().items() if not k.startswith("fc.")}
    assert {k: v.shape for k, v in ours.state_dict().items()} == shapes
    assert ours.num_features == theirs.fc.in_features


@pytest.mark.parametrize("depth", [18, 50])
def test_backbone_is_torchvisions(depth):
    vision.functional()
    theirs = getattr(require("torchvision.models", extra="video"), f"resnet{depth}")()
    theirs.fc = nn.Identity()
    ours, frames = ImageResNet(depth), torch.randn(2, 3, 70, 64)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    for training in (True, False):  # also the running statistics that the first pass leaves
        torch.testing.assert_close(
            ours.train(training)(frames), theirs.train(training)(frames), **CLOSE
        )


def test_unknown_depth_is_named():
    with pytest.raises(ValueError, match=r"RESNET.DEPTH is 20"):
        ImageResNet(20)


def test_activation_checkpointing_changes_no_gradient():
    plain = tiny(dropout=0.0, lstm_dropout=0.0)
    saving = copy.deepcopy(plain)
    saving.act_checkpoint = True
    clip = [torch.randn(2, 3, 2, SIZE, SIZE)]
    for model in (plain, saving):
        model(clip).square().sum().backward()
    for (name, expected), found in zip(plain.named_parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(found.grad, expected.grad, msg=name)
    torch.testing.assert_close(saving.state_dict(), plain.state_dict())


# Frozen batch norm


def test_frozen_batch_norm_stays_through_training_steps():
    model = tiny(frozen_bn=True).train()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    before = {k: v.clone() for k, v in model.backbone.state_dict().items() if "bn" in k}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model([torch.randn(2, 3, 2, SIZE, SIZE)]).square().sum().backward()
        optimizer.step()
        model.train()
    assert len(norms) == 20
    assert all(isinstance(norm, FrozenBatchNorm2d) for norm in norms)
    after = model.backbone.state_dict()
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=0)


def test_frozen_batch_norm_is_the_same_in_both_modes():
    model = tiny(frozen_bn=True, dropout=0.0, lstm_dropout=0.0)
    clip = [torch.randn(1, 3, 2, SIZE, SIZE)]
    torch.testing.assert_close(model.train()(clip), model.eval()(clip))


# Pretrained weights


def test_pretrained_weights_come_from_a_file(weights):
    model = tiny(pretrained=str(weights))
    assert (model.backbone.conv1.weight == 0.25).all()


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(PretrainedError, match=r"no such file.*URL.*'imagenet'"):
        tiny(pretrained=str(tmp_path / "none.pth"))


def test_a_broken_file_is_named(tmp_path):
    (tmp_path / "broken.pth").write_bytes(b"not weights")
    with pytest.raises(PretrainedError, match=r"broken.pth cannot be read"):
        tiny(pretrained=str(tmp_path / "broken.pth"))


def test_weights_of_another_depth_do_not_fit(weights):
    with pytest.raises(PretrainedError, match=r"does not fit.*resnet34"):
        ResNetLSTM(num_classes=4, depth=34, hidden_size=8, pretrained=str(weights))


def test_no_network_is_said_with_the_way_around_it(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    asked = []

    def refuse(url, **options):
        asked.append(url)
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    for source in ("imagenet", "https://example.org/weights.pth"):
        with pytest.raises(
            PretrainedError, match=r"cannot be downloaded.*no network.*give its path.*checkpoints/"
        ):
            tiny(pretrained=source)
    assert "resnet18" in asked[0]
    assert asked[1] == "https://example.org/weights.pth"


def test_training_without_the_weights_asked_for_is_an_error(weights):
    model = tiny()
    model.expect_pretrained(str(weights))
    clip = [torch.randn(2, 3, 2, SIZE, SIZE)]
    model.eval()(clip)  # timing and tracing need no weights
    with pytest.raises(PretrainedError, match="before its image weights are loaded"):
        model.train()(clip)
    model.load_pretrained()
    assert (model.backbone.conv1.weight == 0.25).all()
    model(clip)


def test_a_checkpoint_takes_the_place_of_the_weights_asked_for(weights):
    model = tiny()
    model.expect_pretrained(str(weights))
    head_only = {k: v for k, v in model.state_dict().items() if k.startswith("head")}
    model.load_state_dict(head_only, strict=False)
    assert model.pending
    model.load_state_dict(tiny().state_dict())
    assert not model.pending
    model([torch.randn(2, 3, 2, SIZE, SIZE)])


# Windows and streams


@torch.no_grad()
def test_features_of_a_video_equal_those_clip_by_clip():
    model, frames, calls = tiny().eval(), stream(), []
    model.backbone.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    features = CachedWindows(model, lambda numbers: frames[numbers, 0], batch=4)
    windows = [[0, 0, 1], [0, 1, 2], [2, 3, 4], [4, 5, 6]]
    found = torch.cat([features(windows[:2]), features(windows[2:])])
    assert sum(calls) == 7
    expected = [model.forward_features(as_clip(frames[window][:, :1])) for window in windows]
    torch.testing.assert_close(found, torch.cat(expected), **CLOSE)


def test_window_needs_evaluation_mode():
    with pytest.raises(ValueError, match=r"model.eval\(\)"):
        CachedWindows(tiny().train(), lambda numbers: stream()[numbers, 0])


def test_stream_equals_the_clip_so_far():
    model, frames = tiny(TASKS, bidirectional=False, pool="last").eval(), stream()
    state = None
    with torch.no_grad():
        for i, frame in enumerate(frames):
            logits, state = model.step(frame, state)
            torch.testing.assert_close(logits, model(as_clip(frames[: i + 1])), **CLOSE)
    assert [tuple(part.shape) for part in state] == [(2, 2, 16)] * 2


def test_only_a_causal_model_streams():
    with pytest.raises(ValueError, match=r"use slowfast\.models\.streaming\.to_streaming"):
        tiny().step(torch.zeros(1, 3, SIZE, SIZE))
    with pytest.raises(ValueError, match=r"LSTM.POOL last does not go with LSTM.BIDIRECTIONAL"):
        tiny(pool="last")
    with pytest.raises(ValueError, match=r"LSTM.POOL is 'max'"):
        tiny(pool="max")


def test_keypoints_say_where_things_are():
    """One bright position: its coordinates, and nothing around; a flat channel: the middle."""
    points = Keypoints(2)
    maps = torch.zeros(1, 2, 3, 5)
    maps[0, 0, 2, 1] = 50
    x, y, spread_x, spread_y = points(maps).view(4, 2)
    torch.testing.assert_close(x, torch.tensor([-0.5, 0.0]))
    torch.testing.assert_close(y, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(spread_x, torch.tensor([0.0, 0.5]))  # mean of 1, 1/4, 0, 1/4, 1
    torch.testing.assert_close(spread_y, torch.tensor([0.0, 2 / 3]))


def test_few_stages_with_keypoints():
    backbone = ImageResNet(18, 8, stages=2, keypoints=True).eval()
    frames = torch.randn(2, 3, 64, 48)
    assert backbone(frames).shape == (2, backbone.num_features) == (2, 5 * 16)
    whole = ImageResNet(18, 8).eval()
    whole.load_state_dict(backbone.state_dict(), strict=False)
    maps = whole.layer2(whole.layer1(whole.stem(frames)))
    torch.testing.assert_close(backbone(frames)[:, :16], maps.mean(dim=(2, 3)))
    model = ResNetLSTM(num_classes=4, depth=18, width=8, stages=2, keypoints=True, hidden_size=8)
    model([torch.randn(2, 3, 2, 64, 64)]).sum().backward()
    assert model.backbone.keypoints.sharpness.grad.abs().min() > 0
