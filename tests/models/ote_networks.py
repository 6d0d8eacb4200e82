"""The two published networks once more, in plain layers numbered as in the published files.

Written from the description of the checkpoints, to compare names, shapes and outputs with ours.
"""

import torch
from torch import nn
from torch.nn import functional as F

# kernel, wide, out, squeeze-and-excite, activation, spatial stride, temporal kernel
TABLE = """
3  16  16 - R 1 5
3  64  24 - R 2 3
3  72  24 - R 1 3
5  72  40 s R 2 3
5 120  40 s R 1 3
5 120  40 s R 1 5
3 240  80 - H 2 5
3 200  80 - H 1 3
3 184  80 - H 1 3
3 184  80 - H 1 5
3 480 112 s H 1 3
3 672 112 s H 1 3
5 672 160 s H 1 3
5 672 160 s H 2 3
5 960 160 s H 1 3
"""


def conv_bn(dim_in, dim_out, kernel=(1, 1, 1), stride=(1, 1, 1), groups=1):
    pad = tuple((k - 1) // 2 for k in kernel)
    conv = nn.Conv3d(dim_in, dim_out, kernel, stride, pad, groups=groups, bias=False)
    return [conv, nn.BatchNorm3d(dim_out)]


class Gate(nn.Module):
    def __init__(self, dim):
        super().__init__()
        layers = [nn.Conv3d(dim, dim // 4, 1), nn.ReLU(), nn.Conv3d(dim // 4, dim, 1)]
        self.fc = nn.Sequential(*layers)

    def forward(self, x):
        frames = [F.relu6(self.fc(f.mean((3, 4), keepdim=True)) + 3) / 6 * f for f in x.split(1, 2)]
        return torch.cat(frames, dim=2)


class Block(nn.Module):
    def __init__(self, dim, row, number, x3d, stride_t):
        super().__init__()
        k, wide, out, stride, kernel_t = (int(row[i]) for i in (0, 1, 2, 5, 6))
        act = nn.Hardswish if row[4] == "H" else nn.ReLU
        gate = [Gate(wide) if row[3] == "s" else nn.Sequential()]
        deep = (kernel_t, k, k) if x3d and number else (1, k, k)
        strides = (stride_t if x3d else 1, stride, stride)
        depthwise = conv_bn(wide, wide, deep, strides, groups=wide)
        if number == 0:
            layers = [*depthwise, act(), *gate]
        else:
            layers = [*conv_bn(dim, wide), act(), *depthwise, *gate, act()]
        layers += conv_bn(wide, out, (1 if x3d else kernel_t, 1, 1))
        if stride_t == 2 and not x3d:
            layers.append(nn.AvgPool3d((2, 1, 1), (2, 1, 1)))
        self.conv = nn.Sequential(*layers)
        self.skip = stride == stride_t == 1 and dim == out

    def forward(self, x):
        return x + self.conv(x) if self.skip else self.conv(x)


def path(dim_in, dim_out, first=()):
    layers = [*first, *conv_bn(dim_in, 3 * dim_in), nn.Hardswish(), *conv_bn(3 * dim_in, dim_out)]
    return nn.ModuleDict({"conv": nn.Sequential(*layers)})


class Context(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.encoder = nn.Sequential(*conv_bn(dim, 1))

    def forward(self, x):
        weights = self.encoder(x).exp()
        weights = weights / weights.sum(dim=(2, 3, 4), keepdim=True)
        return (weights * x).sum(dim=(2, 3, 4), keepdim=True)


class OteBackbone(nn.Module):
    def __init__(self, x3d):
        super().__init__()
        halved = (4, 10) if x3d else (1, 10)
        dims = [16]
        features = [nn.Sequential(*conv_bn(3, 16, (1, 3, 3), (1, 2, 2)), nn.Hardswish())]
        for i, line in enumerate(TABLE.split("\n")[1:-1]):
            row = line.split()
            features.append(Block(dims[-1], row, i, x3d, 2 if i in halved else 1))
            dims.append(int(row[2]))
        self.features = nn.ModuleList(features)
        self.conv = nn.Sequential(nn.Sequential(*conv_bn(160, 960), nn.Hardswish()))
        if x3d:
            ups = {f"upsample_{i}": path(dims[i - 1], dims[i]) for i in range(1, 15)}
            pools = {f"pooling_{i}": path(dims[i], dims[i], [Context(dims[i])]) for i in range(14)}
            globs = {f"glob_{i}": path(dims[i - 1], dims[i]) for i in range(1, 14)}
            self.lgd_upsample, self.lgd_pool = nn.ModuleDict(ups), nn.ModuleDict(pools)
            self.lgd_glob = nn.ModuleDict(globs)
        self.x3d = x3d

    def forward(self, x):
        vector = None
        for i, module in enumerate(self.features):
            x = module(x)
            if not self.x3d or i == 15:
                continue
            if i > 0:
                x = x + self.lgd_upsample[f"upsample_{i}"]["conv"](vector)
            if i < 14:
                pooled = self.lgd_pool[f"pooling_{i}"]["conv"](x)
                if i == 0:
                    vector = pooled
                else:
                    new = self.lgd_glob[f"glob_{i}"]["conv"](vector)
                    vector = pooled + new + (vector if new.shape == vector.shape else 0)
        return self.conv(x)


class OteNetwork(nn.Module):
    """Clips ``(B, 3, T, H, W)`` -> cosines ``(B, classes)``."""

    def __init__(self, x3d, classes):
        super().__init__()
        self.backbone = OteBackbone(x3d)
        self.cls_head = nn.ModuleDict(
            {
                "fc_pre_angular": nn.Sequential(*conv_bn(960, 256)),
                "fc_angular": nn.ParameterDict({"weight": torch.randn(256, classes)}),
            }
        )

    def forward(self, x):
        pooled = self.backbone(x).mean(dim=(2, 3, 4), keepdim=True)
        embedded = self.cls_head["fc_pre_angular"](pooled).flatten(1)
        centres = self.cls_head["fc_angular"]["weight"]
        lengths = embedded.norm(dim=1, keepdim=True) * centres.norm(dim=0, keepdim=True)
        return embedded @ centres / lengths
