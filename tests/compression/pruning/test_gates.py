"""Estimates of the loss against the loss itself, and against autograd's own gradients."""

import copy

import pytest
import torch
from torch import nn

from slowfast.compression.pruning.gates import EvidenceError, clip_derivatives
from slowfast.compression.pruning.graph import IN, find_groups
from slowfast.compression.pruning.importance import PRUNERS, Evidence, tied_weights
from slowfast.datasets.batch import Batch
from slowfast.engine.objective import Supervised
from tests.compression.pruning import families

LOSS = nn.CrossEntropyLoss()


def batch_of(name, size=3):
    labels = torch.arange(size) % 5
    return Batch(families.clips(name, size), labels, torch.arange(size), torch.zeros(size, 2), {})


def evidence(model, *batches):
    return Evidence(Supervised(model, LOSS), lambda: iter(batches))


@pytest.mark.parametrize("name", ["TinyNet", "X3D", "SlowFast", "ResNetLSTM", "MobileNetV3"])
def test_derivative_is_weight_times_gradient(name):
    """Of one clip: over all weights that read a channel, those of later layers included."""
    model = families.build(name)
    groups = find_groups(model, families.shapes(name)).prunable
    batch = batch_of(name, 1)
    ((size, found),) = clip_derivatives(model, groups, evidence(model, batch))
    assert size == 1
    model.zero_grad()
    LOSS(model(batch.clips), batch.labels).backward()
    products = copy.deepcopy(model)
    for parameter, product in zip(model.parameters(), products.parameters(), strict=True):
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        product.data = parameter.data * gradient
    checked = 0
    for group in groups:
        cosine = any(m.name == "head.projection" for m in group.members) and name == "MobileNetV3"
        if group.name == "lstm" or cosine:
            continue  # units read one another; centres are scaled to length 1
        expected = torch.zeros(group.width, dtype=torch.float64)
        for member in group.of(IN):
            change = tied_weights(products.get_submodule(member.name), member).sum(dim=1)
            expected.index_add_(0, member.roots, change.double())
        torch.testing.assert_close(
            found[group.name][0], expected.detach(), rtol=1e-3, atol=2e-5, msg=group.name
        )
        checked += 1
    assert checked


@pytest.mark.parametrize("name", ["X3D", "ResNetLSTM"])
def test_clips_of_a_batch_are_told_apart(name):
    """A batch gives what its clips give one by one; frames of a clip are added up."""
    model = families.build(name)
    groups = [g for g in find_groups(model, families.shapes(name)).prunable if g.name != "lstm"]
    batch = batch_of(name, 3)
    ((_, together),) = clip_derivatives(model, groups, evidence(model, batch))
    for i in range(3):
        one = batch._replace(clips=[c[i : i + 1] for c in batch.clips], labels=batch.labels[i:][:1])
        ((_, alone),) = clip_derivatives(model, groups, evidence(model, one))
        for group in groups:
            torch.testing.assert_close(
                together[group.name][i], alone[group.name][0], rtol=1e-3, atol=2e-5
            )


def test_first_order_is_the_slope_of_the_loss():
    """Closing a gate a little changes the loss by what the derivative says."""
    model = families.build("TinyNet").double()
    groups = find_groups(model, families.shapes("TinyNet")).prunable
    (group,) = [g for g in groups if g.name == "features.3"]
    batch = batch_of("TinyNet")
    batch = batch._replace(clips=[c.double() for c in batch.clips])
    ((_, found),) = clip_derivatives(model, [group], evidence(model, batch))
    weight = model.head.projection.weight
    for channel in (0, 7):
        losses = []
        for gate in (1 - 1e-5, 1 + 1e-5):
            with torch.no_grad():
                kept = weight[:, channel].clone()
                weight[:, channel] *= gate
                losses.append(float(LOSS(model(batch.clips), batch.labels)))
                weight[:, channel] = kept
        slope = (losses[1] - losses[0]) / 2e-5
        assert float(found[group.name][:, channel].mean()) == pytest.approx(slope, rel=1e-4)


def test_taylor_and_hessian_over_batches():
    """Means over all clips of ``|d|`` and of ``d ** 2 / 2``."""
    model = families.build("TinyNet")
    groups = find_groups(model, families.shapes("TinyNet")).prunable
    big = batch_of("TinyNet", 6)
    parts = [
        big._replace(clips=[c[cut] for c in big.clips], labels=big.labels[cut])
        for cut in (slice(0, 2), slice(2, 6))
    ]
    ((_, each),) = clip_derivatives(model, groups, evidence(model, big))
    for method, measure in (("taylor", torch.abs), ("hessian", lambda d: d**2 / 2)):
        found = PRUNERS.get(method)(model, groups, evidence(model, *parts))
        for name, value in each.items():
            torch.testing.assert_close(
                found[name], measure(value).mean(dim=0), rtol=1e-4, atol=1e-9
            )


def test_an_unread_channel_scores_zero():
    model = families.build("X3D")
    groups = find_groups(model, families.shapes("X3D")).prunable
    group = next(g for g in groups if g.name == "s3.pathway0_res1.branch2.a")
    for member in group.of(IN):
        with torch.no_grad():
            index = member.channels[member.roots == 3]
            model.get_submodule(member.name).weight[:, index] = 0
    for method in ("taylor", "hessian"):
        scores = PRUNERS.get(method)(model, [group], evidence(model, batch_of("X3D")))[group.name]
        assert scores[3] == 0
        assert (scores > 0).sum() > group.width / 2


def test_model_is_left_as_it_was():
    model = families.build("X3D").train()
    before = copy.deepcopy(model.state_dict())
    groups = find_groups(model, families.shapes("X3D")).prunable
    PRUNERS.get("taylor")(model, groups, evidence(model, batch_of("X3D")))
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("method", ["taylor", "hessian"])
def test_without_data(tiny, method):
    groups = find_groups(tiny, [(1, 3, 4, 8, 8)]).prunable
    with pytest.raises(EvidenceError, match="give the training data"):
        PRUNERS.get(method)(tiny, groups, None)
    with pytest.raises(EvidenceError, match="no training batch"):
        PRUNERS.get(method)(tiny, groups, evidence(tiny))
