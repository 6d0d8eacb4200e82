"""Convolution over the last frames; those before the newest come from the memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from slowfast.models.layers.time_padding import frames_before
from slowfast.models.streaming.memory import Memory
from slowfast.models.streaming.stream import Stream, StreamingError
from slowfast.models.streaming.timing import Timing


class CachedConv(Stream):
    """The sum of one 2-D convolution per temporal tap, each over one frame.

    Two-dimensional throughout, which every runtime is good at. The state is the last ``k - 1``
    input frames: they are there anyway, so that remembering them copies nothing. Where outputs are
    smaller than inputs (a spatial stride, fewer channels), or the layer is depthwise, it is what
    these frames contribute to the next ``k - 1`` outputs instead; the convolutions are the same
    ones, done a step earlier.

    Args:
        conv: of the clip model; its weights are copied.
        name: of its memory.
        timing: of its input.
        wait: use frames this much older (to meet another pathway).
    """

    def __init__(self, conv: nn.Conv3d, name: str, timing: Timing, *, wait: int = 0) -> None:
        stride_t, dilation_t = conv.stride[0], conv.dilation[0]
        if dilation_t != 1 or conv.padding_mode != "zeros" or isinstance(conv.padding, str):
            raise StreamingError(
                f"{name} is a convolution with temporal dilation {dilation_t} and padding "
                f"{conv.padding!r} ({conv.padding_mode}): only 1 and numbers run frame by frame"
            )
        kernel = conv.kernel_size[0]
        behind = timing.after(kernel, before=frames_before(conv), stride=stride_t)
        super().__init__(behind.later(wait * timing.rate))
        self.name, self.source, self.wait = name, timing, wait
        taps = conv.weight.detach().clone().unbind(2)
        self.taps = nn.ParameterList(nn.Parameter(t.contiguous(), False) for t in taps)
        bias = conv.bias.detach().clone() if conv.bias is not None else None
        self.bias = None if bias is None else nn.Parameter(bias, False)
        self.options = (conv.stride[1:], conv.padding[1:], conv.dilation[1:], conv.groups)
        self.strided = stride_t > 1
        size = conv.in_channels * conv.stride[1] * conv.stride[2]
        # Sums are new tensors, which OpenVINO takes into its state as they are; frames that only
        # move from one entry to the next are copied there. So depthwise ones of equal size too.
        smaller = conv.out_channels < size or conv.out_channels == size == conv.groups
        self.sums_ahead = smaller and kernel > 1 and not self.strided and not wait

    @property
    def remembered(self) -> int:
        """Input frames kept, in steps of the input's rate."""
        return 0 if self.sums_ahead else len(self.taps) - 1 + self.wait

    @torch.no_grad()
    def fold(self, norm: _BatchNorm) -> None:
        """Make a batch norm that follows part of the weights."""
        scale, shift = affine(norm)
        for tap in self.taps:
            tap.mul_(scale.view(-1, 1, 1, 1))
        bias = shift if self.bias is None else shift + scale * self.bias
        self.bias = nn.Parameter(bias, False)

    def forward(self, x: Tensor, memory: Memory) -> Tensor | None:
        if self.sums_ahead:
            return self._sum_ahead(x, memory)
        frames = memory.past(self.name, x, self.remembered, self.source)
        if self.strided and not memory.ticks(self.timing):
            return None
        taps = list(self.taps)
        out = F.conv2d(frames[len(taps) - 1], taps[-1], self.bias, *self.options)
        for frame, tap in zip(frames, taps[:-1], strict=False):
            out = out + F.conv2d(frame, tap, None, *self.options)
        return out

    def _sum_ahead(self, x: Tensor, memory: Memory) -> Tensor:
        first, *others = self.taps
        total = F.conv2d(x, first, None, *self.options)
        for i, tap in enumerate(others, 1):
            before = memory.past(f"{self.name}.sum{i}", total, 1, self.source)[0]
            bias = self.bias if i == len(others) else None
            total = before + F.conv2d(x, tap, bias, *self.options)
        return total


def affine(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Scale and shift per channel that a batch norm comes to with its running statistics."""
    if norm.running_mean is None or norm.running_var is None:
        raise StreamingError("a batch norm without running statistics does not run frame by frame")
    scale = torch.rsqrt(norm.running_var + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.detach()
    shift = -norm.running_mean * scale
    return scale, shift if norm.bias is None else shift + norm.bias.detach()
