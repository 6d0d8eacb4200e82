"""Grad-CAM: its maths against closed forms, every family, and nothing left behind."""

import importlib.util

import pytest
import torch
from torch import nn
from torch.nn import functional

from slowfast.models import MODELS
from slowfast.models.base import ClipModel
from slowfast.models.layers.head import Classifier
from slowfast.models.tiny import TinyNet
from slowfast.reports.gradcam.explain import cam, explain
from slowfast.reports.gradcam.layers import (
    LayerError,
    check_layer,
    default_layer,
    find_layers,
    near_names,
)
from slowfast.reports.gradcam.maps import has_class_token, maps_of, with_tensors
from slowfast.utils.errors import UserError
from tests.compression.pruning import families

# --- maths


class Known(ClipModel):
    """One convolution of one weight per channel, without bias; average pool; linear."""

    num_features = 2

    def __init__(self, per_frame=False):
        super().__init__()
        kind = nn.Conv2d if per_frame else nn.Conv3d
        self.per_frame = per_frame
        self.conv = kind(1, 2, 1, bias=False)
        self.act = nn.ReLU(inplace=True)
        self.head = Classifier()
        self.head.add_classifiers(2, 2)
        with torch.no_grad():
            self.conv.weight.copy_(torch.tensor([2.0, -1.0]).view_as(self.conv.weight))
            self.head.projection.weight.copy_(torch.tensor([[3.0, 1.0], [-1.0, 4.0]]))
            self.head.projection.bias.zero_()

    @property
    def classifiers(self):
        return self.head.classifiers

    def forward_features(self, clips):
        (x,) = clips
        if self.per_frame:
            frames = x.transpose(1, 2)
            maps = self.act(self.conv(frames.flatten(0, 1)))
            return maps.view(*frames.shape[:2], *maps.shape[1:]).mean(dim=(1, 3, 4))
        return self.act(self.conv(x)).mean(dim=(2, 3, 4))

    def forward_head(self, features):
        return self.head.classify(features)


def signs():
    """A clip ``(1, 1, 2, 2, 2)``, positive in some places and negative in others."""
    return torch.tensor([1.0, -2.0, 3.0, 0.0, -1.0, 0.5, -4.0, 2.0]).view(1, 1, 2, 2, 2)


@pytest.mark.parametrize("per_frame", [False, True])
def test_closed_form_after_the_activation(per_frame):
    """Maps are relu(2x) and relu(-x), their slopes the classifier's weights over 8 positions."""
    x = signs()
    for number, (first, second) in enumerate([(3.0, 1.0), (-1.0, 4.0)]):
        found = explain(Known(per_frame), [x], layers=["act"], classes={"action": number})
        expected = (first * (2 * x).relu() + second * (-x).relu()).relu()[:, 0] / 8
        torch.testing.assert_close(found.heats[0].maps["action"], expected)


@pytest.mark.parametrize("per_frame", [False, True])
def test_closed_form_before_an_activation_that_works_in_place(per_frame):
    """Maps are 2x and -x themselves; only where they are positive there is a slope."""
    x = signs()
    found = explain(Known(per_frame), [x], layers=["conv"], classes={"action": 0})
    slopes = 3 / 8 * (x > 0).float().mean(), 1 / 8 * (x < 0).float().mean()
    expected = (slopes[0] * 2 * x - slopes[1] * x).relu()[:, 0]
    torch.testing.assert_close(found.heats[0].maps["action"], expected)


def test_cam_weighs_channels_by_their_mean_gradient():
    maps = torch.tensor([[1.0, 2.0], [3.0, -1.0]]).view(1, 2, 1, 1, 2)
    gradients = torch.tensor([[1.0, 3.0], [-2.0, 0.0]]).view(1, 2, 1, 1, 2)
    # weights 2 and -1: 2*1 - 3 = -1 -> 0, and 2*2 + 1 = 5
    torch.testing.assert_close(cam(maps, gradients), torch.tensor([0.0, 5.0]).view(1, 1, 1, 2))


