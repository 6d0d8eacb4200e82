"""Penalties against their formulas; the network they leave loses less when cut."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from slowfast.compression.pruning.graph import find_groups
from slowfast.compression.pruning.sparsity import SparsityHook
from slowfast.engine.objective import Supervised
from slowfast.engine.trainer import Trainer
from tests.compression.pruning import families
from tests.conftest import random_batches

SHAPES = [(1, 3, 4, 8, 8)]
STEP = SimpleNamespace(lr=0.1)


def hook_of(model, shapes=SHAPES, **options):
    groups = find_groups(model, shapes).prunable
    groups = [g for g in groups if g.name != "features.0"]
    return SparsityHook(model, groups, **options)


def test_group_norm_by_hand(tiny):
    hook = hook_of(tiny, weight=1.0)
    conv, norm, head = tiny.features[3], tiny.features[4], tiny.head.projection
    squares = torch.stack([
        (conv.weight[k] ** 2).sum() + norm.weight[k] ** 2 + (head.weight[:, k] ** 2).sum()
        for k in range(16)
    ]).detach()  # fmt: skip
    norms = squares.sqrt()
    factors = 2 ** (4 * (norms.max() - norms) / (norms.max() - norms.min()))
    assert factors.min() == 1
    assert factors.max() == pytest.approx(16)
    torch.testing.assert_close(hook.penalty().detach(), (factors * squares).sum() / 2)
    before = copy.deepcopy(tiny.state_dict())
    hook.after_step(STEP, None, None)
    shrunk = before["features.3.weight"] * (1 - 0.1 * factors).view(-1, 1, 1, 1, 1)
    torch.testing.assert_close(conv.weight.detach(), shrunk)
    shrunk = before["head.projection.weight"] * (1 - 0.1 * factors)
    torch.testing.assert_close(head.weight.detach(), shrunk)
    for name in ("features.0.weight", "features.4.bias", "features.4.running_mean"):
        assert torch.equal(tiny.state_dict()[name], before[name])


def test_bn_scale_by_hand(tiny):
    nn.init.uniform_(tiny.features[4].weight, -1, 1)
    before = copy.deepcopy(tiny.state_dict())
    hook_of(tiny, weight=0.5, kind="bn_scale").after_step(STEP, None, None)
    for name, value in tiny.state_dict().items():
        if name == "features.4.weight":
            torch.testing.assert_close(value, before[name] - 0.05 * before[name].sign())
        else:
            assert torch.equal(value, before[name]), name


@pytest.mark.parametrize("name", ["X3D", "SlowFast", "ResNetLSTM"])
@pytest.mark.parametrize("kind", ["group_norm", "bn_scale"])
def test_shrinks_every_family(name, kind):
    model = families.build(name)
    hook = hook_of(model, families.shapes(name), weight=1.0, kind=kind)
    first = float(hook.penalty())
    hook.after_step(SimpleNamespace(lr=0.01), None, None)
    assert float(hook.penalty()) < first


def test_weak_channels_fade_in_training(tiny):
    """Norms spread: the weakest half holds a smaller share than without the penalty."""
    shares = {}
    for weight in (0.0, 0.5):
        model = copy.deepcopy(tiny)
        hook = hook_of(model, weight=weight)
        optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
        objective = Supervised(model, nn.CrossEntropyLoss())
        trainer = Trainer(objective, optimizer, lambda _: 0.05, random_batches(), hooks=[hook])
        trainer.fit(8)
        norms = model.features[3].weight.detach().flatten(1).norm(dim=1).sort().values
        shares[weight] = float(norms[:8].sum() / norms.sum())
    assert shares[0.5] < 0.8 * shares[0.0]


def test_unknown_kind(tiny):
    with pytest.raises(ValueError, match="give one of group_norm, bn_scale"):
        hook_of(tiny, weight=1.0, kind="l0")
