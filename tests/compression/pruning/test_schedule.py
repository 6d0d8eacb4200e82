"""Which channels go, on cases small enough to see."""

import pytest
import torch

from slowfast.compression.pruning.graph import Group
from slowfast.compression.pruning.schedule import MIN_SHARE, choose

A = torch.tensor([5.0, 1.0, 4.0, 2.0, 3.0, 9.0, 8.0, 7.0])
B = torch.tensor([0.1, 0.2, 0.3, 0.4])


def groups(*widths, blocks=1):
    return [Group(name, width, (), blocks) for name, width in zip("abcd", widths, strict=False)]


def gone(removed):
    return {name: value.tolist() for name, value in removed.items()}


def test_local_takes_the_same_share_of_every_group():
    removed = choose(groups(8, 4), {"a": A, "b": B}, ratio=0.5)
    assert gone(removed) == {"a": [1, 2, 3, 4], "b": [0, 1]}


def test_global_takes_the_lowest_of_all():
    """Six of twelve: all of b but what it must keep, and the two lowest of a."""
    removed = choose(groups(8, 4), {"a": A, "b": B}, ratio=0.5, scope="global")
    assert gone(removed) == {"a": [1, 3, 4], "b": [0, 1, 2]}
    assert sum(map(len, removed.values())) == 6


def test_isomorphic_ranks_within_a_structure():
    scores = {"a": A, "b": B, "c": 10 * B}
    tags = {"a": "wide", "b": "narrow", "c": "narrow"}
    removed = choose(groups(8, 4, 4), scores, ratio=0.5, scope="isomorphic", tags=tags)
    assert gone(removed)["a"] == [1, 2, 3, 4]
    assert len(removed["b"]) == 3  # one stays, though all of c score higher
    assert len(removed["c"]) == 1


def test_every_group_keeps_its_share():
    scores = {"a": torch.ones(50), "b": torch.arange(50.0) + 2}
    removed = choose(groups(50, 50), scores, ratio=0.45, scope="global")
    assert len(removed["a"]) == 45
    assert 50 - len(removed["a"]) == 50 * MIN_SHARE


@pytest.mark.parametrize(
    ("width", "ratio", "round_to", "kept"),
    [(54, 0.5, 8, 24), (54, 0.4, 8, 32), (16, 0.9, 8, 8), (4, 0.5, 8, 4), (54, 0.05, 8, 48),
     (54, 0.0, 8, 54), (24, 0.5, 1, 12), (3, 0.9, 1, 1)],
)  # fmt: skip
def test_rounding(width, ratio, round_to, kept):
    removed = choose(groups(width), {"a": torch.rand(width)}, ratio=ratio, round_to=round_to)
    assert width - len(removed["a"]) == kept


def test_blocks_lose_as_many_each_though_not_the_same():
    removed = choose(groups(8, blocks=2), {"a": A}, ratio=0.5)
    assert gone(removed) == {"a": [1, 3, 4, 7]}
    for scope in ("local", "global"):
        removed = choose(groups(12, blocks=3), {"a": torch.rand(12)}, ratio=0.4, scope=scope)
        counts = torch.bincount(removed["a"] // 4, minlength=3)
        assert counts.unique().numel() == 1


def test_ratios_refer_to_the_beginning():
    """Four of twelve are gone already: half is two more of the eight."""
    removed = choose(groups(8), {"a": A}, ratio=0.5, initial={"a": 12})
    assert gone(removed) == {"a": [1, 3]}
    assert not len(choose(groups(8), {"a": A}, ratio=0.2, initial={"a": 12})["a"])


def test_equal_scores_give_the_lower_channels_first():
    for scope in ("local", "global"):
        removed = choose(groups(6), {"a": torch.ones(6)}, ratio=0.5, scope=scope)
        assert gone(removed) == {"a": [0, 1, 2]}


def test_mistakes():
    scores = {"a": A}
    with pytest.raises(ValueError, match="the pruning ratio is 1"):
        choose(groups(8), scores, ratio=1.0)
    with pytest.raises(ValueError, match="the scope is 'layer'"):
        choose(groups(8), scores, ratio=0.5, scope="layer")
    with pytest.raises(ValueError, match="a: 8 scores for 4 channels"):
        choose(groups(4), scores, ratio=0.5)
    with pytest.raises(ValueError, match="not finite"):
        choose(groups(8), {"a": A / 0}, ratio=0.5)
