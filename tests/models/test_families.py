"""What holds for every entry of the model table."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from slowfast.models import MODELS
from slowfast.models.base import ClipModel
from slowfast.models.layers.batchnorm import Frozen, freeze_batchnorm

FAMILIES = ["IMFE", "MobileNetV3", "ResNet", "ResNetLSTM", "SlowFast", "TinyNet", "X3D"]
STAGED = ["ResNet", "SlowFast", "X3D"]


def test_every_family_is_tested(small_names):
    assert small_names == FAMILIES
    assert set(FAMILIES) <= set(MODELS)  # families with another interface test themselves


@pytest.mark.parametrize("name", FAMILIES)
def test_trains_a_step_and_every_parameter_gets_a_gradient(small, make_clips, name):
    model = small(name, dropout=0.0, **({"zero_final_bn": False} if name in STAGED else {}))
    assert isinstance(model, ClipModel)
    assert isinstance(model, MODELS.get(name))
    clips, labels = make_clips(name), torch.tensor([1, 3])
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    before = F.cross_entropy(model(clips), labels)
    before.backward()
    parameters = dict(model.named_parameters())
    assert len(parameters) > 5
    assert all(p.grad is not None for p in parameters.values())
    # A convolution bias in front of a batch norm has none but rounding; IMFE alone has such.
    silent = [n for n, p in parameters.items() if not p.grad.any()]
    assert [n for n in silent if not (name == "IMFE" and n.startswith("feature_encoder"))] == []
    optimizer.step()
    assert F.cross_entropy(model(clips), labels) < before


@pytest.mark.parametrize("name", FAMILIES)
def test_several_tasks(small, make_clips, name):
    model = small(name, num_classes={"verb": 7, "noun": 11}, dropout=0.0)
    clips = make_clips(name)
    logits = model(clips)
    assert {task: tuple(x.shape) for task, x in logits.items()} == {"verb": (2, 7), "noun": (2, 11)}
    for scores in model.eval().predict(clips).values():
        torch.testing.assert_close(scores.sum(1), torch.ones(2))
    assert set(model.classifiers) == {"verb", "noun"}
    names = {n for n, _ in model.named_parameters() if "projection" in n}
    assert names == {
        f"head.projection_{task}.{leaf}"
        for task, layer in model.classifiers.items()
        for leaf in dict(layer.named_parameters())
    }
    sum(x.sum() for x in logits.values()).backward()
    assert all(layer.weight.grad is not None for layer in model.classifiers.values())


@pytest.mark.parametrize("name", FAMILIES)
def test_one_named_task_is_a_plain_model(small, make_clips, name):
    model = small(name, num_classes={"action": 5})
    assert set(model.classifiers) == {"action"}
    assert "head.projection.weight" in model.state_dict()
    assert model(make_clips(name)).shape == (2, 5)


@pytest.mark.parametrize("name", FAMILIES)
def test_forward_is_head_after_features(small, make_clips, name):
    model = small(name).eval()
    clips = make_clips(name, crop=96)
    features = model.forward_features(clips)
    assert features.shape == (2, model.num_features)
    torch.testing.assert_close(model.forward_head(features), model(clips))


@pytest.mark.parametrize("crop", [32, 64, 96, 112])
@pytest.mark.parametrize("name", FAMILIES)
def test_any_crop(small, make_clips, name, crop):
    model = small(name).eval()
    scores = model.predict(make_clips(name, crop=crop))
    torch.testing.assert_close(scores.sum(1), torch.ones(2))


@pytest.mark.parametrize("frames", [4, 8, 16])
@pytest.mark.parametrize("name", [name for name in FAMILIES if name != "IMFE"])
def test_any_number_of_frames(small, make_clips, name, frames):
    assert small(name).eval()(make_clips(name, frames=frames)).shape == (2, 5)


@pytest.mark.parametrize("name", STAGED)
def test_a_larger_clip_is_classified_position_by_position(small, make_clips, name):
    """``predict`` averages probabilities, ``forward`` logits, over every window of the head."""
    model = small(name).eval()
    nn.init.normal_(model.head.projection.weight)
    clips = make_clips(name, crop=128)
    with torch.no_grad():
        features = model.positions(clips)  # (B, 1, 3, 3, num_features): windows of 2 on a map of 4
        assert features.shape[1:4] == (1, 3, 3)
        logits = [model.forward_head(features[:, 0, i, j]) for i in range(3) for j in range(3)]
        probabilities = sum(x.softmax(-1) for x in logits) / 9
        torch.testing.assert_close(model.predict(clips), probabilities)
        torch.testing.assert_close(model(clips), sum(logits) / 9)
    assert (model(clips).softmax(-1) - probabilities).abs().max() > 1e-4  # they do differ


@pytest.mark.parametrize("name", FAMILIES)
def test_state_dict_round_trip(small, make_clips, name, tmp_path):
    model, other = small(name).eval(), small(name).eval()
    torch.save(model.state_dict(), tmp_path / "weights.pyth")
    other.load_state_dict(torch.load(tmp_path / "weights.pyth", weights_only=True))
    assert torch.equal(model(make_clips(name)), other(make_clips(name)))


@pytest.mark.parametrize(("act", "total"), [("softmax", 1.0), ("sigmoid", None), ("none", None)])
@pytest.mark.parametrize("name", FAMILIES)
def test_head_activation(small, make_clips, name, act, total):
    model = small(name, head_act=act).eval()
    with torch.no_grad():
        logits, scores = model(make_clips(name)), model.predict(make_clips(name))
    expected = {"softmax": logits.softmax(-1), "sigmoid": logits.sigmoid(), "none": logits}[act]
    torch.testing.assert_close(scores, expected)
    if total:
        torch.testing.assert_close(scores.sum(1), torch.ones(2))


@pytest.mark.parametrize("name", FAMILIES)
def test_unknown_activation(small, name):
    with pytest.raises(ValueError, match=r"MODEL.HEAD_ACT is 'relu': give one of"):
        small(name, head_act="relu")


@pytest.mark.parametrize("name", STAGED)
def test_checkpointed_activations_change_nothing(small, make_clips, name):
    """Loss, gradients, running statistics and their counters, bit for bit; dropout included."""
    results = []
    for checkpointed in (False, True):
        torch.manual_seed(0)
        model = small(name, act_checkpoint=checkpointed, drop_path=0.5, zero_final_bn=False)
        torch.manual_seed(1)
        loss = model(make_clips(name)).square().sum()
        loss.backward()
        results.append((loss, [p.grad for p in model.parameters()], list(model.buffers())))
    (loss, grads, buffers), (loss2, grads2, buffers2) = results
    assert torch.equal(loss, loss2)
    assert all(torch.equal(a, b) for a, b in zip(grads, grads2, strict=True))
    assert len(buffers) > 20
    assert all(torch.equal(a, b) for a, b in zip(buffers, buffers2, strict=True))


@pytest.mark.parametrize("name", STAGED)
def test_detached_head_trains_the_classifier_only(small, make_clips, name):
    model = small(name, detach_head=True)
    model(make_clips(name)).sum().backward()
    with_gradient = {n for n, p in model.named_parameters() if p.grad is not None}
    assert with_gradient == {"head.projection.weight", "head.projection.bias"}


@pytest.mark.parametrize("name", STAGED)
def test_stochastic_depth_acts_in_training_only(small, make_clips, name):
    model = small(name, drop_path=0.9, dropout=0.0, zero_final_bn=False)
    plain = small(name, dropout=0.0, zero_final_bn=False)
    plain.load_state_dict(model.state_dict())
    clips = make_clips(name)
    assert torch.equal(model.eval()(clips), plain.eval()(clips))
    model.train(), plain.train()
    assert not torch.allclose(model(clips), plain(clips))


@pytest.mark.parametrize("name", FAMILIES)
def test_frozen_batchnorm_survives_train(small, make_clips, name):
    model = small(name, dropout=0.0)
    names = set(model.state_dict())
    freeze_batchnorm(model)
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert all(isinstance(m, Frozen) for m in norms)
    before = [b.clone() for b in model.buffers()]
    clips = make_clips(name)
    in_training = model.train()(clips)
    assert torch.equal(in_training, model.eval()(clips))
    assert all(torch.equal(a, b) for a, b in zip(before, model.buffers(), strict=True))
    assert set(model.state_dict()) == names


@pytest.mark.parametrize("name", STAGED)
def test_initial_weights(small, name):
    model = small(name, width=64) if name != "X3D" else small(name)
    projection = model.head.projection
    assert projection.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert not projection.bias.any()
    last = [m.last_norm for m in model.modules() if hasattr(m, "last_norm")]
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm3d)]
    assert last
    assert all((m.weight == (0 if any(m is n for n in last) else 1)).all() for m in norms)
    assert {m.eps for m in norms} == {1e-5}
    assert {m.momentum for m in norms} == {0.1}
    for m in model.modules():
        if isinstance(m, nn.Conv3d) and m.weight.numel() > 5000:
            fan_out = m.out_channels * m.weight[0, 0].numel()  # torch does not divide by groups
            assert m.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.1)
    fresh = small(name, zero_final_bn=False)
    assert all((m.weight == 1).all() for m in fresh.modules() if isinstance(m, nn.BatchNorm3d))


def test_wrong_number_of_pathways(small, make_clips):
    with pytest.raises(ValueError, match=r"SlowFast takes 2 pathway\(s\), got 1: pack the clip"):
        small("SlowFast")(make_clips("X3D"))


def test_wrong_alpha(small, make_clips):
    clip = make_clips("X3D", frames=8)[0]
    with pytest.raises(ValueError, match=r"8 Fast frames at SLOWFAST.ALPHA 4 go with 2 Slow"):
        small("SlowFast")([clip[:, :, ::2], clip])
