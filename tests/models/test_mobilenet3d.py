"""MobileNet-3D: published counts and names, clip lengths, tasks."""

from pathlib import Path

import pytest
import torch
from torch import nn

from slowfast.config import load_cfg
from slowfast.deploy.profile import count_macs, count_parameters
from slowfast.models.mobilenet3d import MobileNet3D, default_temporal_strides

CONFIGS = Path(__file__).parents[2] / "configs" / "MECCANO"
TASKS = {"verb": 7, "noun": 5}


def tiny(num_classes=4, **options):
    return MobileNet3D(num_classes=num_classes, width_mult=0.125, **options)


def lengths(model, num_frames):
    """Frames after every module of ``features``."""
    seen = []
    hooks = [
        module.register_forward_hook(lambda _, __, out: seen.append(out.shape[2]))
        for module in model.features
    ]
    model.eval().forward_features([torch.zeros(1, 3, num_frames, 32, 32)])
    for hook in hooks:
        hook.remove()
    return seen


def test_published_parameters_and_macs():
    with torch.device("meta"):
        model = MobileNet3D(num_classes=61)
    assert count_parameters(model) == 3_360_509
    assert count_macs(model, [(1, 3, 16, 224, 224)]) / 1e9 == pytest.approx(0.883, abs=5e-4)
    assert count_macs(model, [(1, 3, 16, 256, 256)]) / 1e9 == pytest.approx(1.153, abs=5e-4)


def test_published_names():
    names = set(tiny().state_dict())
    assert {"features.0.0.weight", "features.0.1.running_mean", "classifier.1.bias"} <= names
    for i in range(1, 14):
        parts = ("conv1.weight", "bn1.weight", "conv2.weight", "bn2.running_var")
        assert {f"features.{i}.{part}" for part in parts} <= names
    assert not any(name.startswith("features.14") for name in names)


def test_blocks_begin_near_the_identity():
    for block in MobileNet3D(num_classes=4).features[1:]:
        taps = block.conv1.weight.detach().flatten(1)  # (C, 27)
        middle = taps[:, 13]
        around = torch.cat([taps[:, :13], taps[:, 14:]], dim=1)
        assert middle.mean() == pytest.approx(1, abs=0.2)
        assert around.mean() == pytest.approx(0, abs=0.05)
        assert around.std() == pytest.approx(0.2, rel=0.1)


def test_forward_gives_logits_in_both_modes():
    model = tiny()
    with torch.no_grad():
        model.classifier[1].bias += 5.0
    clip = [torch.randn(2, 3, 8, 32, 32)]
    for mode in (True, False):
        logits = model.train(mode)(clip)
        assert not torch.allclose(logits.sum(-1), torch.ones(2), atol=0.5)
    torch.testing.assert_close(model.predict(clip), model(clip).softmax(-1))


@pytest.mark.parametrize(
    ("num_frames", "strides"),
    [(32, (2, 2, 2, 2)), (16, (2, 2, 2, 2)), (8, (1, 2, 2, 2)), (4, (1, 1, 2, 2)), (1, (1,) * 4)],
)
def test_temporal_strides_follow_the_clip(num_frames, strides):
    assert default_temporal_strides(num_frames) == strides


def test_eight_frames_have_the_lengths_of_sixteen_from_the_second_group_on():
    long, short = lengths(tiny(num_frames=16), 16), lengths(tiny(num_frames=8), 8)
    assert long == [16, 8, 4, 4, 2, 2] + [1] * 8
    assert short == [8, 8, 4, 4, 2, 2] + [1] * 8


def test_strides_change_no_weight_and_published_ones_can_be_had():
    published = tiny(num_frames=8, temporal_strides=(2, 2, 2, 2))
    published.load_state_dict(tiny(num_frames=8).state_dict())
    assert lengths(published, 8) == [8, 4, 2, 2] + [1] * 10


@pytest.mark.parametrize("strides", [(2, 2, 2), (2, 2, 2, 3)])
def test_unfit_strides_are_refused(strides):
    with pytest.raises(ValueError, match=r"MOBILENET.TEMPORAL_STRIDES"):
        tiny(temporal_strides=strides)


def test_width_multiplier_scales_every_layer():
    half = MobileNet3D(num_classes=4, width_mult=0.5)
    assert half.num_features == 512
    assert half.features[0][0].out_channels == 16


def test_several_tasks_and_one_named_task():
    model = tiny(TASKS)
    logits = model([torch.randn(2, 3, 8, 32, 32)])
    assert {task: tuple(value.shape) for task, value in logits.items()} == {
        "verb": (2, 7),
        "noun": (2, 5),
    }
    assert {task: layer.out_features for task, layer in model.classifiers.items()} == TASKS
    named = tiny({"verb": 7})
    assert list(named.classifiers) == ["verb"]
    assert named([torch.randn(2, 3, 8, 32, 32)]).shape == (2, 7)


def test_a_replaced_classifier_is_used():
    model = tiny()
    model.classifier[1] = nn.Linear(model.num_features, 9)
    assert model.classifiers["action"].out_features == 9
    assert model([torch.randn(2, 3, 8, 32, 32)]).shape == (2, 9)


def test_probing_trains_the_classifier_only():
    model = tiny(detach_head=True)
    model([torch.randn(2, 3, 8, 32, 32)]).sum().backward()
    with_gradient = {name for name, p in model.named_parameters() if p.grad is not None}
    assert with_gradient == {"classifier.1.weight", "classifier.1.bias"}


@pytest.mark.parametrize(("name", "first_stride"), [("MOBILE_16x2", 2), ("MOBILE_8x8", 1)])
def test_shipped_configs(name, first_stride):
    cfg = load_cfg(CONFIGS / f"{name}.yaml")
    with torch.device("meta"):
        model = MobileNet3D.from_cfg(cfg)
    assert count_parameters(model) == 3_360_509
    assert model.features[1].conv1.stride[0] == first_stride
    assert model.classifier[0].p == 0.2
