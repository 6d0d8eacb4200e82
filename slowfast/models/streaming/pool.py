"""Pooling over space, and over frames with a stride."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slowfast.models.streaming.memory import Memory
from slowfast.models.streaming.stream import Stream, StreamingError
from slowfast.models.streaming.timing import Timing

Size = int | tuple[int, ...]


class CachedPool(Stream):
    """Maximum or mean over the last frames, then over space."""

    def __init__(self, pool: nn.MaxPool3d | nn.AvgPool3d, name: str, timing: Timing) -> None:
        kernel, stride, padding = map(triple, (pool.kernel_size, pool.stride, pool.padding))
        if padding[0]:
            raise StreamingError(f"{name} pads clips in time, so it does not run frame by frame")
        super().__init__(timing.after(kernel[0], before=0, stride=stride[0]))
        self.name, self.source = name, timing
        self.frames, self.stride_t = kernel[0], stride[0]
        self.over_space = (kernel[1:], stride[1:], padding[1:])
        self.is_max = isinstance(pool, nn.MaxPool3d)

    def forward(self, x: Tensor, memory: Memory) -> Tensor | None:
        frames = memory.past(self.name, x, self.frames - 1, self.source)
        if self.stride_t > 1 and not memory.ticks(self.timing):
            return None
        if self.is_max:
            x = reduce(torch.maximum, frames)
        elif self.frames > 1:
            x = sum(frames[1:], frames[0]) / self.frames
        if self.over_space == ((1, 1), (1, 1), (0, 0)):
            return x
        pool = F.max_pool2d if self.is_max else F.avg_pool2d
        return pool(x, *self.over_space)


def triple(size: Size) -> tuple[int, ...]:
    """``(T, H, W)`` of a size given in either way."""
    return (size,) * 3 if isinstance(size, int) else tuple(size)
