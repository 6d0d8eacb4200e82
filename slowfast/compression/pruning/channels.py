"""Pruning a network: groups, scores, choice and cut in one object, and in one function."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import torch
from torch import nn

from slowfast.compression.pruning.cut import Cut
from slowfast.compression.pruning.graph import OUT, Group, Groups, Shape, find_groups, matching
from slowfast.compression.pruning.importance import PRUNERS, Evidence, comparable
from slowfast.compression.pruning.schedule import Scores, choose, structure_tags
from slowfast.compression.pruning.trace import skeleton
from slowfast.models.base import ClipModel
from slowfast.utils.errors import UserError


class PruningError(UserError, ValueError):
    """A pruning that cannot be done as asked."""


class Pruner:
    """Prunes a model step by step towards a ratio of its channels.

    Args:
        model: pruned in place.
        shapes: ``(B, C, T_p, H, W)`` of every pathway of a clip.
        method: entry of ``PRUNERS``.
        scope: see :func:`~slowfast.compression.pruning.schedule.choose`.
        round_to: likewise.
        protect: name patterns of layers that keep all the channels they give.
        protect_stems: so do stems and the first temporal convolution. (Classifiers always do.)
        evidence: for methods that look at the loss.

    Attributes:
        initial: width of each group at the beginning, to which ratios refer.
    """

    def __init__(
        self,
        model: ClipModel,
        shapes: Sequence[Shape],
        *,
        method: str = "l1_structured",
        scope: str = "local",
        round_to: int = 1,
        protect: Iterable[str] = (),
        protect_stems: bool = True,
        evidence: Evidence | None = None,
    ) -> None:
        if round_to < 1:
            raise PruningError(f"--round_to {round_to}: channels are rounded to multiples of 1 up")
        self.model, self.shapes = model, [tuple(shape) for shape in shapes]
        self.method, self.scope, self.round_to = method, scope, round_to
        self.protect, self.protect_stems = tuple(protect), protect_stems
        self.evidence = evidence
        self._score = PRUNERS.get(method)
        self._groups: list[Group] | None = None
        self._left_out: dict[str, str] = {}
        self._scores: Scores | None = None
        if not self.groups:
            why = "; ".join(f"{name}: {reason}" for name, reason in self.left_out.items())
            raise PruningError(f"nothing is left to prune. {why}")
        self.initial = {group.name: group.width for group in self.groups}

    @property
    def groups(self) -> list[Group]:
        """Groups that may lose channels; found anew after every step."""
        if self._groups is None:
            found = find_groups(self.model, self.shapes)
            stems = default_protected(found) if self.protect_stems else {}
            kept = stems | protected(self.model, self.protect)
            self._groups, self._left_out = [], dict(found.left_out)
            for group in found.prunable:
                reasons = [kept[m.name] for m in group.of(OUT) if m.name in kept]
                if reasons:
                    self._left_out[group.name] = reasons[0]
                else:
                    self._groups.append(group)
        return self._groups

    @property
    def left_out(self) -> dict[str, str]:
        """Name of a group -> why it may not."""
        _ = self.groups
        return self._left_out

    @property
    def scores(self) -> Scores:
        """Of every channel as the model is now; computed once per step."""
        if self._scores is None:
            found = self._score(self.model, self.groups, self.evidence)
            self._scores = comparable(found)
        return self._scores

    def plan(self, ratio: float) -> Cut:
        """What goes so that ``ratio`` of the initial channels is gone."""
        removed = choose(
            self.groups,
            self.scores,
            ratio=ratio,
            scope=self.scope,
            round_to=self.round_to,
            initial=self.initial,
            tags=structure_tags(self.groups, self.model) if self.scope == "isomorphic" else None,
        )
        return Cut.of(self.groups, removed)

    def preview(self, ratio: float) -> nn.Module:
        """The network that :meth:`step` would leave, without its numbers: to count its costs."""
        bare = skeleton(self.model)
        self.plan(ratio).apply(bare)
        return bare

    def step(self, ratio: float) -> ClipModel:
        """Prune to ``ratio``; scores are computed anew afterwards. Returns the model.

        Raises:
            PruningError: the network does not run with fewer channels; it is unchanged.
        """
        cut = self.plan(ratio)
        bare = skeleton(self.model)
        cut.apply(bare)
        try:
            bare.eval()([torch.empty(*shape, device="meta") for shape in self.shapes])
        except RuntimeError as error:
            raise PruningError(
                f"{type(self.model).__name__} does not run with fewer channels ({error}). "
                "Name the layer in --protect, or in the model's fixed_widths"
            ) from error
        cut.apply(self.model)
        self._groups = self._scores = None
        return self.model


def default_protected(found: Groups) -> dict[str, str]:
    """Layers near the clip, where few channels carry everything: name -> why."""
    kept = {found.first_temporal: "the first temporal convolution"} if found.first_temporal else {}
    return kept | dict.fromkeys(found.stems, "a stem")


def protected(model: ClipModel, patterns: Iterable[str]) -> dict[str, str]:
    """Layers that keep their output because a pattern names them: name -> why.

    Raises:
        PruningError: a pattern that names no layer.
    """
    kept: dict[str, str] = {}
    for pattern in patterns:
        names = matching(model, [pattern])
        if not names:
            raise PruningError(
                f"--protect {pattern}: no layer has that name. They look like "
                f"{', '.join(_examples(model))}"
            )
        kept |= dict.fromkeys(names, f"protected by name ({pattern})")
    return kept


def _examples(model: nn.Module) -> Collection[str]:
    names = [name for name, module in model.named_modules() if not list(module.children())]
    return names[:: max(1, len(names) // 4)][:4]


def prune_channels(
    model: ClipModel,
    shapes: Sequence[Shape],
    *,
    ratio: float,
    steps: int = 1,
    method: str = "l1_structured",
    scope: str = "local",
    round_to: int = 1,
    protect: Iterable[str] = (),
    evidence: Evidence | None = None,
) -> ClipModel:
    """Remove the least important channels of a model, everywhere they are connected.

    Args:
        model: pruned in place.
        shapes: ``(B, C, T_p, H, W)`` of every pathway of a clip.
        ratio: share of the channels to remove, in [0, 0.95].
        steps: so many cuts, each with scores of its own.
        method: entry of ``PRUNERS``.
        scope: ``local``, ``global`` or ``isomorphic``.
        round_to: see :class:`Pruner`, as the rest.
        protect: likewise.
        evidence: likewise.

    Returns:
        The same model. Build optimisers after this.

    Example:
        >>> from slowfast.models.tiny import TinyNet
        >>> tiny = prune_channels(TinyNet(num_classes=4), [(1, 3, 4, 8, 8)], ratio=0.5)
        >>> tiny.num_features
        8
    """
    pruner = Pruner(
        model,
        shapes,
        method=method,
        scope=scope,
        round_to=round_to,
        protect=protect,
        evidence=evidence,
    )
    for i in range(steps):
        pruner.step(ratio * (i + 1) / steps)
    return model
