"""Model table and the config adapter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slowfast.models.base import ClipModel
from slowfast.registry import Registry

if TYPE_CHECKING:
    from yacs.config import CfgNode

MODELS: Registry[type[ClipModel]] = Registry(
    "model",
    {
        "SlowFast": "slowfast.models.slowfast:SlowFast",
        "ResNet": "slowfast.models.resnet3d:ResNet3D",
        "X3D": "slowfast.models.x3d:X3D",
        "TinyNet": "slowfast.models.tiny:TinyNet",
    },
)


def build_model(cfg: CfgNode) -> ClipModel:
    """The model named by ``MODEL.MODEL_NAME``, on the CPU, with fresh weights.

    Placing it on a device, wrapping it for DDP and loading weights are other functions' work.
    """
    model: ClipModel = MODELS.get(cfg.MODEL.MODEL_NAME).from_cfg(cfg)  # type: ignore[attr-defined]
    return model
