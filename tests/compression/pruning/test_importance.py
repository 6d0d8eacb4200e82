"""Scores against plain loops."""

import pytest
import torch
from torch import nn

from slowfast.compression.pruning.graph import IN, OUT, Member, find_groups
from slowfast.compression.pruning.importance import PRUNERS, comparable, tied_weights
from tests.compression.pruning import families

SHAPES = [(1, 3, 4, 8, 8)]


@pytest.fixture
def group(tiny):
    """Channels of the second convolution: a filter each, a batch norm, a column of the head."""
    found = {group.name: group for group in find_groups(tiny, SHAPES).prunable}
    return found["features.3"]


def scores_of(method, model, group):
    return PRUNERS.get(method)(model, [group], None)[group.name]


def test_members(tiny, group):
    assert [(m.name, m.role) for m in group.members] == [
        ("features.3", OUT), ("features.4", OUT), ("head.projection", IN),
    ]  # fmt: skip
    assert group.width == tiny.num_features == 16


@pytest.mark.parametrize("method", ["l1_structured", "l2_structured"])
def test_norms_of_all_layers(tiny, group, method):
    """Of the filter, the batch norm and the column of the head, each divided by its mean."""
    conv, norm, head = tiny.features[3], tiny.features[4], tiny.head.projection
    nn.init.uniform_(norm.weight, -1.0, 1.0)
    power = {"l1_structured": 1, "l2_structured": 2}[method]
    expected = torch.zeros(16, dtype=torch.float64)
    for of_channel in (
        lambda k: conv.weight[k].flatten().tolist(),
        lambda k: [norm.weight[k].item()],
        lambda k: head.weight[:, k].tolist(),
    ):
        norms = [sum(abs(x) ** power for x in of_channel(k)) ** (1 / power) for k in range(16)]
        norms = torch.tensor(norms, dtype=torch.float64)
        expected += norms / norms.mean() / 3
    torch.testing.assert_close(scores_of(method, tiny, group), expected, rtol=1e-4, atol=1e-5)


def test_fpgm(tiny, group):
    filters = [f.flatten().tolist() for f in tiny.features[3].weight]

    def distance(a, b):
        return sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5

    wanted = [sum(distance(f, other) for other in filters) for f in filters]
    wanted = torch.tensor(wanted, dtype=torch.float64)
    found = scores_of("fpgm", tiny, group)
    torch.testing.assert_close(found, wanted / wanted.mean(), rtol=1e-4, atol=1e-5)


def test_fpgm_finds_the_geometric_median(tiny, group):
    """The filter nearest to the median, found by Weiszfeld's iteration, goes first, big or not."""
    with torch.no_grad():
        tiny.features[3].weight.add_(1.0)  # norms say nothing now
        tiny.features[3].weight[5] = tiny.features[3].weight.mean(dim=0)
    filters = tiny.features[3].weight.detach().flatten(1).double()
    median = filters.mean(dim=0)
    for _ in range(200):
        weights = 1 / (filters - median).norm(dim=1).clamp(min=1e-9)
        median = (weights[:, None] * filters).sum(dim=0) / weights.sum()
    nearest = int((filters - median).norm(dim=1).argmin())
    assert nearest == 5
    assert int(scores_of("fpgm", tiny, group).argmin()) == nearest
    assert int(filters.norm(dim=1).argmin()) != nearest


def test_group_norm_and_bn_scale(tiny, group):
    conv, norm, head = tiny.features[3], tiny.features[4], tiny.head.projection
    nn.init.uniform_(norm.weight, -1.0, 1.0)
    squares = [
        (conv.weight[k] ** 2).sum() + norm.weight[k] ** 2 + (head.weight[:, k] ** 2).sum()
        for k in range(16)
    ]
    expected = torch.stack(squares).sqrt()
    torch.testing.assert_close(scores_of("group_norm", tiny, group), expected)
    scales = norm.weight.abs().double()
    torch.testing.assert_close(scores_of("bn_scale", tiny, group), scales / scales.mean())


def test_random_is_seeded(tiny, group):
    torch.manual_seed(3)
    first = scores_of("random", tiny, group)
    torch.manual_seed(3)
    assert torch.equal(first, scores_of("random", tiny, group))


def test_columns_of_a_grouped_convolution():
    """Input channel i is read by the filters of its group only."""
    conv = nn.Conv3d(6, 4, 1, groups=2)
    everything = torch.arange(6)
    weights = tied_weights(conv, Member("conv", IN, everything, everything))
    for i in range(6):
        group, column = divmod(i, 3)
        expected = conv.weight[2 * group : 2 * group + 2, column].flatten()
        torch.testing.assert_close(weights[i], expected)


def test_weights_of_hidden_units():
    """Four gates each; layer and direction by the number of the part."""
    lstm = nn.LSTM(5, 3, num_layers=2, bidirectional=True)
    units = torch.arange(3)
    weights = tied_weights(lstm, Member("lstm", OUT, units, units, part=3))
    ih, hh = lstm.weight_ih_l1_reverse, lstm.weight_hh_l1_reverse
    for j in range(3):
        rows = [torch.cat([ih[3 * gate + j], hh[3 * gate + j]]) for gate in range(4)]
        torch.testing.assert_close(weights[j], torch.cat(rows))


def test_groups_are_compared_by_shares_of_their_means():
    scores = {"a": torch.tensor([1.0, 3.0]), "b": torch.tensor([10.0, 30.0])}
    assert torch.equal(*comparable(scores).values())
    assert not comparable({"a": torch.zeros(3)})["a"].any()


@pytest.mark.parametrize("method", sorted(set(PRUNERS) - {"taylor", "hessian"}))
@pytest.mark.parametrize("name", ["X3D", "SlowFast", "ResNetLSTM"])
def test_a_score_for_every_channel(name, method):
    model = families.build(name)
    groups = find_groups(model, families.shapes(name)).prunable
    scores = PRUNERS.get(method)(model, groups, None)
    assert {g.name: g.width for g in groups} == {n: len(s) for n, s in scores.items()}
    assert all(bool((s >= 0).all()) and bool(s.isfinite().all()) for s in scores.values())


def test_residual_channels_are_scored_over_all_their_layers():
    model = families.build("X3D")
    groups = find_groups(model, families.shapes("X3D")).prunable
    residual = next(g for g in groups if g.name.endswith("s4.pathway0_res0.branch1"))
    filters = [m for m in residual.of(OUT) if "bn" not in m.name]
    assert len(filters) == 6  # the shortcut, and the last convolutions of five blocks
    norms = [m for m in residual.of(OUT) if "bn" in m.name]
    readers = [*residual.of(IN)]
    assert (len(norms), len(readers)) == (6, 4 + 2)  # four more blocks; the next stage's two
    expected = torch.zeros(residual.width, dtype=torch.float64)
    for member in residual.members:
        weight = model.get_submodule(member.name).weight
        weight = weight.transpose(0, 1) if member.role == IN else weight
        sums = weight.flatten(1).abs().sum(dim=1) if weight.ndim > 1 else weight.abs()
        sums = sums.double()
        expected[member.roots] += (sums / sums.mean())[member.channels] / len(residual.members)
    found = PRUNERS.get("l1")(model, [residual], None)[residual.name]
    torch.testing.assert_close(found, expected)
