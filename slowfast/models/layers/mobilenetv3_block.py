"""Blocks of 3-D MobileNetV3, Howard et al. 2019, https://arxiv.org/abs/1905.02244, table 1."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from slowfast.models.layers.conv import Size3, conv3d


@dataclass(frozen=True)
class BlockSpec:
    """A row of the network's table.

    Attributes:
        kernel: of the depthwise convolution, height and width.
        dim_inner: channels it has.
        dim_out: channels returned.
        with_se: squeeze and excite the inner channels.
        hard_swish: activation of the inner channels; else ReLU.
        stride: spatial.
        kernel_t: temporal kernel.
        stride_t: temporal stride.
    """

    kernel: int
    dim_inner: int
    dim_out: int
    with_se: bool
    hard_swish: bool
    stride: int
    kernel_t: int = 1
    stride_t: int = 1


class FrameSqueezeExcite(nn.Module):
    """Scales every channel of a frame by a gate computed from the means of that frame alone.

    A frame's output depends on no other frame: the module streams as it is.

    Args:
        dim: channels.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = max(dim // 4, 1)
        self.fc1 = nn.Conv3d(dim, hidden, 1)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = nn.Conv3d(hidden, dim, 1)
        self.gate = nn.Hardsigmoid()

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean(dim=(3, 4), keepdim=True)  # (B, C, T, 1, 1)
        return x * self.gate(self.fc2(self.relu(self.fc1(means))))


class ConvNormAct(nn.Module):
    """Convolution, batch norm, hard swish: the stem and the last layer."""

    def __init__(
        self, dim_in: int, dim_out: int, kernel: Size3 = (1, 1, 1), stride: Size3 = (1, 1, 1)
    ) -> None:
        super().__init__()
        self.conv = conv3d(dim_in, dim_out, kernel, stride=stride)
        self.bn = nn.BatchNorm3d(dim_out)
        self.act = nn.Hardswish(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.bn(self.conv(x)))


class InvertedResidual(nn.Module):
    """``[1x1x1 wide] -> depthwise -> [SE] -> activation -> narrow``, and a skip where shapes allow.

    The temporal kernel is in one of two places:

    * ``projection``: depthwise ``1 x k x k``, then ``kT x 1 x 1`` over all channels; a temporal
      stride is an average over pairs of frames after it. An odd last frame is dropped.
    * ``depthwise``: depthwise ``kT x k x k`` with both strides, then ``1x1x1``.

    Args:
        dim_in: channels of the clip's features.
        spec: the table's row.
        temporal: where the temporal kernel is.
        expand: have the first convolution; the first block of the network has none, and there
            the activation comes before the squeeze-and-excite.
    """

    def __init__(self, dim_in: int, spec: BlockSpec, *, temporal: str, expand: bool = True) -> None:
        super().__init__()
        dim, in_depthwise = spec.dim_inner, temporal == "depthwise"
        self.act: nn.Module = nn.Hardswish(inplace=True) if spec.hard_swish else nn.ReLU(True)
        self.has_expand = expand
        if expand:
            self.expand = conv3d(dim_in, dim, (1, 1, 1))
            self.expand_bn = nn.BatchNorm3d(dim)
        self.depthwise = conv3d(
            dim,
            dim,
            (spec.kernel_t if in_depthwise else 1, spec.kernel, spec.kernel),
            stride=(spec.stride_t if in_depthwise else 1, spec.stride, spec.stride),
            groups=dim,
        )
        self.depthwise_bn = nn.BatchNorm3d(dim)
        self.se = FrameSqueezeExcite(dim) if spec.with_se else nn.Identity()
        self.project = conv3d(dim, spec.dim_out, (1 if in_depthwise else spec.kernel_t, 1, 1))
        self.project_bn = nn.BatchNorm3d(spec.dim_out)
        pooled = spec.stride_t > 1 and not in_depthwise
        self.pool = nn.AvgPool3d((spec.stride_t, 1, 1)) if pooled else nn.Identity()
        self.has_skip = spec.stride == spec.stride_t == 1 and dim_in == spec.dim_out

    @property
    def last_norm(self) -> nn.BatchNorm3d | None:
        """The normalisation whose scale starts at zero under ``ZERO_INIT_FINAL_BN``."""
        return self.project_bn if self.has_skip else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.act(self.expand_bn(self.expand(x))) if self.has_expand else x
        y = self.depthwise_bn(self.depthwise(y))
        y = self.act(self.se(y)) if self.has_expand else self.se(self.act(y))
        y = self.pool(self.project_bn(self.project(y)))
        return x + y if self.has_skip else y
