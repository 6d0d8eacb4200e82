"""Convolutions as every block here writes them: without bias, padded to keep the size."""

from __future__ import annotations

from torch import nn

from slowfast.models.layers.depthwise import DepthwiseConv3d
from slowfast.models.layers.pointwise import PointwiseConv3d

Size3 = tuple[int, int, int]
"""``(T, H, W)``: a kernel, a stride, a dilation."""


def conv3d(
    dim_in: int,
    dim_out: int,
    kernel: Size3,
    *,
    stride: Size3 = (1, 1, 1),
    dilation: Size3 = (1, 1, 1),
    groups: int = 1,
) -> nn.Conv3d:
    """Bias-free convolution that keeps ``(T, H, W)`` at stride 1.

    Depthwise where ``groups == dim_in == dim_out``, in the form whose gradient is fast on the CPU;
    kernels of one pixel in the form that is fast in one thread.
    """
    pad_t, pad_h, pad_w = (d * (k // 2) for k, d in zip(kernel, dilation, strict=True))
    kind = nn.Conv3d
    if 1 < groups == dim_in == dim_out:
        kind = DepthwiseConv3d
    elif kernel[1:] == (1, 1) and groups == 1:
        kind = PointwiseConv3d
    return kind(
        dim_in,
        dim_out,
        kernel,
        stride=stride,
        padding=(pad_t, pad_h, pad_w),
        dilation=dilation,
        groups=groups,
        bias=False,
    )
