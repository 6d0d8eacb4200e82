"""Which channels go: lowest scores first, layer by layer or over the whole network."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from slowfast.compression.pruning.cut import Removed
from slowfast.compression.pruning.graph import Group

Scores = dict[str, Tensor]
"""Name of a group -> one score per channel; the higher, the more it matters."""

SCOPES = ("local", "global", "isomorphic")
MAX_RATIO = 0.95
MIN_SHARE = 0.1
"""Of its channels, every group keeps at least this much under a scope that ranks across groups:
an empty layer would cut the network in two."""


def choose(
    groups: Sequence[Group],
    scores: Scores,
    *,
    ratio: float,
    scope: str = "local",
    round_to: int = 1,
    initial: Mapping[str, int] | None = None,
    tags: Mapping[str, str] | None = None,
) -> Removed:
    """The channels that go.

    Args:
        groups: prunable ones.
        scores: of their channels.
        ratio: share of the initial channels to have removed, in [0, 1).
        scope: ``local``: the same share of every group; ``global``: the lowest scores of all
            groups together; ``isomorphic``: of all groups of one structure together (Fang et al.
            2024, https://arxiv.org/abs/2407.04616).
        round_to: leave a multiple of this many channels in every group (the nearest one) that
            loses any.
        initial: width of groups before any pruning, by name; default: their width.
        tags: structure of groups, by name, for ``isomorphic``; see :func:`structure_tags`.

    Raises:
        ValueError: a ratio or scope that does not exist.
    """
    if not 0 <= ratio <= MAX_RATIO:
        raise ValueError(f"the pruning ratio is {ratio}: give 0 to {MAX_RATIO}")
    if scope not in SCOPES:
        raise ValueError(f"the scope is {scope!r}: give one of {', '.join(SCOPES)}")
    ranked = {group.name: Ranked(group, scores[group.name]) for group in groups}
    start = {group.name: (initial or {}).get(group.name, group.width) for group in groups}
    if scope == "local":
        kept = {name: start[name] / r.blocks * (1 - ratio) for name, r in ranked.items()}
    else:
        kept = {}
        scopes = defaultdict(list)
        for group in groups:
            scopes[(tags or {}).get(group.name, "") if scope == "isomorphic" else ""].append(group)
        for members in scopes.values():
            kept |= _kept_together([ranked[g.name] for g in members], start, ratio)
    return {name: r.lowest(_rounded(kept[name], r, round_to)) for name, r in ranked.items()}


class Ranked:
    """A group's channels by score: *slots*, one channel of every block each.

    Blocks lose as many channels each, though not the same ones: each its lowest.

    Attributes:
        blocks: of the group.
        slots: channels of a block.
        values: ascending scores of the slots, means over the blocks.
    """

    def __init__(self, group: Group, scores: Tensor) -> None:
        if len(scores) != group.width:
            raise ValueError(f"{group.name}: {len(scores)} scores for {group.width} channels")
        if not bool(scores.isfinite().all()):
            raise ValueError(f"{group.name}: scores are not finite; are the weights?")
        self.name, self.blocks = group.name, group.blocks
        by_block = scores.detach().double().cpu().view(group.blocks, -1)
        self.order = by_block.argsort(dim=1, stable=True)
        self.values = by_block.gather(1, self.order).mean(dim=0)
        self.slots = by_block.shape[1]

    def lowest(self, kept: int) -> Tensor:
        """The channels beyond the ``kept`` best of each block."""
        gone = self.order[:, : self.slots - kept]
        offsets = torch.arange(self.blocks).unsqueeze(1) * self.slots
        return (gone + offsets).flatten().sort().values


def _rounded(kept: float, ranked: Ranked, round_to: int) -> int:
    """Slots to keep: at least 1, at most all, of a multiple of ``round_to`` channels."""
    slots = min(max(1, round(kept)), ranked.slots)
    step = round_to // math.gcd(round_to, ranked.blocks)
    if step > 1 and slots < ranked.slots:
        slots = max(step, round(slots / step) * step)
    return min(slots, ranked.slots)


def _kept_together(
    ranked: Sequence[Ranked], start: Mapping[str, int], ratio: float
) -> dict[str, float]:
    """Slots to keep of groups that are ranked together."""
    kept = {r.name: r.slots for r in ranked}
    floor = {r.name: max(1, math.ceil(start[r.name] / r.blocks * MIN_SHARE)) for r in ranked}
    wanted = sum(start[r.name] for r in ranked) * (1 - ratio)
    excess = sum(r.slots * r.blocks for r in ranked) - wanted
    queue = [(value, r) for r in ranked for value in r.values.tolist()]
    for _, r in sorted(queue, key=lambda entry: entry[0]):
        if excess < r.blocks / 2:
            break
        if kept[r.name] > floor[r.name]:
            kept[r.name] -= 1
            excess -= r.blocks
    return {name: float(count) for name, count in kept.items()}


def structure_tags(groups: Sequence[Group], model: nn.Module) -> dict[str, str]:
    """A word for the structure of each group: kinds, roles and kernels of its layers, in order."""
    tags = {}
    for group in groups:
        words = []
        for member in group.members:
            module = model.get_submodule(member.name)
            kernel = getattr(module, "kernel_size", "")
            words.append(f"{type(module).__name__}{kernel}{member.role}")
        tags[group.name] = " ".join(words)
    return tags
