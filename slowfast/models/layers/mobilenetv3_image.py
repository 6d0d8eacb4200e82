"""Weights of torchvision's image MobileNetV3-large in the names and shapes of the 3-D networks."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from slowfast.models.layers.resnet2d import PretrainedError, read_image_weights

ARCHITECTURE = "mobilenet_v3_large"
NUM_BLOCKS = 15
EPS_THERE = 1e-3
"""Of torchvision's batch norms here; the 3-D networks have the default, 1e-5."""


def load_image_weights(backbone: nn.Module, source: str) -> None:
    """Start stem, blocks and last layer from image weights; local-global diffusion stays fresh.

    A 2-D filter becomes the middle frame of a 3-D one, the other frames zero: every frame is
    first seen as an image, however long the clip is. Details of the image network are others, so
    features are near its own, not the same: there the activation comes before the
    squeeze-and-excite, block 12 has the stride of block 13, block 13 has 960 inner channels, of
    which the 672 strongest are taken, and three gates have some more hidden units, likewise.

    Args:
        backbone: a :class:`~slowfast.models.mobilenetv3.Backbone` of width 1.
        source: see :func:`~slowfast.models.layers.resnet2d.load_resnet2d`.

    Raises:
        PretrainedError: the weights cannot be had, or do not fit.
    """
    state = convert_image_weights(read_image_weights(source, ARCHITECTURE))
    own = {n: t for n, t in backbone.state_dict().items() if not n.startswith("lgd.")}
    _narrow_block(state, "blocks.13", len(own["blocks.13.expand.weight"]))
    for block in WITH_SE:
        _narrow_gate(state, f"blocks.{block}.se", len(own[f"blocks.{block}.se.fc1.bias"]))
    unfit = []
    for name, tensor in own.items():
        if name.endswith("num_batches_tracked"):
            continue
        fitted = fit(state[name], tensor.shape) if name in state else None
        if fitted is None:
            unfit.append(name)
        else:
            state[name] = fitted
    if unfit:
        raise PretrainedError(
            f"{source} does not fit: {len(unfit)} of {len(own)} tensors are missing or of another "
            f"shape, first {unfit[0]!r}. Give weights of torchvision's {ARCHITECTURE}, and "
            "MODEL.WIDTH_MULT 1.0"
        )
    backbone.load_state_dict({name: state[name] for name in own if name in state}, strict=False)


def convert_image_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's tensors under our names, still 2-D; its classifier is left out."""
    modules = image_modules()
    converted = {}
    for name, tensor in state.items():
        module, _, leaf = name.rpartition(".")
        if module in modules:
            converted[f"{modules[module]}.{leaf}"] = tensor
    for name in [n for n in converted if n.endswith(".running_var")]:
        norm = name.removesuffix(".running_var")
        weight, var = converted[f"{norm}.weight"], converted[name]
        converted[f"{norm}.weight"] = weight * ((var + 1e-5) / (var + EPS_THERE)).sqrt()
    return converted


def image_modules() -> dict[str, str]:
    """torchvision's module name -> ours.

    Example:
        >>> image_modules()["features.4.block.3.0"], image_modules()["features.1.block.1.0"]
        ('blocks.3.project', 'blocks.0.project')
    """
    names = {"features.0": "stem", f"features.{NUM_BLOCKS + 1}": "last"}
    modules = {f"{a}.{i}": f"{b}.{x}" for a, b in names.items() for i, x in enumerate(PAIR)}
    for i in range(NUM_BLOCKS):
        layers = [*(["expand"] if i else []), "depthwise", *(["se"] if i in WITH_SE else [])]
        for j, layer in enumerate([*layers, "project"]):
            there, ours = f"features.{i + 1}.block.{j}", f"blocks.{i}.{layer}"
            if layer == "se":
                modules |= {f"{there}.{fc}": f"{ours}.{fc}" for fc in ("fc1", "fc2")}
            else:
                modules |= {f"{there}.0": ours, f"{there}.1": f"{ours}_bn"}
    return modules


PAIR = ("conv", "bn")
WITH_SE = (3, 4, 5, 10, 11, 12, 13, 14)


def _narrow_block(state: dict[str, Tensor], block: str, width: int) -> None:
    """Keep the inner channels that the block's output hears most."""
    out, scale = f"{block}.project.weight", f"{block}.depthwise_bn.weight"
    if out not in state or scale not in state:
        return
    kept = _strongest(state[out].flatten(2).norm(dim=(0, 2)) * state[scale].abs(), width)
    for name in [n for n in state if n.startswith(f"{block}.")]:
        layer = name.removeprefix(f"{block}.").rpartition(".")[0]
        if layer in ("project", "se.fc1") and state[name].ndim > 1:
            state[name] = state[name][:, kept]
        elif layer not in ("project", "project_bn", "se.fc1") and state[name].ndim:
            state[name] = state[name][kept]


def _narrow_gate(state: dict[str, Tensor], gate: str, width: int) -> None:
    """Keep the hidden units that the gate hears most."""
    entries = [f"{gate}.{entry}" for entry in ("fc1.weight", "fc1.bias", "fc2.weight")]
    if not all(entry in state for entry in entries):
        return
    first, bias, second = (state[entry] for entry in entries)
    kept = _strongest(first.flatten(1).norm(dim=1) * second.flatten(2).norm(dim=(0, 2)), width)
    narrowed = (first[kept], bias[kept], second[:, kept])
    state.update(zip(entries, narrowed, strict=True))


def _strongest(strength: Tensor, width: int) -> Tensor:
    """Indices of the ``width`` largest, in their order."""
    return strength.topk(min(width, len(strength))).indices.sort().values


def fit(tensor: Tensor, shape: torch.Size) -> Tensor | None:
    """``tensor`` as the middle frame of ``shape``; ``None`` where the rest differs."""
    if tensor.ndim == 4 and len(shape) == 5:
        inflated = tensor.new_zeros(*tensor.shape[:2], shape[2], *tensor.shape[2:])
        inflated[:, :, shape[2] // 2] = tensor
        tensor = inflated
    return tensor if tensor.shape == shape else None
