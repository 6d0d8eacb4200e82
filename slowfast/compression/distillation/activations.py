"""What a network computes on the way to its features, for losses that compare it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from slowfast.models.base import ClipModel
from slowfast.utils.errors import UserError


class ActivationError(UserError, ValueError):
    """A network without the activations that a loss compares."""


@contextmanager
def captured(modules: Sequence[nn.Module]) -> Iterator[list[Any]]:
    """The latest outputs of ``modules``, filled in by forward passes inside the context."""
    outputs: list[Any] = [None] * len(modules)

    def remember(place: int) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            outputs[place] = output

        return hook

    handles = [module.register_forward_hook(remember(i)) for i, module in enumerate(modules)]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def as_maps(output: Any) -> list[Tensor]:
    """The ``(B, C, T, H, W)`` tensors of a module's output, one per pathway."""
    outputs = output if isinstance(output, (list, tuple)) else [output]
    return [x for x in outputs if isinstance(x, Tensor) and x.ndim == 5]


def find_last_map(model: ClipModel, clips: Sequence[Tensor]) -> str:
    """Name of the module that gives the last activations with an extent in space.

    Found by running the model once, in evaluation mode; its state is left as it is.

    Args:
        model: any clip model.
        clips: one clip is enough.

    Raises:
        ActivationError: no module has such an output, e.g. of an image network with an LSTM.
    """
    found: list[str] = []

    def note(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            maps = as_maps(output)
            if maps and all(x.shape[3] * x.shape[4] > 1 for x in maps):
                found.append(name)

        return hook

    modes = {module: module.training for module in model.modules()}
    handles = [m.register_forward_hook(note(name)) for name, m in model.named_modules() if name]
    try:
        with torch.no_grad():
            model.eval()
            model.forward_features(clips)
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
    if not found:
        raise ActivationError(
            f"{type(model).__name__} has no activations (B, C, T, H, W) with an extent in space: "
            "use another distillation loss than attention"
        )
    return found[-1]
