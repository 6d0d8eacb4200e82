"""How many channels every layer reads and gives, and taking some of them away.

The table of widths is what a checkpoint of a pruned network carries beside its weights: with it
the config's network is cut to shape before the weights are loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from slowfast.utils.errors import UserError

Widths = dict[str, list[int]]
"""Module name -> ``[channels in, channels out]``; of an LSTM its input and hidden size."""

GATES = 4  # of an LSTM, one below the other in each of its weights


class WidthError(UserError, ValueError):
    """A table of widths that does not belong to this network."""


def sized_modules(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The layers that have widths: convolutions, batch norms, linear layers and LSTMs."""
    for name, module in model.named_modules():
        if is_sized(module):
            yield name, module


def is_sized(module: nn.Module) -> bool:
    """Whether :func:`keep_channels` knows the layer."""
    if isinstance(module, _ConvTransposeNd):
        return False
    return isinstance(module, (_ConvNd, _BatchNorm, nn.Linear, nn.LSTM))


def read_widths(model: nn.Module) -> Widths:
    """The widths of every layer."""
    return {name: list(widths_of(module)) for name, module in sized_modules(model)}


def widths_of(module: nn.Module) -> tuple[int, int]:
    """Channels a layer reads and gives."""
    if isinstance(module, _ConvNd):
        return module.in_channels, module.out_channels
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    if isinstance(module, nn.LSTM):
        return module.input_size, module.hidden_size
    assert isinstance(module, _BatchNorm), type(module)
    return module.num_features, module.num_features


def set_widths(model: nn.Module, widths: Mapping[str, Sequence[int]]) -> list[str]:
    """Cut the layers of a network to the widths of a table; the first channels stay.

    Args:
        model: changed in place; its layers are at least as wide as the table says.
        widths: see :data:`Widths`; layers it does not name stay as they are.

    Returns:
        Names of the layers that changed.

    Raises:
        WidthError: a layer of the table is not there, or narrower than it says.
    """
    layers = dict(sized_modules(model))
    if unknown := [name for name in widths if name not in layers]:
        raise WidthError(
            f"the table of widths names {unknown[0]!r} ({len(unknown)} such layers), which the "
            "network has not: it belongs to another MODEL.MODEL_NAME or MODEL.ARCH"
        )
    changed = []
    for name, (wanted_in, wanted_out) in widths.items():
        have = widths_of(layers[name])
        if have == (wanted_in, wanted_out):
            continue
        if wanted_in > have[0] or wanted_out > have[1] or min(wanted_in, wanted_out) < 1:
            raise WidthError(
                f"{name}: widths [{wanted_in}, {wanted_out}] in the table, {list(have)} in the "
                "network. Use the config of the network that was pruned (its checkpoint carries it)"
            )
        _keep_first(layers[name], wanted_in, wanted_out)
        changed.append(name)
    return changed


def _keep_first(module: nn.Module, wanted_in: int, wanted_out: int) -> None:
    if isinstance(module, nn.LSTM):
        hidden = torch.arange(wanted_out)
        keep_channels(module, torch.arange(wanted_in), [hidden] * lstm_parts(module))
        return
    groups = 1
    if isinstance(module, _ConvNd) and not is_depthwise(module):
        groups = module.groups
        if wanted_in % groups or wanted_out % groups:
            raise WidthError(f"{groups} groups of a convolution cannot have {wanted_in} channels")
    have = widths_of(module)
    kept = [
        _first_of_each(width, wanted, groups)
        for width, wanted in zip(have, (wanted_in, wanted_out), strict=True)
    ]
    keep_channels(module, kept[0], [kept[1]])


def _first_of_each(width: int, wanted: int, groups: int) -> Tensor:
    return torch.arange(width).view(groups, -1)[:, : wanted // groups].flatten()


def keep_channels(module: nn.Module, kept_in: Tensor, kept_out: Sequence[Tensor]) -> None:
    """Take away all other channels of a layer, in place.

    Attributes such as ``out_channels`` follow, memory layout and ``requires_grad`` stay.

    Args:
        module: see :func:`is_sized`.
        kept_in: indices of the channels it reads. Of a convolution with groups, as many of each.
        kept_out: indices of the channels it gives, in one tensor; of an LSTM one tensor of hidden
            units, all of one length, per layer and direction, in the order of its weights.
    """
    if isinstance(module, nn.LSTM):
        _keep_lstm(module, kept_in, kept_out)
        return
    (out,) = kept_out
    if isinstance(module, _ConvNd):
        _keep_conv(module, kept_in, out)
    elif isinstance(module, nn.Linear):
        _set(module, "weight", module.weight[out][:, kept_in])
        module.in_features, module.out_features = len(kept_in), len(out)
    else:
        for key in ("weight", "running_mean", "running_var"):
            if getattr(module, key) is not None:
                _set(module, key, getattr(module, key)[out])
        module.num_features = len(out)  # type: ignore[assignment]
    if module.bias is not None:
        _set(module, "bias", module.bias[out])  # type: ignore[index]


def is_depthwise(module: _ConvNd) -> bool:
    """One filter per channel, so that it reads and gives the same channels."""
    return 1 < module.groups == module.in_channels == module.out_channels


def _keep_conv(module: _ConvNd, kept_in: Tensor, out: Tensor) -> None:
    groups = module.groups
    if is_depthwise(module):
        _set(module, "weight", module.weight[out])
        module.groups = len(out)
    else:
        size_in = module.in_channels // groups
        parts = module.weight[out].chunk(groups)
        columns = (kept_in % size_in).chunk(groups)
        kept = [part[:, index] for part, index in zip(parts, columns, strict=True)]
        _set(module, "weight", torch.cat(kept))
    module.in_channels, module.out_channels = len(kept_in), len(out)


def lstm_parts(module: nn.LSTM) -> int:
    """Layers times directions: so many sets of hidden units an LSTM has."""
    return module.num_layers * (2 if module.bidirectional else 1)


def _keep_lstm(module: nn.LSTM, kept_in: Tensor, kept: Sequence[Tensor]) -> None:
    directions = 2 if module.bidirectional else 1
    hidden = module.hidden_size
    for part, units in enumerate(kept):
        layer, direction = divmod(part, directions)
        suffix = f"_l{layer}" + ("_reverse" if direction else "")
        rows = torch.cat([units + gate * hidden for gate in range(GATES)])
        read = kept_in
        if layer:  # the outputs of both directions of the layer before
            before = kept[(layer - 1) * directions : layer * directions]
            read = torch.cat([part + d * hidden for d, part in enumerate(before)])
        for key, columns in (("weight_ih", read), ("weight_hh", units)):
            _set(module, key + suffix, getattr(module, key + suffix)[rows][:, columns])
        for key in ("bias_ih", "bias_hh"):
            if module.bias:
                _set(module, key + suffix, getattr(module, key + suffix)[rows])
    module.input_size, module.hidden_size = len(kept_in), len(kept[0])
    module.flatten_parameters()


def _set(module: nn.Module, key: str, value: Tensor) -> None:
    """Replace a parameter or buffer, keeping what else is known of it."""
    old = getattr(module, key)
    new = value.detach()
    last = torch.channels_last_3d
    if old.ndim == 5 and not old.is_contiguous() and old.is_contiguous(memory_format=last):
        new = new.contiguous(memory_format=last)
    else:
        new = new.contiguous()
    if isinstance(old, nn.Parameter):
        new = nn.Parameter(new, old.requires_grad)
    setattr(module, key, new)
