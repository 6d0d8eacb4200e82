"""First stages: what happens to the clip before the residual blocks."""

from __future__ import annotations

from torch import Tensor, nn

from slowfast.models.layers.conv import conv3d


class ResNetStem(nn.Module):
    """7x7 convolution and 3x3 max pool, each halving H and W; T is kept."""

    def __init__(self, dim_in: int, dim_out: int, *, kernel_t: int) -> None:
        super().__init__()
        self.conv = conv3d(dim_in, dim_out, (kernel_t, 7, 7), stride=(1, 2, 2))
        self.bn = nn.BatchNorm3d(dim_out)
        self.relu = nn.ReLU(inplace=True)
        self.pool_layer = nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.pool_layer(self.relu(self.bn(self.conv(x))))


class X3DStem(nn.Module):
    """3x3 over space halving H and W, then ``kernel_t`` over time, one filter per channel.

    Nothing stands between the two convolutions (Feichtenhofer 2020, table 1: ``conv1``).
    """

    def __init__(self, dim_in: int, dim_out: int, *, kernel_t: int) -> None:
        super().__init__()
        self.conv_xy = conv3d(dim_in, dim_out, (1, 3, 3), stride=(1, 2, 2))
        self.conv = conv3d(dim_out, dim_out, (kernel_t, 1, 1), groups=dim_out)
        self.bn = nn.BatchNorm3d(dim_out)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.bn(self.conv(self.conv_xy(x))))
