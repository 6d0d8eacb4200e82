"""Which channels must go together: groups over the dependency graph of Torch-Pruning.

A channel exists in several layers at once: the convolution and batch norm that give it, the
convolutions that read it, and through residual sums and gates in many blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from slowfast.compression.pruning.trace import trace
from slowfast.models.base import ClipModel
from slowfast.utils.widths import is_depthwise, is_sized, lstm_parts, sized_modules, widths_of

OUT, IN = "out", "in"
Shape = Sequence[int]


@dataclass(frozen=True)
class Member:
    """A layer's share in a group.

    Attributes:
        name: of the module.
        role: ``out``: it gives the channels (or passes them on: batch norms, depthwise
            convolutions); ``in``: it reads them.
        channels: their numbers in the layer.
        roots: which channel of the group each of them is.
        part: of an LSTM's hidden units, the layer and direction, counted in the order of its
            weights; else 0.
    """

    name: str
    role: str
    channels: Tensor
    roots: Tensor
    part: int = 0


@dataclass(frozen=True)
class Group:
    """Channels that exist in several layers. Removing one removes it from all members.

    Attributes:
        name: of the first layer that gives them.
        width: how many.
        members: the layers.
        blocks: the channels come in so many blocks of equal size that must lose as many each:
            groups of a convolution, layers and directions of an LSTM.
    """

    name: str
    width: int
    members: tuple[Member, ...]
    blocks: int = 1

    def of(self, role: str) -> Iterator[Member]:
        """The members in that role."""
        return (member for member in self.members if member.role == role)


@dataclass
class Groups:
    """What can be pruned, and what cannot.

    Attributes:
        prunable: groups, in the order of the model's modules.
        left_out: name of a group -> why it stays.
        stems: the layers that read the clip.
        first_temporal: the first convolution, in order of execution, that looks at several
            frames; empty when there is none.
    """

    prunable: list[Group] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    stems: list[str] = field(default_factory=list)
    first_temporal: str = ""


def find_groups(model: ClipModel, shapes: Sequence[Shape]) -> Groups:
    """All groups of a model, those with classifiers or outputs of the network left out.

    Args:
        model: unchanged.
        shapes: ``(B, C, T_p, H, W)`` of every pathway.
    """
    found, layers = Groups(), dict(sized_modules(model))
    fixed = matching(model, model.fixed_widths)
    heads = {id(layer) for layer in model.classifiers.values()}
    place = {name: i for i, name in enumerate(layers)}
    traced = trace(model, shapes, fixed)
    groups = []
    for raw in traced.groups:
        group, reason = _translate(raw, traced.names)
        if any(id(layers[m.name]) in heads for m in group.of(OUT)):
            reason = "the classes"
        if odd := [m.name for m in group.of(OUT) if m.name in fixed]:
            reason = f"{odd[0]} must keep its width"
        group, broken_blocks = _with_blocks(group, layers)
        group = replace(group, name=min(_sources(group, layers), key=place.__getitem__))
        groups.append(group)
        if reason := reason or broken_blocks:
            found.left_out[group.name] = reason
    read = {member.name for group in groups for member in group.members if member.role == IN}
    order = traced.order
    found.first_temporal = next((name for name in order if _is_temporal(layers[name])), "")
    first = next((i for i, name in enumerate(order) if name in fixed), len(order))
    found.stems = [name for name in order[:first] if _reads(layers[name]) and name not in read]
    broken = _inconsistent(groups, model)
    for group in groups:
        odd = sorted(m.name for m in group.members if (m.name, m.role) in broken)
        if odd:
            why = f"the channels of {odd[0]} could not be told apart"
            found.left_out.setdefault(group.name, why)
        if group.name not in found.left_out:
            found.prunable.append(group)
    found.prunable.sort(key=lambda group: place[group.name])
    return found


def matching(model: nn.Module, patterns: Iterable[str]) -> set[str]:
    """Names of the layers with widths that a pattern names, or that are inside of what it names."""
    patterns = [*patterns]
    return {
        name
        for name, _ in sized_modules(model)
        if any(fnmatchcase(name, p) or fnmatchcase(name, f"{p}.*") for p in patterns)
    }


def _is_temporal(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv3d) and module.kernel_size[0] > 1


def _reads(module: nn.Module) -> bool:
    if isinstance(module, _ConvNd):
        return not is_depthwise(module)
    return isinstance(module, (nn.Linear, nn.LSTM))


def _translate(traced: Any, names: dict[nn.Module, str]) -> tuple[Group, str]:
    """A group of Torch-Pruning in our words."""
    members, reason = [], ""
    for item in traced:
        module = item.dep.target.module
        kind = type(module).__name__
        if isinstance(module, nn.Parameter):
            reason = "a parameter outside any layer has these channels"
        elif kind == "_OutputOp":
            reason = "the output of the network"
        elif module in names and not is_sized(module):
            reason = f"{names[module]} is a {kind}"
        elif module in names:
            if any(root is None for root in item.root_idxs):
                reason = f"{names[module]} mixes them"
                continue
            role = IN if "in_channels" in item.dep.handler.__name__ else OUT
            if not _reads(module):
                role = OUT
            channels, roots = torch.tensor(item.idxs), torch.tensor(item.root_idxs)
            members.append(Member(names[module], role, channels, roots))
    return Group(members[0].name, len(traced[0].idxs), tuple(members)), reason


def _sources(group: Group, layers: dict[str, nn.Module]) -> list[str]:
    """The layers that make the channels, rather than pass them on; at least the root."""
    return [m.name for m in group.of(OUT) if _reads(layers[m.name])] or [group.name]


def _with_blocks(group: Group, layers: dict[str, nn.Module]) -> tuple[Group, str]:
    """The group with its blocks, and with all hidden units of an LSTM, not the last layer's."""
    lstms = [m for m in group.of(OUT) if isinstance(layers[m.name], nn.LSTM)]
    if lstms:
        if len(lstms) > 1 or next(group.of(OUT)) is not lstms[0]:
            return group, f"{lstms[0].name} shares its hidden units"
        return _with_hidden_layers(group, lstms[0], layers[lstms[0].name]), ""
    blocks = 1
    for member in group.members:
        module = layers[member.name]
        if not isinstance(module, _ConvNd) or is_depthwise(module) or module.groups == 1:
            continue
        same = torch.equal(member.channels, member.roots)
        if not same or len(member.roots) != group.width or blocks not in (1, module.groups):
            return group, f"{member.name} has groups that other layers do not follow"
        blocks = module.groups
    return replace(group, blocks=blocks), ""


