"""Model table and the config adapters that several families share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from slowfast.models.base import ClipModel, NumClasses
from slowfast.models.layers.non_local import NonLocalSpec
from slowfast.models.layers.stage import PathwaySpec
from slowfast.registry import Registry

if TYPE_CHECKING:
    from yacs.config import CfgNode

MODELS: Registry[type[ClipModel]] = Registry(
    "model",
    {
        "SlowFast": "slowfast.models.slowfast:SlowFast",
        "ResNet": "slowfast.models.resnet3d:ResNet3D",
        "X3D": "slowfast.models.x3d:X3D",
        "MobileNet": "slowfast.models.mobilenet3d:MobileNet3D",
        "ResNetLSTM": "slowfast.models.resnet_lstm:ResNetLSTM",
        "IMFE": "slowfast.models.imfe:IMFE",
        "MobileNetV3": "slowfast.models.mobilenetv3:MobileNetV3",
        "TinyNet": "slowfast.models.tiny:TinyNet",
        "PTVResNet": "slowfast.models.ptv.convolutional:PTVResNet",
        "PTVSlowFast": "slowfast.models.ptv.convolutional:PTVSlowFast",
        "PTVX3D": "slowfast.models.ptv.convolutional:PTVX3D",
        "PTVCSN": "slowfast.models.ptv.convolutional:PTVCSN",
        "PTVR2plus1D": "slowfast.models.ptv.convolutional:PTVR2plus1D",
        "PTVMViT": "slowfast.models.ptv.mvit:PTVMViT",
    },
)

BRANCH_OF = {"bottleneck_transform": "bottleneck", "basic_transform": "basic"}
"""``RESNET.TRANS_FUNC`` -> branch of a residual block; ``x3d_transform`` is X3D's own."""


def build_model(cfg: CfgNode) -> ClipModel:
    """The model named by ``MODEL.MODEL_NAME``, on the CPU, with fresh weights.

    Placing it on a device, wrapping it for DDP and loading weights are other functions' work.
    """
    model: ClipModel = MODELS.get(cfg.MODEL.MODEL_NAME).from_cfg(cfg)  # type: ignore[attr-defined]
    if cfg.MODEL.STREAMING.ENABLE:
        from slowfast.models.streaming.build import build_streaming_form

        build_streaming_form(cfg, model)
    return model


def build_num_classes(cfg: CfgNode) -> NumClasses:
    """``MODEL.NUM_CLASSES`` as a number, or ``{task: classes}`` when it is a list of several.

    ``MODEL.TASKS`` names the tasks; two unnamed ones are verb and noun, as in EPIC-KITCHENS.
    """
    classes, tasks = cfg.MODEL.NUM_CLASSES, list(cfg.MODEL.TASKS)
    if isinstance(classes, int):
        classes = [classes]
    if len(classes) == 1 and len(tasks) <= 1:
        return {tasks[0]: classes[0]} if tasks else int(classes[0])
    if not tasks and len(classes) == 2:
        tasks = ["verb", "noun"]
    if len(tasks) != len(classes):
        raise ValueError(
            f"MODEL.NUM_CLASSES {list(classes)} and MODEL.TASKS {tasks} differ in length: "
            "give one number of classes per task"
        )
    return dict(zip(tasks, map(int, classes), strict=True))


def build_head(cfg: CfgNode) -> dict[str, Any]:
    """Arguments that the head of every family takes."""
    return {
        "dropout": cfg.MODEL.DROPOUT_RATE,
        "detach_head": cfg.MODEL.DETACH_FINAL_FC,
        "head_act": {"same": "none"}.get(cfg.MODEL.HEAD_ACT, cfg.MODEL.HEAD_ACT),
    }


def build_common(cfg: CfgNode) -> dict[str, Any]:
    """Arguments that every staged family takes."""
    return build_head(cfg) | {
        "num_classes": build_num_classes(cfg),
        "num_frames": cfg.DATA.NUM_FRAMES,
        "crop_size": cfg.DATA.TRAIN_CROP_SIZE,
        "drop_path": cfg.MODEL.DROPCONNECT_RATE,
        "act_checkpoint": cfg.MODEL.ACT_CHECKPOINT,
        "fc_std": cfg.MODEL.FC_INIT_STD,
        "zero_final_bn": cfg.RESNET.ZERO_INIT_FINAL_BN,
    }


def build_resnet(cfg: CfgNode) -> dict[str, Any]:
    """Arguments that the ResNet families take: what is common to all of their stages."""
    branch = cfg.RESNET.TRANS_FUNC
    if branch not in BRANCH_OF:
        raise ValueError(
            f"RESNET.TRANS_FUNC is {branch!r}: MODEL.MODEL_NAME {cfg.MODEL.MODEL_NAME} has "
            f"{sorted(BRANCH_OF)}"
        )
    return {
        "depth": cfg.RESNET.DEPTH,
        "branch": BRANCH_OF[branch],
        "width": cfg.RESNET.WIDTH_PER_GROUP,
        "groups": cfg.RESNET.NUM_GROUPS,
    }


def build_pathways(cfg: CfgNode, num_pathways: int) -> list[PathwaySpec]:
    """Stage-by-stage choices of each pathway, slow first.

    PySlowFast nests these keys as stage, pathway; a stage with one entry means it for all
    pathways, except that attention is only where it is written.
    """

    def column(value: Sequence[Sequence[Any]], pathway: int) -> list[Any]:
        return [stage[pathway] if pathway < len(stage) else stage[0] for stage in value]

    specs = []
    for p in range(num_pathways):
        locations = [stage[p] if p < len(stage) else [] for stage in cfg.NONLOCAL.LOCATION]
        groups, pools = column(cfg.NONLOCAL.GROUP, p), column(cfg.NONLOCAL.POOL, p)
        non_local = [
            NonLocalSpec(
                after=tuple(after),
                groups=group,
                pool=tuple(pool),
                instantiation=cfg.NONLOCAL.INSTANTIATION,
            )
            for after, group, pool in zip(locations, groups, pools, strict=True)
        ]
        specs.append(
            PathwaySpec(
                num_temporal=column(cfg.RESNET.NUM_BLOCK_TEMP_KERNEL, p),
                strides=column(cfg.RESNET.SPATIAL_STRIDES, p),
                dilations=column(cfg.RESNET.SPATIAL_DILATIONS, p),
                non_local=tuple(non_local),
            )
        )
    return specs


def preferred_memory_format(model_name: str, device: torch.device | str) -> torch.memory_format:
    """What ``MODEL.MEMORY_FORMAT auto`` means: the faster layout of weights and clips.

    ======  ================  =========================================================
    device  layout            why
    ======  ================  =========================================================
    cpu     channels_last_3d  measured, training step, 2 cores, against contiguous memory:
                              X3D-S batch 4 2.4x (bf16 3.2x), SlowFast 8x8 batch 2 1.3x
                              (bf16 2.6x)
    cuda    channels_last_3d  what cuDNN's tensor-core kernels take; not measured here
    cuda    contiguous        X3D: torch's depthwise 3-D kernel takes this; not measured
    others  contiguous        5-D channels-last is not supported throughout
    ======  ================  =========================================================

    Args:
        model_name: entry of ``MODELS``.
        device: where the model runs.
    """
    kind = torch.device(device).type
    if kind == "cpu" or (kind == "cuda" and model_name not in ("X3D", "PTVX3D")):
        return torch.channels_last_3d
    return torch.contiguous_format
