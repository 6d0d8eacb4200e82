"""What a temporal convolution sees before the first frame of a clip, and whether it looks ahead.

Parameters and their names are those of the convolutions these were made from.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slowfast.models.layers.depthwise import DepthwiseConv3d


class Causal(nn.Conv3d):
    """The kernel ends at a value's own frame: nothing ahead is seen, zeros stand before the clip.

    Computed as the centred convolution of the clip shifted by half a kernel, which keeps the fast
    gradient of depthwise ones.
    """

    def forward(self, x: Tensor) -> Tensor:
        half, frames = self.kernel_size[0] // 2, x.shape[2]
        zeros = x.new_zeros(*x.shape[:2], half, *x.shape[3:])
        out = super().forward(torch.cat([zeros, x], dim=2))
        return out[:, :, : -(-frames // self.stride[0])]


class Replicate(nn.Conv3d):
    """The first and the last frame go on outside the clip, as a still picture would."""

    def forward(self, x: Tensor) -> Tensor:
        half, frames = self.kernel_size[0] // 2, x.shape[2]
        before, after = (x[:, :, i : i + 1].expand(-1, -1, half, -1, -1) for i in (0, frames - 1))
        out = super().forward(torch.cat([before, x, after], dim=2))
        stride = self.stride[0]
        if half % stride:
            raise ValueError(
                f"a temporal kernel of {2 * half + 1} with stride {stride} has no replicate "
                "padding (MODEL.STREAMING.PADDING): use zeros"
            )
        return out[:, :, half // stride :][:, :, : -(-frames // stride)]


class CausalConv3d(Causal):
    """Of any groups."""


class CausalDepthwiseConv3d(Causal, DepthwiseConv3d):
    """Of one filter per channel."""


class ReplicateConv3d(Replicate):
    """Of any groups."""


class ReplicateDepthwiseConv3d(Replicate, DepthwiseConv3d):
    """Of one filter per channel."""


KINDS: dict[str, tuple[type[nn.Conv3d], type[nn.Conv3d]]] = {
    "causal": (CausalConv3d, CausalDepthwiseConv3d),
    "replicate": (ReplicateConv3d, ReplicateDepthwiseConv3d),
}


def set_time_padding(model: nn.Module, padding: str) -> None:
    """Change every centred temporal convolution of a network, in place.

    Args:
        model: any.
        padding: key of :data:`KINDS`.
    """
    plain, depthwise = KINDS[padding]
    for module in model.modules():
        if isinstance(module, nn.Conv3d) and module.kernel_size[0] > 1:
            # Keeps hooks and every reference to the module, as freezing batch norms does.
            module.__class__ = depthwise if isinstance(module, DepthwiseConv3d) else plain


def frames_before(conv: nn.Conv3d) -> int:
    """How many frames older than its own a value of ``conv`` depends on."""
    if isinstance(conv, Causal):
        return conv.kernel_size[0] - 1
    if isinstance(conv, Replicate):
        return conv.kernel_size[0] // 2
    return int(conv.padding[0])
