"""A small network of every entry of the model table, and other shapes a family can have."""

from functools import partial

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from slowfast.models import MODELS
from slowfast.models.layers.non_local import NonLocalSpec
from slowfast.models.layers.stage import PathwaySpec
from slowfast.models.ptv.mvit import MViTSpec

ONE = {"num_frames": 4, "crop_size": 32}
MVIT = MViTSpec(
    depth=2, embed_dim=16, dim_mul=((1, 2.0),), head_mul=((1, 2.0),), pool_q_stride=((1, 1, 2, 2),)
)
SMALL = {
    "SlowFast": {"depth": 18, "width": 16, "alpha": 4, "num_frames": 8, "crop_size": 32},
    "ResNet": {"arch": "i3d", "depth": 18, "width": 8, **ONE},
    "X3D": {"depth_factor": 1.0, "num_features": 64, **ONE},
    "MobileNet": {"width_mult": 0.25, "num_frames": 4},
    "ResNetLSTM": {"depth": 18, "hidden_size": 8, "lstm_dropout": 0.0},
    "IMFE": {"depth": 18, "widths": (8, 8, 12, 16), "num_frames": 3},
    "MobileNetV3": {"width_mult": 0.35},
    "TinyNet": {},
    "PTVResNet": {"width": 8, **ONE},
    "PTVSlowFast": {"width": 8, "alpha": 4, "beta_inv": 4, "num_frames": 8, "crop_size": 32},
    "PTVX3D": {"depth_factor": 1.0, "num_features": 64, **ONE},
    "PTVCSN": {"width": 8, "num_frames": 8, "crop_size": 32},
    "PTVR2plus1D": {"width": 8, **ONE},
    "PTVMViT": {"spec": MVIT, "num_frames": 4, "crop_size": 32},
}
ATTENTION = PathwaySpec(
    non_local=(NonLocalSpec(), NonLocalSpec(after=(0,)), *(NonLocalSpec(),) * 2)
)
VARIANTS = {
    "non-local": ("ResNet", {"pathway": ATTENTION}),
    "groups": ("ResNet", {"depth": 50, "groups": 4}),
    "groups of X3D": ("X3D", {"depthwise": False, "groups": 2}),
    "local-global diffusion": ("MobileNetV3", {"arch": "x3d_mobilenetv3_lgd_gc"}),
    "one-way LSTM": ("ResNetLSTM", {"bidirectional": False, "pool": "last"}),
    "keypoints of few stages": ("ResNetLSTM", {"stages": 2, "keypoints": True}),
    "all pairs": ("IMFE", {"correlation": "all_pairs", "input_size": (32, 32)}),
    "two tasks": ("X3D", {"num_classes": {"verb": 5, "noun": 7}}),
    "linear probing": ("X3D", {"detach_head": True}),
}
NETWORKS = {name: (name, {}) for name in SMALL} | VARIANTS


def build(name):
    """A small network of ``NETWORKS``, in evaluation mode, its statistics not those of noise."""
    family, changes = NETWORKS[name]
    model = MODELS.get(family)(**{"num_classes": 5} | SMALL[family] | changes)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.1, 0.3)
            nn.init.uniform_(module.running_mean, -0.1, 0.1)
    return model.eval()


def shapes(name):
    """``(1, C, T_p, H, W)`` of every pathway of its clips."""
    family, changes = NETWORKS[name]
    frames = (SMALL[family] | changes).get("num_frames", 4)
    clip = (1, 3, frames, 32, 32)
    return [(1, 3, frames // 4, 32, 32), clip] if "SlowFast" in family else [clip]


def clips(name, batch=2):
    generator = torch.Generator().manual_seed(0)
    randn = partial(torch.randn, generator=generator)
    return [randn(batch, *shape[1:]) for shape in shapes(name)]
