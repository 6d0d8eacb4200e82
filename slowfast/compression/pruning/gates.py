"""What removing a channel does to the loss, estimated from gradients on real clips.

A gate, a factor of 1, is put before every layer that reads a channel. Closing it (0) is removing
the channel, so with the derivative ``d`` of one clip's loss at the gate, the loss changes by
``-d`` to first order. One backward pass gives ``d`` of every channel and every clip of a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from slowfast.compression.pruning.graph import IN, OUT, Group, Member
from slowfast.compression.pruning.importance import Evidence
from slowfast.compression.pruning.schedule import Scores
from slowfast.engine.batches import batch_size
from slowfast.models.base import ClipModel
from slowfast.utils.errors import UserError
from slowfast.utils.widths import lstm_parts, widths_of


class EvidenceError(UserError, ValueError):
    """A method that looks at the loss was given no data."""


def taylor(model: ClipModel, groups: Sequence[Group], evidence: Evidence | None = None) -> Scores:
    """Mean over clips of ``|d|``: first order, Molchanov et al. 2017.

    https://arxiv.org/abs/1611.06440, equation 8, in weights instead of activations:
    ``d = sum(weight * gradient)`` over all weights that read the channel, the same number.
    """
    return _mean(model, groups, evidence, torch.abs)


def hessian(model: ClipModel, groups: Sequence[Group], evidence: Evidence | None = None) -> Scores:
    """Half the mean over clips of ``d ** 2``: second order.

    The Hessian is approximated by the empirical Fisher matrix, the mean of the clips' ``g g^T``;
    then ``w^T H w / 2`` over the weights ``w`` that read a channel is this (Theis et al. 2018,
    https://arxiv.org/abs/1801.05787, equation 6).
    """
    return _mean(model, groups, evidence, lambda d: d.square() / 2)


def _mean(
    model: ClipModel, groups: Sequence[Group], evidence: Evidence | None, measure: Any
) -> Scores:
    if evidence is None:
        raise EvidenceError(
            "taylor and hessian look at the loss on training clips: give the training data "
            "(DATA.PATH_TO_DATA_DIR), or choose a method of the weights, such as group_norm"
        )
    totals = {group.name: torch.zeros(group.width, dtype=torch.float64) for group in groups}
    clips = 0
    for size, derivatives in clip_derivatives(model, groups, evidence):
        clips += size
        for name, value in derivatives.items():
            totals[name] += measure(value).sum(dim=0)
    if not clips:
        raise EvidenceError("there is no training batch: is TRAIN.BATCH_SIZE above the data set?")
    return {name: total / clips for name, total in totals.items()}


def clip_derivatives(
    model: ClipModel, groups: Sequence[Group], evidence: Evidence
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Per batch its number of clips and, by group, ``d`` of every clip: ``(clips, channels)``.

    Hidden units of an LSTM also read one another: there ``d`` is of the batch's mean loss, the
    same for all of its clips.
    """
    modes = [(module, module.training) for module in evidence.objective.modules()]
    evidence.objective.eval()
    try:
        for batch in evidence.batches():
            size = batch_size(batch)
            with _gated(model, groups) as gates, _recurrent_gradients(model):
                loss = evidence.objective(batch).loss
                yield size, _derivatives(model, groups, gates, loss, size)
    finally:
        for module, mode in modes:
            module.training = mode


def _recurrent_gradients(model: nn.Module) -> AbstractContextManager[None]:
    """cuDNN's recurrent layers have no gradient in evaluation mode; other kernels have."""
    if not any(isinstance(module, nn.RNNBase) for module in model.modules()):
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=False)


@contextmanager
def _gated(model: nn.Module, groups: Sequence[Group]) -> Iterator[dict[str, Tensor]]:
    """Put gates before the layers that read channels of the groups; by name, after a forward."""
    gates: dict[str, Tensor] = {}

    def gate(name: str, width: int) -> Any:
        def multiply(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Any, ...]:
            x = inputs[0]
            last = isinstance(module, (nn.Linear, nn.LSTM))
            gates[name] = x.new_ones(len(x), width, requires_grad=True)
            ones = [1] * (x.ndim - 2)
            shape = (len(x), *ones, width) if last else (len(x), width, *ones)
            return (x * gates[name].view(shape), *inputs[1:])

        return multiply

    readers = dict.fromkeys(member.name for group in groups for member in group.of(IN))
    modules = {name: model.get_submodule(name) for name in readers}
    handles = [
        module.register_forward_pre_hook(gate(name, widths_of(module)[0]))
        for name, module in modules.items()
    ]
    try:
        yield gates
    finally:
        for handle in handles:
            handle.remove()


def _derivatives(
    model: nn.Module,
    groups: Sequence[Group],
    gates: dict[str, Tensor],
    loss: Tensor,
    size: int,
) -> dict[str, Tensor]:
    units = {m.name for g in groups for m in g.of(OUT) if _is_lstm(model, m)}
    weights = {
        f"{name}.{key}": parameter
        for name in units
        for key, parameter in model.get_submodule(name).named_parameters()
        if key.startswith("weight")
    }
    wanted = [*gates.values(), *weights.values()]
    found = torch.autograd.grad(loss, wanted, allow_unused=True)
    by_name = {
        name: tensor for name, tensor in zip([*gates, *weights], found, strict=True)
        if tensor is not None
    }  # fmt: skip
    result = {}
    for group in groups:
        total = torch.zeros(size, group.width, dtype=torch.float64)
        for member in group.members:
            if member.role == IN and member.name in by_name:
                # loss is a mean over clips; a clip may have several rows: its frames
                rows = by_name[member.name].double().cpu() * size
                rows = rows.view(size, -1, rows.shape[1]).sum(dim=1)
                total.index_add_(1, member.roots, rows[:, member.channels])
            elif _is_lstm(model, member) and member.role == OUT:
                change = _unit_derivatives(model, member, by_name)
                total.index_add_(1, member.roots, change[member.channels].expand(size, -1))
        result[group.name] = total
    return result


def _is_lstm(model: nn.Module, member: Member) -> bool:
    return isinstance(model.get_submodule(member.name), nn.LSTM)


def _unit_derivatives(model: nn.Module, member: Member, gradients: dict[str, Tensor]) -> Tensor:
    """``sum(weight * gradient)`` over the weights within an LSTM that read each hidden unit."""
    lstm = model.get_submodule(member.name)
    assert isinstance(lstm, nn.LSTM)
    directions = 2 if lstm.bidirectional else 1
    layer, direction = divmod(member.part, directions)

    def read(key: str) -> Tensor:
        weight, gradient = getattr(lstm, key), gradients.get(f"{member.name}.{key}")
        product = torch.zeros_like(weight) if gradient is None else weight * gradient
        return product.detach().double().cpu().sum(dim=0)

    endings = ["", "_reverse"][:directions]
    total = read(f"weight_hh_l{layer}{endings[direction]}")
    if member.part + directions < lstm_parts(lstm):  # the next layer reads both directions
        start = direction * lstm.hidden_size
        for ending in endings:
            columns = read(f"weight_ih_l{layer + 1}{ending}")
            total = total + columns[start : start + lstm.hidden_size]
    return total
