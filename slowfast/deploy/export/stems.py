"""The stem of a fast pathway as a convolution of images, for ONNX Runtime.

ONNX Runtime multiplies a matrix with the clip unfolded, in which every value stands once for each
place of the kernel that reads it: 61 times for 5x7x7 with stride 2, all for a handful of filters.
That was 44 % of the time of a small SlowFast, and a gigabyte at 32 frames of 224 pixels. Frames
convolved as images, by the slices of all filters at once, and added one frame apart are the same
numbers, 2 to 5 times as fast. OpenVINO has a kernel for clips that needs nothing of this.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MAX_FILTERS = 8  # with 16, reading the frames' maps again costs what was saved
MIN_KERNEL = 5  # pixels; smaller kernels read a value too few times


class FrameStem(nn.Conv3d):
    """``nn.Conv3d`` computed frame by frame; parameters are the same."""

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, T, H, W)`` -> ``(B, D, T, H', W')``."""
        kernel, frames = self.kernel_size[0], x.shape[2]
        slices = self.weight.permute(2, 0, 1, 3, 4).flatten(0, 1)  # (kT * D, C, kH, kW)
        images = x.transpose(1, 2).flatten(0, 1)  # (B * T, C, H, W)
        spatial = (self.stride[1], self.stride[2]), (int(self.padding[1]), int(self.padding[2]))
        maps = F.conv2d(images, slices, None, *spatial)
        height, width = maps.shape[-2:]
        maps = maps.reshape(-1, frames, len(slices), height * width)  # (B, T, kT * D, H' * W')
        maps = F.pad(maps, (0, 0, 0, 0, kernel // 2, kernel // 2))
        parts = maps.chunk(kernel, dim=2)
        out = torch.stack([part[:, i : i + frames] for i, part in enumerate(parts)]).sum(0)
        if self.bias is not None:
            out = out + self.bias[:, None]
        return out.transpose(1, 2).reshape(-1, self.out_channels, frames, height, width)


def has_frame_stems(model: nn.Module) -> bool:
    """Whether :func:`with_frame_stems` would change anything."""
    return any(map(_is_fit, model.modules()))


def with_frame_stems(model: nn.Module) -> nn.Module:
    """A copy of a network in evaluation mode whose fast stems are computed frame by frame."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if _is_fit(module):
            module.__class__ = FrameStem  # keeps names and parameters
    return model


def _is_fit(module: nn.Module) -> bool:
    return (
        type(module) is nn.Conv3d  # not one that pads in time by itself
        and module.groups == 1
        and module.out_channels <= MAX_FILTERS
        and module.kernel_size[0] > 1
        and min(module.kernel_size[1:]) >= MIN_KERNEL
        and module.stride[0] == 1
        and module.dilation == (1, 1, 1)
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
        and module.padding[0] == module.kernel_size[0] // 2
    )
