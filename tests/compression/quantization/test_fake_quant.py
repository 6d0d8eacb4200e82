"""Rounding in the midst of a float network: against closed forms and plain loops."""

import pytest
import torch
from torch import nn

from slowfast.compression.quantization.fake_quant import (
    FakeQuantization,
    Site,
    activation_scale,
    find_sites,
    layer_errors,
    round_activation,
    round_weight,
    weight_scales,
)
from slowfast.compression.quantization.fallback import find_float_layers
from slowfast.models.tiny import TinyNet
from tests.compression.pruning import families
from tests.compression.quantization.nets import Residual, clips, make_sensitive, settled


@pytest.fixture
def model():
    return settled(Residual())


def test_sites_of_a_residual_network(model):
    assert find_sites(model, clips(1)) == {
        "a": Site("a_bn", relu=True),
        "b": Site("b_bn", relu=True, fed_by="a"),
        "c": Site("c_bn", relu=False, fed_by="b"),  # its ReLU comes after the sum
        "d": Site(),
    }  # twice runs twice, head is the classifier


def test_sites_of_a_network_with_two_tasks():
    model = TinyNet(num_classes={"verb": 3, "noun": 5})
    sites = find_sites(model, [torch.randn(1, 3, 4, 8, 8)])
    assert sites == {
        "features.0": Site("features.1", relu=True),
        "features.3": Site("features.4", relu=True, fed_by="features.0"),
    }
    assert model.training


def test_weights_have_255_values_per_channel():
    weight = torch.randn(5, 4, 3, 3, 3)
    scales = torch.stack([channel.abs().max() / 127 for channel in weight])
    torch.testing.assert_close(weight_scales(weight), scales)
    steps = round_weight(weight) / scales.view(-1, 1, 1, 1, 1)
    torch.testing.assert_close(steps, (weight / scales.view(-1, 1, 1, 1, 1)).round())
    assert steps.abs().max() == pytest.approx(127)
    assert torch.equal(round_weight(torch.zeros(2, 3)), torch.zeros(2, 3))


def test_rounding_commutes_with_folding_a_batch_norm():
    weight, factor = torch.randn(6, 4, 1, 3, 3), torch.randn(6, 1, 1, 1, 1)
    torch.testing.assert_close(round_weight(weight * factor), round_weight(weight) * factor)


@pytest.mark.parametrize(
    ("bounds", "scale", "zero"),
    [
        ((0.0, 2.55), 0.01, 0),
        ((-1.0, 1.55), 0.01, 100),
        ((0.5, 2.55), 0.01, 0),  # zero is always a value
        ((-2.55, -1.0), 0.01, 255),
        ((0.0, 0.0), 1.0, 0),
    ],
)
def test_activations_have_256_values(bounds, scale, zero):
    found = activation_scale(bounds)
    assert found == (pytest.approx(scale), zero)
    x = torch.linspace(-4, 4, 1001)
    expected = ((x / scale).round() + zero).clamp(0, 255).sub(zero).mul(scale)
    rounded = round_activation(x, bounds)
    assert (rounded - expected).abs().max() <= scale * 1.001  # ties
    assert (rounded - expected).abs().mean() < scale * 0.01
    torch.testing.assert_close(round_activation(rounded, bounds), rounded)  # twice is once


def test_ranges_hold_all_but_the_oddest_clips(model):
    fake = FakeQuantization(model, find_sites(model, clips(1)))
    seen = [clips(40, seed=1), clips(21, seed=2)]
    seen[0][0][7] *= 100
    ranges = fake.calibrate(seen)
    assert set(ranges) == {"a:in", "a:out", "b:out", "c:out", "d:in", "d:out"}
    each = [clip for batch in seen for clip in batch[0]]
    low, high = ranges["a:in"]
    assert sum(float(clip.min()) < low for clip in each) == 3  # of 61, a twentieth
    assert sum(float(clip.max()) > high for clip in each) == 3
    assert ranges["a:out"][0] == 0.0  # behind the ReLU
    assert ranges["c:out"][0] < 0.0


def test_it_leaves_no_trace(model):
    names, before = list(model.state_dict()), model(clips(2))
    fake = FakeQuantization(model, find_sites(model, clips(1)))
    fake.calibrate([clips()])
    rounded = model(clips(2))
    assert 0 < (rounded - before).abs().max() < 0.1 * before.abs().max()
    assert list(model.state_dict()) == names
    fake.use(())
    assert torch.equal(model(clips(2)), before)
    fake.remove()
    assert torch.equal(model(clips(2)), before)
    assert type(model.a) is nn.Conv3d
    assert not model.a._forward_pre_hooks


def test_each_layer_by_hand(model):
    """What is rounded, written out for the first two layers."""
    sites = find_sites(model, clips(1))
    fake = FakeQuantization(model, sites)
    ranges = fake.calibrate([clips()])
    seen = []
    model.c.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].clone()))
    model(clips(2))
    fake.remove()
    model(clips(2))
    x = round_activation(clips(2)[0], ranges["a:in"])
    for name in ("a", "b"):
        layer, norm = getattr(model, name), getattr(model, f"{name}_bn")
        y = layer._conv_forward(x, round_weight(layer.weight), layer.bias)
        x = round_activation(norm(y), ranges[f"{name}:out"]).relu()
    torch.testing.assert_close(seen[0], x)
    assert not torch.allclose(seen[1], x)


def test_gradients_go_straight_through(model):
    fake = FakeQuantization(model, find_sites(model, clips(1)))
    fake.calibrate([clips()])
    model(clips())[:, 0].sum().backward()
    assert all(
        float(p.grad.abs().sum()) > 0 for n, p in model.named_parameters() if "bias" not in n
    )


def test_layers_that_rounding_hurts_stay_in_float(model):
    make_sensitive(model)
    fake = FakeQuantization(model, find_sites(model, clips(1)))
    fake.calibrate([clips()])
    errors = layer_errors(model, fake, [clips()])
    ranked = sorted(errors, key=lambda name: -errors[name])
    assert set(ranked[:2]) == {"b", "c"}  # one writes the channel, the other reads it
    assert min(errors["b"], errors["c"]) > 20 * max(errors["a"], errors["d"])
    fake.use(())
    exact = model(clips()).detach()

    def drop_of(float_layers):
        fake.use(set(fake.sites) - set(float_layers))
        return 100 * float((model(clips()).detach() - exact).norm() / exact.norm())

    found = find_float_layers(lambda: ranked, drop_of, max_drop=5.0)
    assert set(found.float_layers) == {"b", "c"}
    assert found.drop <= 5.0 < found.tried[0]["drop"]


@pytest.mark.parametrize("name", list(families.NETWORKS))
def test_every_family(name):
    """Layers are found, rounding them changes little, and nothing of it stays."""
    model, seen = families.build(name), families.clips(name)
    exact = flat(model(seen))
    sites = find_sites(model, [clip[:1] for clip in seen])
    assert len(sites) >= 2
    assert not {model.get_submodule(layer) for layer in sites} & set(model.classifiers.values())
    fake = FakeQuantization(model, sites)
    fake.calibrate([seen])
    rounded = flat(model(seen))
    assert 0 < (rounded - exact).norm() < 0.2 * exact.norm()
    fake.remove()
    assert torch.equal(flat(model(seen)), exact)


def flat(preds):
    with torch.no_grad():
        return torch.cat(list(preds.values()), 1) if isinstance(preds, dict) else preds.detach()


def test_how_many_families():
    assert len(families.NETWORKS) >= 22
