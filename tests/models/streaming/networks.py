"""A tiny network of every family that streams, with weights that make every layer count."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from slowfast.models.mobilenet3d import MobileNet3D
from slowfast.models.mobilenetv3 import MobileNetV3
from slowfast.models.resnet3d import ResNet3D
from slowfast.models.slowfast import SlowFast
from slowfast.models.staged import StagedModel
from slowfast.models.tiny import TinyNet
from slowfast.models.x3d import X3D

SIZE = 32
TASKS = {"verb": 4, "noun": 3}


@dataclass(frozen=True)
class Case:
    """Attributes: what makes the network, SlowFast's alpha, the window where it must be given,
    and the receptive field and delay that its kernels and strides come to, by hand."""

    make: object
    receptive_field: int
    delay: int
    alpha: int | None = None
    window: int | None = None
    period: int = 1


def resnet(arch, **options):
    return lambda: ResNet3D(
        **{"num_classes": 5, "arch": arch, "depth": 18, "width": 8, "num_frames": 4}
        | {"crop_size": SIZE}
        | options
    )


def slowfast(**options):
    return lambda: SlowFast(
        **{"num_classes": TASKS, "depth": 18, "width": 16, "alpha": 4, "num_frames": 8}
        | {"crop_size": SIZE}
        | options
    )


def x3d(**options):
    return lambda: X3D(
        **{"num_classes": 5, "depth_factor": 0.5, "num_frames": 4, "crop_size": SIZE} | options
    )


CASES = {
    # 1 + 4 (stem) + 7 blocks * 2 + window - 1
    "X3D": Case(x3d(), 1 + 4 + 7 * 2 + 3, 2 + 7 + 3),
    # C2D's only temporal layer is the pooling of two frames
    "C2D": Case(resnet("c2d"), 4, 3, period=2),
    "Slow": Case(resnet("slow", branch="basic"), 1 + 4 * 2 + 3, 4 + 3),
    # stem 5, two blocks at rate 1; pool; kernels 3, 1 | 3, 1 | 1, 3 at rate 2
    "I3D": Case(resnet("i3d"), 4 + 4 + 4 + 3 * 2 * 2, 4 + 6 + 3, period=2),
    "I3D-basic": Case(resnet("i3d", branch="basic"), 24, 13, period=2),
    "SlowFast": Case(slowfast(), 53, 28, alpha=4, period=4),
    "SlowFast-2": Case(slowfast(alpha=2, num_frames=4, num_classes=5), 35, 18, alpha=2, period=2),
    "MobileNet": Case(
        lambda: MobileNet3D(num_classes=TASKS, width_mult=0.2, num_frames=8),
        143, 71, window=8, period=8,
    ),
    "S3D": Case(lambda: MobileNetV3(num_classes=5, width_mult=0.35), 94, 50, window=8, period=4),
    "X3D-LGD": Case(
        lambda: MobileNetV3(num_classes=TASKS, width_mult=0.35, arch="x3d_mobilenetv3_lgd_gc"),
        81, 42, window=8, period=4,
    ),
    "TinyNet": Case(lambda: TinyNet(num_classes=5), 1 + 2 + 2 + 7, 2 + 7, window=8),
}  # fmt: skip


def liven(model, seed=0):
    """Batch norms with statistics of their own, classifiers whose logits are about 1."""
    generator = torch.Generator().manual_seed(seed)
    staged = isinstance(model, StagedModel)
    low = 0.3 if staged else 0.8 if isinstance(model, MobileNetV3) else 1.0  # no noise amplified
    for module in model.modules():
        if isinstance(module, nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.normal_(module.bias, 0.0, 0.1, generator=generator)
        elif isinstance(module, _BatchNorm):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.8, 1.2, generator=generator)
            nn.init.uniform_(module.weight, low, low + 0.4, generator=generator)
            nn.init.normal_(module.bias, 0.0, 0.1, generator=generator)
    for layer in model.classifiers.values():
        nn.init.normal_(layer.weight, 0, layer.in_features**-0.5, generator=generator)
        if layer.bias is not None:
            nn.init.normal_(layer.bias, 0.0, 0.1, generator=generator)
    return model.eval()


def network(name):
    """The clip model of a case."""
    return liven(CASES[name].make())
