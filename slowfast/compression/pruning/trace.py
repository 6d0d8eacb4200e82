"""The trace of a network by Torch-Pruning, Fang et al. 2023, https://arxiv.org/abs/2301.12900.

It follows gradients, and it runs on a skeleton, the model without its numbers: no memory, no
arithmetic. Where gradients do not go where channels go, stand-ins take the place of layers.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from slowfast.utils.optional import require
from slowfast.utils.widths import is_sized

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Trace:
    """What the trace found.

    Attributes:
        groups: of Torch-Pruning, every channel of the network in one.
        names: its modules -> their names in the model.
        order: names of the layers with widths, in the order they run.
    """

    groups: list[Any]
    names: dict[nn.Module, str]
    order: list[str]


def trace(model: nn.Module, shapes: Sequence[Sequence[int]], fixed: Collection[str]) -> Trace:
    """Trace a model.

    Args:
        model: unchanged.
        shapes: ``(B, C, T_p, H, W)`` of every pathway.
        fixed: layers behind which the trace ends.
    """
    pruning = require("torch_pruning", extra="prune")
    bare = skeleton(model).eval()
    ends = _make_traceable(bare, fixed)
    names = {module: name for name, module in bare.named_modules()}
    names |= {m.layer: name for m, name in names.items() if isinstance(m, (_Recurrent, _End))}
    order: list[str] = []

    def note(module: nn.Module, inputs: Any) -> None:
        order.append(names[module])

    for module in names:
        if is_sized(module):
            module.register_forward_pre_hook(note)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of parameters outside layers: the groups tell
        graph = pruning.DependencyGraph().build_dependency(
            bare,
            example_inputs={"clips": [torch.empty(*shape, device="meta") for shape in shapes]},
            output_transform=lambda preds: [*_tensors(preds), *ends],
            verbose=False,
        )
    groups = list(graph.get_all_groups(ignored_layers=[]))
    return Trace(groups, names, list(dict.fromkeys(order)))


def skeleton(model: M) -> M:
    """A copy of the model on the meta device: all of its structure, none of its numbers."""
    memo: dict[int, Any] = {}
    for tensor in (*model.parameters(), *model.buffers()):
        empty = torch.empty_like(tensor, device="meta", requires_grad=False)
        if isinstance(tensor, nn.Parameter):
            empty = nn.Parameter(empty, requires_grad=tensor.requires_grad)
        memo[id(tensor)] = empty
    return copy.deepcopy(model, memo)


def _tensors(preds: Any) -> list[Tensor]:
    return list(preds.values()) if isinstance(preds, dict) else [preds]


class _Recurrent(nn.Module):
    """Takes the place of an LSTM in the trace: reads its input, gives its last layer's output."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        directions = 2 if lstm.bidirectional else 1
        self.layer = nn.Linear(lstm.input_size, lstm.hidden_size * directions, device="meta")

    def forward(self, x: Tensor, *state: Any) -> Any:
        return self.layer(x), None


class _End(nn.Module):
    """Takes the place of a layer behind which the trace ends."""

    def __init__(self, layer: nn.Module, ends: list[Tensor]) -> None:
        super().__init__()
        self.layer, self.ends = layer, ends

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        self.ends.append(out)
        return out.detach()


def _make_traceable(model: nn.Module, fixed: Collection[str]) -> list[Tensor]:
    """Let gradients in a skeleton go where channels go, and nowhere else: the trace follows them.

    Returns:
        A list that the next forward pass fills: the outputs of the layers of fixed width, where
        the trace ends as it does at the output of the network.
    """
    ends: list[Tensor] = []
    for parameter in model.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    for module in list(model.modules()):
        for switch in ("detach", "detach_head"):  # MODEL.DETACH_FINAL_FC
            if isinstance(getattr(module, switch, None), bool):
                setattr(module, switch, False)
        for name, child in list(module.named_children()):
            if isinstance(child, nn.LSTM):
                setattr(module, name, _Recurrent(child))
    for name in fixed:
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, _End(model.get_submodule(name), ends))
    return ends
