from copy import deepcopy

import pytest
import torch
from torch import nn

from slowfast.engine.optimizer import (
    load_optimizer_state,
    make_optimizer,
    param_groups,
    set_lr,
)
from slowfast.models.tiny import TinyNet


@pytest.fixture
def names(tiny):
    names = {parameter: name for name, parameter in tiny.named_parameters()}
    return lambda groups: [[names[p] for p in group["params"]] for group in groups]


def test_batch_norms_first(tiny, names):
    groups = param_groups(tiny, weight_decay=1e-4)
    norms = ["features.1.weight", "features.1.bias", "features.4.weight", "features.4.bias"]
    rest = ["features.0.weight", "features.3.weight"]
    projection = [n for n, _ in tiny.named_parameters() if n.startswith("head")]
    assert names(groups) == [norms, rest + projection]
    assert [g["weight_decay"] for g in groups] == [0.0, 1e-4]
    for group in groups:  # PySlowFast reads these when it resumes from our files
        assert group["layer_decay"] == 1.0
        assert group["apply_LARS"] is False


def test_undecayed_vectors_come_last(tiny, names):
    groups = param_groups(tiny, weight_decay=1e-4, bn_weight_decay=1e-5, zero_wd_1d=True)
    assert [g["weight_decay"] for g in groups] == [1e-5, 1e-4, 0.0]
    assert all(name.endswith("bias") for name in names(groups)[2])


def test_frozen_and_empty_groups_are_left_out(tiny, names):
    for module in tiny.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.requires_grad_(False)
    tiny.features[0].requires_grad_(False)
    (group,) = param_groups(tiny, weight_decay=1e-4)
    assert names([group])[0][0] == "features.3.weight"


def test_tied_parameters_are_updated_once():
    first = nn.Linear(3, 3, bias=False)
    second = nn.Linear(3, 3, bias=False)
    second.weight = first.weight
    (group,) = param_groups(nn.Sequential(first, second), weight_decay=0)
    assert len(group["params"]) == 1


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("sgd", torch.optim.SGD),
        ("adam", torch.optim.Adam),
        ("adamw", torch.optim.AdamW),
        ("mt_adamw", torch.optim.AdamW),
    ],
)
def test_methods(tiny, method, kind):
    groups = param_groups(tiny, weight_decay=0.5)
    optimizer = make_optimizer(groups, method=method, lr=0.1, betas=(0.8, 0.9))
    assert type(optimizer) is kind
    assert optimizer.param_groups[1]["weight_decay"] == 0.5
    if method != "sgd":
        assert optimizer.param_groups[0]["betas"] == (0.8, 0.9)


def test_nesterov_as_a_plain_formula():
    weight = nn.Parameter(torch.tensor([1.0]))
    groups = [{"params": [weight], "weight_decay": 0.1}]
    optimizer = make_optimizer(groups, method="sgd", lr=0.5, momentum=0.9, nesterov=True)
    value, buffer = 1.0, None
    for gradient in (0.3, -0.2, 0.5):
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        step = gradient + 0.1 * value
        buffer = step if buffer is None else 0.9 * buffer + step
        value -= 0.5 * (step + 0.9 * buffer)
        assert weight.item() == pytest.approx(value, rel=1e-6)


def test_unknown_method(tiny):
    with pytest.raises(ValueError, match=r"OPTIMIZING_METHOD is 'lamb'; known: sgd"):
        make_optimizer(param_groups(tiny, weight_decay=0), method="lamb", lr=0.1)
    tiny.requires_grad_(False)
    with pytest.raises(ValueError, match="every parameter is frozen"):
        make_optimizer(param_groups(tiny, weight_decay=0), method="sgd", lr=0.1)


def test_set_lr_honours_layer_decay(tiny):
    optimizer = make_optimizer(param_groups(tiny, weight_decay=0), method="sgd", lr=0.1)
    optimizer.param_groups[0]["layer_decay"] = 0.5
    set_lr(optimizer, 0.2)
    assert [g["lr"] for g in optimizer.param_groups] == [0.1, 0.2]


def test_state_of_another_machine(tiny):
    """PySlowFast's files lack newer keys; a GPU's ask for kernels a CPU may not have."""
    optimizer = make_optimizer(param_groups(tiny, weight_decay=0), method="sgd", lr=0.1)
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        del group["layer_decay"]
        group["fused"] = "a gpu's"
    load_optimizer_state(optimizer, state)
    assert [g["fused"] for g in optimizer.param_groups] == [True, True]
    set_lr(optimizer, 0.2)


@pytest.mark.parametrize("method", ["sgd", "adamw"])
def test_state_of_another_memory_layout(method):
    """Fused kernels would mix up the entries of a momentum that is laid out unlike its weight."""

    def step(layout, state=None, fused=True):
        torch.manual_seed(0)
        conv = nn.Conv3d(3, 4, 3, bias=False)
        conv.weight.data = conv.weight.data.contiguous(memory_format=layout)
        conv.weight.grad = torch.randn_like(conv.weight)
        optimizer = make_optimizer(param_groups(conv, weight_decay=0.1), method=method, lr=0.1)
        for group in optimizer.param_groups:
            group["fused"] = fused
        if state is not None:
            load_optimizer_state(optimizer, state)
        conv.weight.grad.copy_(torch.arange(324.0).view_as(conv.weight) / 100)
        optimizer.step()
        return conv.weight.detach(), optimizer.state_dict()

    _, state = step(torch.contiguous_format)
    expected, _ = step(torch.contiguous_format, deepcopy(state), fused=False)
    other, _ = step(torch.channels_last_3d, deepcopy(state))
    torch.testing.assert_close(other, expected)


def test_state_of_another_model(tiny):
    optimizer = make_optimizer(param_groups(tiny, weight_decay=0), method="sgd", lr=0.1)
    groups = param_groups(TinyNet(num_classes=4), weight_decay=0, zero_wd_1d=True)
    other = make_optimizer(groups, method="sgd", lr=0.1)
    with pytest.raises(ValueError, match=r"TRAIN\.CHECKPOINT_FILE_PATH"):
        load_optimizer_state(optimizer, other.state_dict())
