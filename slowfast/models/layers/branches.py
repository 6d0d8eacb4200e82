"""The two residual branches of the ResNet family: bottleneck and basic.

``a``, ``b``, ``c`` are PySlowFast's names for the convolutions in order of execution.
"""

from __future__ import annotations

from torch import Tensor, nn

from slowfast.models.layers.conv import conv3d


class Bottleneck(nn.Module):
    """``kT x 1 x 1`` -> ``1 x 3 x 3`` -> ``1 x 1 x 1``.

    Args:
        dim_in: channels of the clip's features.
        dim_inner: channels of the first two convolutions.
        dim_out: channels returned.
        kernel_t: temporal kernel of the first convolution.
        stride: spatial stride, of the middle convolution.
        dilation: spatial dilation of the middle convolution.
        groups: of the middle convolution (ResNeXt).
        stride_1x1: put the stride on the first convolution instead (caffe2's ResNets).
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
        groups: int = 1,
        stride_1x1: bool = False,
    ) -> None:
        super().__init__()
        first, middle = (stride, 1) if stride_1x1 else (1, stride)
        self.a = conv3d(dim_in, dim_inner, (kernel_t, 1, 1), stride=(1, first, first))
        self.a_bn = nn.BatchNorm3d(dim_inner)
        self.a_relu = nn.ReLU(inplace=True)
        self.b = conv3d(
            dim_inner,
            dim_inner,
            (1, 3, 3),
            stride=(1, middle, middle),
            dilation=(1, dilation, dilation),
            groups=groups,
        )
        self.b_bn = nn.BatchNorm3d(dim_inner)
        self.b_relu = nn.ReLU(inplace=True)
        self.c = conv3d(dim_inner, dim_out, (1, 1, 1))
        self.c_bn = nn.BatchNorm3d(dim_out)

    @property
    def last_norm(self) -> nn.BatchNorm3d:
        """The normalisation whose scale starts at zero under ``ZERO_INIT_FINAL_BN``."""
        return self.c_bn

    def forward(self, x: Tensor) -> Tensor:
        x = self.a_relu(self.a_bn(self.a(x)))
        x = self.b_relu(self.b_bn(self.b(x)))
        return self.c_bn(self.c(x))


class BasicBranch(nn.Module):
    """``kT x 3 x 3``, strided, then ``1 x 3 x 3`` (``RESNET.TRANS_FUNC basic_transform``)."""

    def __init__(
        self, dim_in: int, dim_out: int, *, kernel_t: int, stride: int, dilation: int = 1
    ) -> None:
        super().__init__()
        self.a = conv3d(dim_in, dim_out, (kernel_t, 3, 3), stride=(1, stride, stride))
        self.a_bn = nn.BatchNorm3d(dim_out)
        self.a_relu = nn.ReLU(inplace=True)
        self.b = conv3d(dim_out, dim_out, (1, 3, 3), dilation=(1, dilation, dilation))
        self.b_bn = nn.BatchNorm3d(dim_out)

    @property
    def last_norm(self) -> nn.BatchNorm3d:
        """See :class:`Bottleneck`."""
        return self.b_bn

    def forward(self, x: Tensor) -> Tensor:
        return self.b_bn(self.b(self.a_relu(self.a_bn(self.a(x)))))
