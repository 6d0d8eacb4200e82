"""Image ResNets, frame by frame, under torchvision's names and with its results.

He et al. 2016, https://arxiv.org/abs/1512.03385; the stride of a bottleneck is on its 3x3
convolution, as torchvision has it. Built here because torchvision's have one width, 64.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

STAGES = ("layer1", "layer2", "layer3", "layer4")
BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
"""Depth -> blocks of layer1..layer4."""


class Basic(nn.Module):
    """Two 3x3 convolutions and a shortcut.

    Args:
        dim_in: channels in.
        dim: channels inside, ``dim * expansion`` come out.
        stride: of the first convolution.
    """

    expansion = 1

    def __init__(self, dim_in: int, dim: int, *, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dim_in, dim, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(dim)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(dim)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(dim_in, dim, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut; arguments as of :class:`Basic`."""

    expansion = 4

    def __init__(self, dim_in: int, dim: int, *, stride: int) -> None:
        super().__init__()
        dim_out = dim * self.expansion
        self.conv1 = nn.Conv2d(dim_in, dim, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(dim)
        self.conv2 = nn.Conv2d(dim, dim, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(dim)
        self.conv3 = nn.Conv2d(dim, dim_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(dim_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(dim_in, dim_out, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(y)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


def shortcut(dim_in: int, dim_out: int, *, stride: int) -> nn.Sequential | None:
    """The projection around a block; ``None`` where the input passes as it is."""
    if stride == 1 and dim_in == dim_out:
        return None
    conv = nn.Conv2d(dim_in, dim_out, 1, stride=stride, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(dim_out))


class ImageResNet(nn.Module):
    """Frames ``(B, 3, H, W)`` -> features ``(B, num_features)``; no classifier, fresh weights.

    Args:
        depth: one of ``BLOCKS``.
        width: channels of the stem; layer1 has as many inside its blocks, each stage twice those
            of the one before.
        stages: how many of layer1..layer4 there are; fewer see less, at twice the resolution.
        keypoints: give also where each channel is found in the picture, see :class:`Keypoints`;
            means alone forget it.

    Attributes:
        num_features: width of the output.
    """

    def __init__(
        self, depth: int, width: int = 64, *, stages: int = 4, keypoints: bool = False
    ) -> None:
        super().__init__()
        if depth not in BLOCKS:
            raise ValueError(f"RESNET.DEPTH is {depth}: image backbones have one of {[*BLOCKS]}")
        kind = Basic if depth < 50 else Bottleneck
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        dim_in, dim = width, width
        self.stages = STAGES[:stages]
        for i, (name, count) in enumerate(zip(self.stages, BLOCKS[depth], strict=False)):
            blocks = []
            for j in range(count):
                blocks.append(kind(dim_in, dim, stride=2 if i and not j else 1))
                dim_in = dim * kind.expansion
            self.add_module(name, nn.Sequential(*blocks))
            dim *= 2
        self.keypoints = Keypoints(dim_in) if keypoints else None
        self.num_features = dim_in * (1 + Keypoints.per_channel * keypoints)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stem(self, frames: Tensor) -> Tensor:
        """``(B, 3, H, W)`` -> ``(B, width, H / 4, W / 4)``."""
        return self.maxpool(self.relu(self.bn1(self.conv1(frames))))

    def forward(self, frames: Tensor) -> Tensor:
        x = self.stem(frames)
        for name in self.stages:
            x = self.get_submodule(name)(x)
        return self.pool(x)

    def pool(self, maps: Tensor) -> Tensor:
        """The last map ``(B, C, H, W)`` -> ``(B, num_features)``."""
        means = maps.mean(dim=(2, 3))
        if self.keypoints is None:
            return means
        return torch.cat([means, self.keypoints(maps)], dim=1)


class Keypoints(nn.Module):
    """Where each channel of a map is found, and how far around: a softmax over its positions.

    The spatial softmax of Levine et al. 2016, https://arxiv.org/abs/1504.00702, section 5.1, and
    the spread around the point, which tells sizes.

    Args:
        channels: of the maps.

    Attributes:
        sharpness: ``(C, 1)``, what maps are multiplied by before the softmax.
    """

    per_channel = 4

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.full((channels, 1), 3.0))

    def forward(self, maps: Tensor) -> Tensor:
        """Maps ``(B, C, H, W)`` -> ``(B, 4 * C)``.

        Of every channel: x and y of its point, both -1 to 1 from edge to edge, and the variances
        in x and y.
        """
        height, width = maps.shape[2:]
        weights = (maps.flatten(2) * self.sharpness).softmax(dim=2).view(maps.shape)
        points, spreads = [], []
        for size, share in ((width, weights.sum(dim=2)), (height, weights.sum(dim=3))):
            steps = torch.linspace(-1, 1, size, dtype=maps.dtype, device=maps.device)
            point = (share * steps).sum(dim=2)
            points.append(point)
            spreads.append((share * (steps - point.unsqueeze(2)) ** 2).sum(dim=2))
        return torch.cat([*points, *spreads], dim=1)
