"""Depthwise 3-D convolution with a fast gradient on the CPU.

oneDNN has no depthwise kernels for the 3-D backward pass and falls back to its general grouped
ones: for X3D-S at batch 4 they take 13 ms per block of res4 where the forward pass takes 0.4 ms,
half of a training step in all. The same gradients follow from kernels that *are* fast:

* of the clip: the forward convolution again, with the taps reversed (at a stride the gradient is
  first spread out over the clip's grid, with zeros between);
* of the weight: one 2-D depthwise gradient per temporal tap, on frames folded into the batch,
  which channels-last memory allows without a copy.

Outputs are those of ``nn.Conv3d``; gradients differ by rounding only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slowfast.models.layers.tracing import is_traced


class DepthwiseConv3d(nn.Conv3d):
    """``nn.Conv3d`` with one filter per channel; parameters and state dict are the same."""

    def forward(self, x: Tensor) -> Tensor:
        if not self._fast_gradient_applies(x):
            return super().forward(x)
        weight = self.weight
        if torch.is_autocast_enabled("cpu"):  # a custom function is not on autocast's list
            dtype = torch.get_autocast_dtype("cpu")
            x, weight = x.to(dtype), weight.to(dtype)
        padding = tuple(size // 2 for size in self.kernel_size)
        out: Tensor = _DepthwiseConv3d.apply(  # type: ignore[no-untyped-call]
            x, weight, self.stride[-1], padding
        )
        return out

    def _fast_gradient_applies(self, x: Tensor) -> bool:
        """Whether gradients will be asked for, on the CPU, with the geometry handled below."""
        same_size = self.padding == tuple(size // 2 for size in self.kernel_size)
        return (
            torch.is_grad_enabled()
            and x.device.type == "cpu"
            and self.weight.requires_grad
            and self.bias is None
            and same_size
            and all(size % 2 == 1 for size in self.kernel_size)
            and self.dilation == (1, 1, 1)
            and self.padding_mode == "zeros"
            and self.groups == self.in_channels == self.out_channels
            and self.stride in {(1, 1, 1), (1, 2, 2)}
            and x.is_contiguous(memory_format=torch.channels_last_3d)
            and not is_traced()
        )


class _DepthwiseConv3d(torch.autograd.Function):
    """Forward: the plain convolution. Backward: see the module's first lines."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, stride: int, padding: tuple[int, ...]) -> Tensor:
        return convolve(x, weight, stride, padding)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, ctx.stride, ctx.padding = inputs
        ctx.save_for_backward(x, weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous(memory_format=torch.channels_last_3d)
        to_x = to_weight = None
        if ctx.needs_input_grad[0]:
            to_x = clip_gradient(gradient, x.shape, weight, ctx.stride, ctx.padding)
        if ctx.needs_input_grad[1]:
            to_weight = weight_gradient(gradient, x, weight, ctx.stride, ctx.padding)
        return to_x, to_weight, None, None


def convolve(x: Tensor, weight: Tensor, stride: int, padding: tuple[int, ...]) -> Tensor:
    """``(B, C, T, H, W)`` by ``(C, 1, kT, kH, kW)``; ``stride`` is that of space.

    Kernels of one pixel as :mod:`~slowfast.models.layers.pointwise` says why.
    """
    if weight.shape[3:] == (1, 1) and stride == 1:
        seen, padded = x.flatten(3), (padding[0], 0)
        out = F.conv2d(seen, weight.flatten(3), None, 1, padded, groups=len(weight))
        return out.view(*out.shape[:3], *x.shape[3:])
    return F.conv3d(x, weight, None, (1, stride, stride), padding, groups=len(weight))


def clip_gradient(
    gradient: Tensor, shape: torch.Size, weight: Tensor, stride: int, padding: tuple[int, ...]
) -> Tensor:
    """Gradient of the clip, ``shape`` = ``(B, C, T, H, W)``, from that of the output."""
    if stride > 1:
        spread = gradient.new_zeros(shape[0], *shape[2:], shape[1]).permute(0, 4, 1, 2, 3)
        spread[..., ::stride, ::stride] = gradient
        gradient = spread
    return convolve(gradient, weight.flip(2, 3, 4), 1, padding)


def weight_gradient(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: tuple[int, ...]
) -> Tensor:
    """Gradient of the weight, ``(C, 1, kT, kH, kW)``."""
    if weight.shape[3:] == (1, 1) and stride == 1:  # all positions of a frame are one long row
        out, seen = gradient.flatten(3), x.flatten(3)  # (B, C, T, H * W)
        return _weight_gradient_2d(out, seen, weight[..., 0], 1, (padding[0], 0)).unsqueeze(-1)
    taps = []
    frames = x.shape[2]
    for tap in range(weight.shape[2]):
        shift = tap - padding[0]  # output frame t sees clip frame t + shift through this tap
        kept = slice(max(0, -shift), max(0, -shift, frames - max(0, shift)))
        masked = gradient
        if shift:  # frames whose partner lies outside the clip contribute nothing
            masked = torch.zeros_like(gradient)
            masked[:, :, kept] = gradient[:, :, kept]
        out, seen = fold_frames(masked), fold_frames(x)
        if shift > 0:
            out, seen = out[:-shift], seen[shift:]
        elif shift < 0:
            out, seen = out[-shift:], seen[:shift]
        taps.append(_weight_gradient_2d(out, seen, weight[:, :, tap], stride, padding[1:]))
    return torch.stack(taps, dim=2)


def fold_frames(x: Tensor) -> Tensor:
    """``(B, C, T, H, W)`` -> ``(B * T, C, H, W)``, a view of channels-last memory."""
    return x.transpose(1, 2).flatten(0, 1)


def _weight_gradient_2d(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: tuple[int, ...]
) -> Tensor:
    out: Tensor = torch.ops.aten.convolution_backward(
        gradient,
        x,
        weight,
        None,
        (stride, stride),
        padding,
        (1, 1),
        False,
        (0, 0),
        len(weight),
        (False, True, False),
    )[1]
    return out