def test_heat_on_the_clip_is_from_0_to_1_and_stays_in_place():
    x = torch.zeros(2, 1, 4, 8, 8)
    x[0, 0, 2, 1, 6] = 1.0
    found = explain(Known(), [x], layers=["act"], classes={"action": 0})
    heat = found.heats[0].on_clip("action", (4, 16, 16))
    assert heat.shape == (2, 4, 16, 16)
    assert float(heat[0].max()) == 1.0
    t, y, x = (int(i[0]) for i in torch.where(heat[0] == heat[0].max()))
    assert (t, y // 2, x // 2) == (2, 1, 6)
    assert not heat[1].any()  # no evidence anywhere


@pytest.mark.parametrize("name", ["TinyNet", "ResNet", "SlowFast", "MobileNet"])
def test_is_cam_where_a_pooled_map_is_classified(name):
    """Zhou et al. 2016: the heat is the classifier's weights on the maps, over their positions."""
    model, clips = families.build(name), [larger(clip) for clip in families.clips(name)]
    found = explain(model, clips, classes={"action": 3})
    (weights,) = (layer.weight[3].detach() for layer in model.classifiers.values())
    (maps,) = found.features.values()
    parts = weights.split([x.shape[1] for x in maps])  # slow channels first
    for heat, values, part in zip(found.heats, maps, parts, strict=True):
        positions = values[0, 0].numel()
        expected = torch.einsum("bcthw,c->bthw", values, part).relu() / positions
        torch.testing.assert_close(heat.maps["action"], expected, rtol=1e-4, atol=1e-7)


# --- every family


def larger(clip, side=64):
    return functional.interpolate(clip, size=(clip.shape[2], side, side), mode="nearest")


def network(name):
    if families.NETWORKS[name][0].startswith("PTV") and not importlib.util.find_spec(
        "pytorchvideo"
    ):
        pytest.skip("PyTorchVideo is not installed")
    model, clips = families.build(name), families.clips(name)
    fixed = name in ("PTVMViT", "all pairs")
    return model, clips if fixed else [larger(clip) for clip in clips]


DEFAULT = {
    "SlowFast": "s5", "ResNet": "s5", "X3D": "s5", "MobileNet": "features",
    "ResNetLSTM": "backbone.layer4", "IMFE": "resnet", "MobileNetV3": "backbone",
    "TinyNet": "features", "PTVResNet": "model.blocks.4", "PTVSlowFast": "model.blocks.4",
    "PTVX3D": "model.blocks.4", "PTVCSN": "model.blocks.4", "PTVR2plus1D": "model.blocks.4",
    "PTVMViT": "model.blocks.0", "non-local": "s5", "groups": "s5", "groups of X3D": "s5",
    "local-global diffusion": "backbone", "one-way LSTM": "backbone.layer4",
    "all pairs": "resnet.layer3", "two tasks": "s5",
    "linear probing": "s5",
}  # fmt: skip


def test_every_model_is_here():
    assert {families.NETWORKS[name][0] for name in DEFAULT} == set(MODELS)
    assert len(set(MODELS)) >= 14


NORMS = (nn.BatchNorm3d, nn.BatchNorm2d, nn.LayerNorm)


def snapshot(model):
    """Everything that explaining could leave behind."""
    return (
        [(name, module.training) for name, module in model.named_modules()],
        [(name, p.requires_grad, p.grad) for name, p in model.named_parameters()],
        {name: value.clone() for name, value in model.state_dict().items()},
        [(len(m._forward_hooks), len(m._backward_hooks)) for m in model.modules()],
        [getattr(m, "detach", None) for m in model.modules()],
    )


def assert_untouched(model, before):
    after = snapshot(model)
    for i in (0, 1, 3, 4):
        assert before[i] == after[i]
    assert all(torch.equal(before[2][name], value) for name, value in after[2].items())


@pytest.mark.parametrize("name", families.NETWORKS)
def test_every_family_shows_every_pathway_and_task_and_is_left_alone(name):
    torch.manual_seed(0)
    model, clips = network(name)
    model.train()
    next(
        m for m in model.modules() if isinstance(m, nn.modules.batchnorm._NormBase | nn.LayerNorm)
    ).eval()
    copies = [clip.clone() for clip in clips]
    before = snapshot(model)
    with torch.no_grad():  # as in predict
        found = explain(model, clips)
    assert_untouched(model, before)
    assert all(
        torch.equal(a, b) and not a.requires_grad for a, b in zip(clips, copies, strict=True)
    )
    assert set(found.features) == {DEFAULT.get(name, *found.features)}
    assert [heat.pathway for heat in found.heats] == list(range(len(clips)))
    with torch.no_grad():
        scores = model.eval().predict(clips)
    scores = scores if isinstance(scores, dict) else {next(iter(model.classifiers)): scores}
    assert set(found.scores) == set(scores) == set(model.classifiers)
    for task, value in scores.items():
        torch.testing.assert_close(found.scores[task], value)
        assert found.classes[task].tolist() == value.argmax(1).tolist()
        for heat, clip in zip(found.heats, clips, strict=True):
            assert heat.maps[task].shape[2] * heat.maps[task].shape[3] > 1
            on_clip = heat.on_clip(task, clip.shape[2:])
            assert on_clip.shape == (len(clip), *clip.shape[2:])
            assert on_clip.isfinite().all()
            assert 0 <= float(on_clip.min()) <= float(on_clip.max()) <= 1


@pytest.mark.parametrize("name", ["SlowFast", "ResNetLSTM", "MobileNetV3", "PTVMViT", "IMFE"])
def test_slopes_are_those_of_finite_differences(name):
    """Of the logit, when a layer's map of one pathway is moved a little."""
    torch.manual_seed(0)
    model, clips = network(name)
    model.double()
    clips = [clip[:1].double() for clip in clips]
    layer = default_layer(model, clips)
    captured = {}

    def moved(step):
        def hook(module, inputs, output):
            parts = [x.clone() for x in tensors(output)]
            parts[0] = parts[0] + step * captured.setdefault("way", torch.randn_like(parts[0]))
            return with_tensors(output, parts)

        handle = model.get_submodule(layer).register_forward_hook(hook)
        with torch.no_grad():
            logits = model(clips)
        handle.remove()
        return logits[0, 0]

    step = 1e-6
    numeric = (moved(step) - moved(-step)) / (2 * step)
    from slowfast.reports.gradcam import explain as module

    seen = {}
    original = module._gradients

    def spy(score, found):
        seen["slope"] = original(score, found)
        return seen["slope"]

    module._gradients = spy
    try:
        explain(model, clips, classes={"action": 0})
    finally:
        module._gradients = original
    analytic = (seen["slope"][layer][0] * captured["way"]).sum()
    torch.testing.assert_close(analytic, numeric, rtol=1e-4, atol=1e-9)
    assert analytic != 0


def tensors(output):
    from slowfast.reports.gradcam.maps import tensors_of

    return tensors_of(output)


def test_frozen_networks_and_inference_mode():
    model = TinyNet(num_classes=4).eval()
    clip = torch.randn(1, 3, 4, 16, 16)
    expected = explain(model, [clip]).heats[0].maps["action"]
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with torch.inference_mode():
        found = explain(model, [clip.clone()]).heats[0].maps["action"]
    torch.testing.assert_close(found, expected)
    assert expected.max() > 0


def test_an_error_leaves_the_network_alone_too():
    model = families.build("linear probing").train()
    before = snapshot(model)
    with pytest.raises(UserError, match="no class 9 of 'action': they are numbered 0 to 4"):
        explain(model, [larger(clip) for clip in families.clips("linear probing")],
                classes={"action": 9})  # fmt: skip
    assert_untouched(model, before)


def test_a_network_without_classes_is_refused():
    from slowfast.models.imfe import IMFE

    model = IMFE(depth=18, widths=(8, 8, 12, 16), num_frames=3)
    with pytest.raises(UserError, match="features and no classes"):
        explain(model, [torch.randn(1, 3, 3, 64, 64)])


# --- layers


def test_layers_by_name():
    model, clips = network("SlowFast")
    assert check_layer(model, clips, "s5/pathway0_res1") == "s5.pathway0_res1"
    found = explain(model, clips, layers=["s4.pathway1_res1", "s5.pathway0_res1"])
    assert [(heat.pathway, heat.layer) for heat in found.heats] == [
        (0, "s5.pathway0_res1"), (1, "s4.pathway1_res1"),
    ]  # fmt: skip
    whole = explain(model, clips).heats[0].maps["action"]
    torch.testing.assert_close(found.heats[0].maps["action"], whole)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("s55", r"target layer 's55' of SlowFast is not one of its layers: try one of s5"),
        ("s5.pathway0_rs1", r"is not one of its layers: try one of s5\.pathway0_res1"),
        ("head.projection", r"'head\.projection' of SlowFast gives no maps with space in them"),
    ],
)
def test_wrong_layers(name, message):
    model, clips = network("SlowFast")
    with pytest.raises(LayerError, match=message):
        check_layer(model, clips, name)


