"""The frame encoder of RAFT with batch norm: feature maps at an eighth of the resolution.

Teed and Deng 2020, https://arxiv.org/abs/2003.12039, section 3.1. Module names are those of
torchvision's RAFT.
"""

from __future__ import annotations

from torch import Tensor, nn

Widths = tuple[int, int, int, int]
"""Channels of the stem and first stage, of the second and third stage, and of the output."""


def conv_norm_relu(
    dim_in: int, dim_out: int, kernel: int, *, stride: int = 1, relu: bool = True
) -> nn.Sequential:
    """Convolution with bias, batch norm and ReLU, same size at stride 1."""
    layers = [
        nn.Conv2d(dim_in, dim_out, kernel, stride=stride, padding=kernel // 2),
        nn.BatchNorm2d(dim_out),
    ]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, projected where the resolution is halved."""

    def __init__(self, dim_in: int, dim_out: int, *, stride: int) -> None:
        super().__init__()
        self.convnormrelu1 = conv_norm_relu(dim_in, dim_out, 3, stride=stride)
        self.convnormrelu2 = conv_norm_relu(dim_out, dim_out, 3)
        self.downsample = (
            nn.Identity()
            if stride == 1
            else conv_norm_relu(dim_in, dim_out, 1, stride=stride, relu=False)
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.downsample(x) + self.convnormrelu2(self.convnormrelu1(x)))


class FrameEncoder(nn.Module):
    """``(B, 3, H, W)`` -> ``(B, widths[3], ceil(H / 8), ceil(W / 8))``.

    Args:
        widths: channels, see :data:`Widths`.
    """

    def __init__(self, widths: Widths = (64, 96, 128, 256)) -> None:
        super().__init__()
        first, second, third, out = widths
        self.convnormrelu = conv_norm_relu(3, first, 7, stride=2)
        self.layer1 = _stage(first, first, stride=1)
        self.layer2 = _stage(first, second, stride=2)
        self.layer3 = _stage(second, third, stride=2)
        self.conv = nn.Conv2d(third, out, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def forward(self, frames: Tensor) -> Tensor:
        x = self.layer3(self.layer2(self.layer1(self.convnormrelu(frames))))
        return self.conv(x)


def _stage(dim_in: int, dim_out: int, *, stride: int) -> nn.Sequential:
    blocks = (
        ResidualBlock(dim_in, dim_out, stride=stride),
        ResidualBlock(dim_out, dim_out, stride=1),
    )
    return nn.Sequential(*blocks)
