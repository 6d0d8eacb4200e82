"""Layers that look at one value at a time."""

from __future__ import annotations

import copy

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from slowfast.models.streaming.conv import affine
from slowfast.models.streaming.memory import Memory
from slowfast.models.streaming.stream import Stream
from slowfast.models.streaming.timing import Timing


class Elementwise(Stream):
    """An activation; not in place, as its input may be remembered."""

    def __init__(self, module: nn.Module, name: str, timing: Timing) -> None:
        super().__init__(timing)
        self.function = copy.deepcopy(module)
        if hasattr(self.function, "inplace"):
            self.function.inplace = False  # type: ignore[assignment]

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        return self.function(x)


class Affine(Stream):
    """A batch norm that follows no convolution."""

    def __init__(self, norm: _BatchNorm, name: str, timing: Timing) -> None:
        super().__init__(timing)
        scale, shift = affine(norm)
        self.scale = nn.Parameter(scale.view(1, -1, 1, 1).clone(), False)
        self.shift = nn.Parameter(shift.view(1, -1, 1, 1).clone(), False)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        return x * self.scale + self.shift
