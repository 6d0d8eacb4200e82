"""Give a freshly built network the widths of a pruned one, so that its weights load.

A checkpoint of a pruned network holds the table of its widths as JSON under ``widths``:
``{"s2.pathway0_res0.branch2.a": [24, 40], ...}``, channels in and out by module name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from slowfast.checkpoint.match import CheckpointMismatch
from slowfast.utils.plain_json import parse_json
from slowfast.utils.widths import (
    GATES,
    WidthError,
    Widths,
    is_depthwise,
    set_widths,
    sized_modules,
    widths_of,
)


def fit_to_checkpoint(
    model: nn.Module, checkpoint: Mapping[str, Any], *, source: str = "the checkpoint"
) -> bool:
    """Cut ``model`` to the widths that a checkpoint names; nothing when it was not pruned.

    Call it between ``build_model`` and loading the weights. Classifiers keep their number of
    classes, which may be another in a new training.

    Args:
        model: freshly built from the checkpoint's config, changed in place.
        checkpoint: see :mod:`slowfast.checkpoint.io`.
        source: what to call it in messages: its path.

    Returns:
        Whether the checkpoint was of a pruned network.

    Raises:
        CheckpointMismatch: the table belongs to another network.
    """
    text = checkpoint.get("widths")
    if text is None:
        return False
    try:
        fit_to_widths(model, parse_json(text))
    except (ValueError, TypeError, AttributeError) as error:  # WidthError is a ValueError
        raise CheckpointMismatch(
            f"{source} is of a pruned network, and its widths do not fit: {error}"
        ) from error
    return True


def fit_to_widths(model: nn.Module, widths: Widths) -> list[str]:
    """Cut ``model`` to a table of widths; returns the names of the layers that changed.

    Raises:
        WidthError: the table belongs to another network.
    """
    heads = {id(layer) for layer in getattr(model, "classifiers", {}).values()}
    classes = {n: widths_of(m)[1] for n, m in sized_modules(model) if id(m) in heads}
    kept = {n: [w[0], classes.get(n, w[1])] for n, w in widths.items()}
    changed = set_widths(model, kept)
    after_cut(model)
    return changed


def after_cut(model: nn.Module) -> None:
    """Set what a model says of its own widths; from here on its checkpoints carry the table."""
    if classifiers := getattr(model, "classifiers", None):
        model.num_features = next(iter(classifiers.values())).in_features
    model.is_pruned = True  # type: ignore[assignment]


def fit_to_state_dict(model: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """Cut every convolution, batch norm, linear layer and LSTM to the widths in ``state``.

    For weights without a table; :func:`fit_to_checkpoint` also knows groups. On the weights of
    an unpruned network it changes nothing.

    Args:
        model: freshly built, changed in place.
        state: a ``model_state``.

    Returns:
        Names of the resized modules.

    Raises:
        CheckpointMismatch: a kernel size differs, or a grouped, not depthwise, convolution
            changed width: its weight alone does not tell how many groups are left.
    """
    widths: Widths = {}
    for name, module in sized_modules(model):
        found = _widths_in_state(name, module, state)
        if found is not None and found != list(widths_of(module)):
            widths[name] = found
    if not widths:
        return []
    try:
        changed = set_widths(model, widths)
    except WidthError as error:
        raise CheckpointMismatch(f"the weights do not fit: {error}") from error
    after_cut(model)
    return changed


def _widths_in_state(name: str, module: nn.Module, state: Mapping[str, Tensor]) -> list[int] | None:
    if isinstance(module, nn.LSTM):
        first = state.get(f"{name}.weight_ih_l0")
        return None if first is None else [first.shape[1], first.shape[0] // GATES]
    weight = state.get(f"{name}.weight")
    if weight is None:
        return None
    if isinstance(module, nn.Linear):
        return [weight.shape[1], weight.shape[0]]
    if not isinstance(module, _ConvNd):
        return [len(weight)] * 2
    if tuple(weight.shape[2:]) != module.kernel_size:
        raise CheckpointMismatch(
            f"{name}: kernel {tuple(weight.shape[2:])} in the file, {module.kernel_size} in "
            "the model: pruning changes widths only, so the file is of another network"
        )
    if is_depthwise(module):
        return [len(weight)] * 2
    if module.groups > 1 and weight.shape != module.weight.shape:
        raise CheckpointMismatch(f"{name}: cannot infer the groups of a pruned grouped convolution")
    return [weight.shape[1] * module.groups, weight.shape[0]]
