"""Lateral connection of SlowFast, Feichtenhofer et al. 2019, section 3.3: time-strided."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slowfast.models.layers.conv import conv3d


class FuseFastToSlow(nn.Module):
    """Stride Fast down to Slow's frame rate and append its channels to Slow's.

    Args:
        dim_fast: channels of the Fast pathway.
        alpha: frame-rate ratio Fast / Slow.
        ratio: channels appended, in units of ``dim_fast``.
        kernel: temporal kernel.
    """

    def __init__(self, dim_fast: int, *, alpha: int, ratio: int, kernel: int) -> None:
        super().__init__()
        self.conv_f2s = conv3d(dim_fast, dim_fast * ratio, (kernel, 1, 1), stride=(alpha, 1, 1))
        self.bn = nn.BatchNorm3d(dim_fast * ratio)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        slow, fast = x
        lateral = self.relu(self.bn(self.conv_f2s(fast)))
        if lateral.shape[2] != slow.shape[2]:
            raise ValueError(
                f"{fast.shape[2]} Fast frames at SLOWFAST.ALPHA {self.conv_f2s.stride[0]} go with "
                f"{lateral.shape[2]} Slow frames, but {slow.shape[2]} were given: pack the clip "
                "with the model's ALPHA, and let ALPHA divide DATA.NUM_FRAMES"
            )
        return [torch.cat([slow, lateral], dim=1), fast]