def _with_hidden_layers(group: Group, traced: Member, module: nn.Module) -> Group:
    """Layers of an LSTM have one width, so all of them lose units when the last one does."""
    assert isinstance(module, nn.LSTM)
    parts, hidden = lstm_parts(module), module.hidden_size
    before = parts * hidden - group.width
    units = torch.arange(hidden)
    lstm = [Member(traced.name, OUT, units, units + p * hidden, p) for p in range(parts)]
    rest = [replace(m, roots=m.roots + before) for m in group.members if m is not traced]
    return Group(group.name, parts * hidden, (*lstm, *rest), parts)


def _inconsistent(groups: Sequence[Group], model: nn.Module) -> set[tuple[str, str]]:
    """Layers and roles whose channels are not each in exactly one group: the trace was mistaken.

    Channels that no group has are right where the layer reads the clip.
    """
    counts: dict[tuple[str, str, int], Tensor] = {}
    layers = dict(sized_modules(model))
    wrong = set()
    for group in groups:
        for member in group.members:
            key = (member.name, member.role, member.part)
            width = widths_of(layers[member.name])[member.role == OUT]
            if int(member.channels.max()) >= width:
                wrong.add((member.name, member.role))
                continue
            seen = counts.setdefault(key, torch.zeros(width, dtype=torch.long))
            seen += torch.bincount(member.channels, minlength=width)
    return wrong | {key[:2] for key, seen in counts.items() if not bool((seen == 1).all())}
