"""Rebuild a pruned model from its weights: their shapes are all the record there needs to be."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from slowfast.checkpoint.match import CheckpointMismatch


def fit_to_state_dict(model: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """Give every convolution, batch norm and linear layer the widths found in ``state``.

    Call it between ``build_model`` and ``load_state_dict``; on an unpruned checkpoint it
    changes nothing. Squeeze-and-excite layers are convolutions here and follow the rest.

    Args:
        model: freshly built, changed in place.
        state: a ``model_state``.

    Returns:
        Names of the resized modules.

    Raises:
        CheckpointMismatch: a kernel size differs, or a grouped, not depthwise, convolution
            changed width: its weight alone does not tell how many groups are left.
    """
    resized = []
    for name, module in model.named_modules():
        weight = state.get(f"{name}.weight")
        if weight is None or not isinstance(module, (_ConvNd, _BatchNorm, nn.Linear)):
            continue
        if module.weight.shape == weight.shape:
            continue
        _set_widths(name, module, weight)
        for key, old in dict(module.named_parameters(recurse=False)).items():
            new = old.new_empty(state[f"{name}.{key}"].shape)
            setattr(module, key, nn.Parameter(new, old.requires_grad))
        for key, buffer in dict(module.named_buffers(recurse=False)).items():
            stored = state.get(f"{name}.{key}", buffer)
            setattr(module, key, buffer.new_empty(stored.shape))
        resized.append(name)
    _update_num_features(model)
    return resized


def _set_widths(name: str, module: nn.Module, weight: Tensor) -> None:
    """The attributes beside the tensors: what ``repr``, exporters and the forward pass read."""
    if isinstance(module, _ConvNd):
        if tuple(weight.shape[2:]) != module.kernel_size:
            raise CheckpointMismatch(
                f"{name}: kernel {tuple(weight.shape[2:])} in the file, {module.kernel_size} in "
                "the model: pruning changes widths only, so the file is of another network"
            )
        out_channels, in_per_group = weight.shape[:2]
        depthwise = module.groups == module.in_channels == module.out_channels
        if module.groups > 1 and not depthwise:
            raise CheckpointMismatch(
                f"{name}: cannot infer the groups of a pruned grouped convolution"
            )
        module.groups = out_channels if depthwise else 1
        module.in_channels, module.out_channels = in_per_group * module.groups, out_channels
    elif isinstance(module, nn.Linear):
        module.out_features, module.in_features = weight.shape
    elif isinstance(module, _BatchNorm):
        module.num_features = weight.shape[0]


def _update_num_features(model: nn.Module) -> None:
    classifiers = getattr(model, "classifiers", None)
    if classifiers:
        model.num_features = next(iter(classifiers.values())).in_features
