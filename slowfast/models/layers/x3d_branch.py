"""Residual branch of X3D, Feichtenhofer 2020, https://arxiv.org/abs/2004.04730, table 1."""

from __future__ import annotations

from torch import Tensor, nn

from slowfast.models.layers.conv import conv3d
from slowfast.models.layers.se import SqueezeExcite
from slowfast.models.layers.swish import Swish

SE_RATIO = 0.0625


class X3DBranch(nn.Module):
    """``1x1x1`` wide -> ``kT x 3 x 3`` depthwise -> [SE] -> SiLU -> ``1x1x1`` narrow.

    Args:
        dim_in: channels of the clip's features.
        dim_inner: channels of the wide middle.
        dim_out: channels returned.
        kernel_t: temporal kernel of the middle convolution.
        stride: its spatial stride.
        dilation: its spatial dilation.
        groups: its groups; ``dim_inner`` makes it depthwise, the paper's choice.
        with_se: squeeze and excite the middle; X3D does in every second block.
    """

    def __init__(
        self,
        dim_in: int,
        dim_inner: int,
        dim_out: int,
        *,
        kernel_t: int,
        stride: int,
        dilation: int = 1,
        groups: int,
        with_se: bool,
    ) -> None:
        super().__init__()
        self.a = conv3d(dim_in, dim_inner, (1, 1, 1))
        self.a_bn = nn.BatchNorm3d(dim_inner)
        self.a_relu = nn.ReLU(inplace=True)
        self.b = conv3d(
            dim_inner,
            dim_inner,
            (kernel_t, 3, 3),
            stride=(1, stride, stride),
            dilation=(1, dilation, dilation),
            groups=groups,
        )
        self.b_bn = nn.BatchNorm3d(dim_inner)
        self.se = SqueezeExcite(dim_inner, ratio=SE_RATIO) if with_se else nn.Identity()
        self.b_act = Swish()
        self.c = conv3d(dim_inner, dim_out, (1, 1, 1))
        self.c_bn = nn.BatchNorm3d(dim_out)

    @property
    def last_norm(self) -> nn.BatchNorm3d:
        """The normalisation whose scale starts at zero under ``ZERO_INIT_FINAL_BN``."""
        return self.c_bn

    def forward(self, x: Tensor) -> Tensor:
        x = self.a_relu(self.a_bn(self.a(x)))
        x = self.b_act(self.se(self.b_bn(self.b(x))))
        return self.c_bn(self.c(x))
