"""Residual blocks: the shortcut waits for the branch."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

from slowfast.models.layers.mobilenetv3_block import InvertedResidual
from slowfast.models.layers.resblock import ResBlock
from slowfast.models.streaming.conv import CachedConv
from slowfast.models.streaming.memory import Memory
from slowfast.models.streaming.stream import Chain, Named, Stream
from slowfast.models.streaming.timing import Timing


class Residual(Stream):
    """``shortcut + branch``, of the same frame.

    A branch that looks ``n`` frames ahead is ``n`` frames late, so the shortcut is as well: its
    frames are remembered, before or after its projection, whichever is smaller, or read from what
    the branch's first convolution remembers of the same input.

    Args:
        branch: its layers.
        shortcut: those of the projection, if any.
        name: of its memory.
        timing: of its input.
        relu: whether one follows.
        project_late: delay the input of the projection instead of its output.
    """

    def __init__(
        self,
        branch: list[Named],
        shortcut: list[Named],
        name: str,
        timing: Timing,
        *,
        relu: bool,
        project_late: bool = False,
    ) -> None:
        inner = Chain(branch, timing)
        super().__init__(inner.timing)
        self.branch, self.shortcut = inner, Chain(shortcut, timing)
        self.name, self.source, self.relu = name, timing, relu
        self.age = (inner.timing.delay - timing.delay) // timing.rate
        first = inner.links[0]
        shares = isinstance(first, CachedConv) and first.remembered >= self.age
        self.shared = first.name if self.age and shares and isinstance(first, CachedConv) else ""
        self.project_late = bool(self.shared) or project_late

    def forward(self, x: Tensor, memory: Memory) -> Tensor | None:
        branch = self.branch(x, memory)
        if self.project_late:
            kept = self.shortcut(self._delayed(x, memory), memory)
        else:
            kept = self._delayed(self.shortcut(x, memory), memory)
        out = kept + branch
        return F.relu(out) if self.relu else out

    def _delayed(self, x: Tensor, memory: Memory) -> Tensor:
        if not self.age:
            return x
        if self.shared:
            return memory.peek(self.shared, x, self.age, self.source)
        return memory.past(self.name, x, self.age, self.source)[0]


def stream_res_block(block: ResBlock, name: str, timing: Timing) -> Stream:
    """Of the ResNet families and X3D."""
    shortcut: list[Named] = []
    late = False
    if block.projects:
        shortcut = [(f"{name}.{part}", getattr(block, part)) for part in ("branch1", "branch1_bn")]
        conv = block.branch1
        late = conv.in_channels * math.prod(conv.stride) < conv.out_channels
    branch = [(f"{name}.branch2", block.branch2)]
    return Residual(branch, shortcut, f"{name}.shortcut", timing, relu=True, project_late=late)


def stream_inverted(block: InvertedResidual, name: str, timing: Timing) -> Stream:
    """Of MobileNetV3."""
    expand = ["expand", "expand_bn", "act", "depthwise", "depthwise_bn", "se", "act"]
    plain = ["depthwise", "depthwise_bn", "act", "se"]
    parts = [*(expand if block.has_expand else plain), "project", "project_bn", "pool"]
    branch = [(f"{name}.{part}", getattr(block, part)) for part in parts]
    if not block.has_skip:
        return Chain(branch, timing)
    return Residual(branch, [], f"{name}.shortcut", timing, relu=False)