def test_no_layer_has_space():
    with pytest.raises(LayerError, match=r"of 1x1 clips.*DATA\.TEST_CROP_SIZE"):
        default_layer(TinyNet(num_classes=4), [torch.randn(1, 3, 4, 1, 1)])


def test_layers_are_found_in_order():
    names = [
        layer.name for layer in find_layers(TinyNet(num_classes=4), [torch.randn(1, 3, 4, 8, 8)])
    ]
    assert names == [*(f"features.{i}" for i in range(6)), "features"]


def test_near_names_begin_with_the_most_alike():
    assert near_names("layr4", ["conv1", "layer3", "layer4"])[0] == "layer4"


# --- forms of maps


def test_forms_of_maps():
    clip, frames = torch.randn(2, 3, 4, 5, 6), torch.randn(8, 3, 5, 6)
    (found,) = maps_of(frames, 2)
    assert found.shape == clip.shape
    torch.testing.assert_close(found[1, :, 2], frames[6])
    assert maps_of([clip, frames], 2, 2)[0] is clip
    assert maps_of([clip, frames], 2, 1) == []
    assert maps_of(torch.randn(3, 4), 2) == maps_of(None, 2) == maps_of((clip, None), 2) == []
    tokens = (torch.arange(2 * 13 * 3.0).view(2, 13, 3), [2, 2, 3])
    assert has_class_token(tokens)
    (found,) = maps_of(tokens, 2)
    assert found.shape == (2, 3, 2, 2, 3)
    torch.testing.assert_close(found[1, :, 1, 0, 2], tokens[0][1, 1 + 6 + 2])
