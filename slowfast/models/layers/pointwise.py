"""3-D convolutions of one pixel that stay fast in a process of one thread.

For kernels of 1x1 pixels PyTorch leaves oneDNN where there is one thread and fewer than 16 clips in
a batch (``use_mkldnn`` in ATen's Convolution.cpp), for a path of its own that copies the clip. That
was made for images; a clip has as many pixels as many images. In a training of several processes
on one machine, each of one thread and with its share of the batch, an X3D spent most of its time
there: 8 clips took longer than 16. In channels-last memory the same convolution is one of images,
without a copy, which oneDNN takes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slowfast.models.layers.tracing import is_traced

ENOUGH_CLIPS = 16  # from here on oneDNN is taken anyway


class PointwiseConv3d(nn.Conv3d):
    """``nn.Conv3d`` over one pixel and one or several frames; parameters are the same."""

    def forward(self, x: Tensor) -> Tensor:
        if not self._would_be_slow(x):
            return super().forward(x)
        weight = self.weight.flatten(3)  # (D, C, kT, 1)
        if self.kernel_size[0] == 1:  # frames are images
            out = F.conv2d(x.transpose(1, 2).flatten(0, 1), weight, self.bias)
            return out.view(x.shape[0], x.shape[2], *out.shape[1:]).transpose(1, 2)
        padding, dilation = (int(self.padding[0]), 0), (self.dilation[0], 1)
        out = F.conv2d(x.flatten(3), weight, self.bias, padding=padding, dilation=dilation)
        return out.view(*out.shape[:3], *x.shape[3:])  # the image was T x (H * W)

    def _would_be_slow(self, x: Tensor) -> bool:
        return (
            not is_traced()  # first: a comparison of sizes would become a condition of the graph
            and x.device.type == "cpu"
            and x.ndim == 5
            and x.shape[0] < ENOUGH_CLIPS
            and torch.get_num_threads() == 1
            and self.stride == (1, 1, 1)
            and self.kernel_size[1:] == (1, 1)
            and self.padding[1:] == (0, 0)
            and self.padding_mode == "zeros"
            and self.groups == 1
            and x.is_contiguous(memory_format=torch.channels_last_3d)
        )
