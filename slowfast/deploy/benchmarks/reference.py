"""The yardstick: PySlowFast's way of training and predicting; itself it does not start today.

PyTorchVideo's models are the same operators in the same order (same authors, same weights), run
here as PySlowFast runs them: eager, contiguous memory, float32, one plain step after the other.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from slowfast.models.base import ClipModel
from slowfast.models.profile import build_model_inputs
from slowfast.utils import vision
from slowfast.utils.memory import keep_freed_memory
from slowfast.utils.optional import require

if TYPE_CHECKING:
    from yacs.config import CfgNode


def build_reference_model(cfg: CfgNode) -> nn.Module:
    """PyTorchVideo's X3D or SlowFast of the same size, giving logits.

    Takes one clip tensor ``(B, 3, T, H, W)`` (X3D) or a list of two (SlowFast).

    Raises:
        ValueError: another architecture.
    """
    vision.functional()  # PyTorchVideo imports torchvision, which needs this first
    arch = cfg.MODEL.ARCH
    if arch not in REFERENCES:
        raise ValueError(f"MODEL.ARCH {arch}: --reference knows {sorted(REFERENCES)}")
    if not has_reference(cfg.MODEL.MODEL_NAME, cfg.RESNET.DEPTH):
        raise ValueError(
            f"{cfg.MODEL.MODEL_NAME} of RESNET.DEPTH {cfg.RESNET.DEPTH}: --reference knows "
            f"{', '.join(REFERENCE_NAMES)}, of depths {REFERENCE_DEPTHS}"
        )
    classes = cfg.MODEL.NUM_CLASSES
    model: nn.Module = REFERENCES[arch](cfg, classes[0] if isinstance(classes, list) else classes)
    return model


def build_x3d_reference(cfg: CfgNode, num_classes: int) -> Any:
    """PyTorchVideo's X3D."""
    return require("pytorchvideo.models.x3d", extra="dev").create_x3d(
        input_clip_length=cfg.DATA.NUM_FRAMES,
        input_crop_size=cfg.DATA.TRAIN_CROP_SIZE,
        model_num_class=num_classes,
        dropout_rate=cfg.MODEL.DROPOUT_RATE,
        stem_dim_in=cfg.X3D.DIM_C1,
        width_factor=cfg.X3D.WIDTH_FACTOR,
        depth_factor=cfg.X3D.DEPTH_FACTOR,
        bottleneck_factor=cfg.X3D.BOTTLENECK_FACTOR,
        head_dim_out=cfg.X3D.DIM_C5,
        head_activation=None,
    )


def build_slowfast_reference(cfg: CfgNode, num_classes: int) -> Any:
    """PyTorchVideo's SlowFast."""
    frames, alpha, size = cfg.DATA.NUM_FRAMES, cfg.SLOWFAST.ALPHA, cfg.DATA.TRAIN_CROP_SIZE
    pooled, width = size // 32, cfg.RESNET.WIDTH_PER_GROUP
    return require("pytorchvideo.models.slowfast", extra="dev").create_slowfast(
        slowfast_channel_reduction_ratio=(cfg.SLOWFAST.BETA_INV,),
        slowfast_conv_channel_fusion_ratio=cfg.SLOWFAST.FUSION_CONV_CHANNEL_RATIO,
        slowfast_fusion_conv_kernel_size=(cfg.SLOWFAST.FUSION_KERNEL_SZ, 1, 1),
        slowfast_fusion_conv_stride=(alpha, 1, 1),
        stem_dim_outs=(width, width // cfg.SLOWFAST.BETA_INV),
        model_depth=cfg.RESNET.DEPTH,
        model_num_class=num_classes,
        dropout_rate=cfg.MODEL.DROPOUT_RATE,
        head_pool_kernel_sizes=((frames // alpha, pooled, pooled), (frames, pooled, pooled)),
    )


REFERENCES = {"x3d": build_x3d_reference, "slowfast": build_slowfast_reference}
REFERENCE_NAMES = ("X3D", "SlowFast", "PTVX3D", "PTVSlowFast")
"""``MODEL.MODEL_NAME`` of what these are the same as; others share the ``MODEL.ARCH``."""
REFERENCE_DEPTHS = (50, 101, 152)
"""Of PyTorchVideo's residual networks."""


def has_reference(model_name: str, depth: int) -> bool:
    """Whether PyTorchVideo has such a network; the depth of an X3D is another thing."""
    return model_name in REFERENCE_NAMES and ("X3D" in model_name or depth in REFERENCE_DEPTHS)


def reference_step(
    model: nn.Module, clips: Sequence[Tensor], labels: Tensor, *, lr: float = 0.01
) -> Callable[[], None]:
    """One training step as PySlowFast's loop takes it, on ready-made float clips.

    Args:
        model: takes a tensor or, with two pathways, a list of them.
        clips: one float ``(B, C, T_p, H, W)`` per pathway.
        labels: ``(B,)`` class ids.
        lr: learning rate.
    """
    model.train()
    optimizer = torch.optim.SGD(
        model.parameters(), lr, momentum=0.9, weight_decay=5e-5, nesterov=True
    )

    def step() -> None:
        keep_freed_memory(False)  # as without us; the trainer's own steps ask for it again
        # PyTorchVideo's SlowFast overwrites the list it is given
        inputs = list(clips) if len(clips) > 1 else clips[0]
        loss = nn.functional.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        loss.item()  # PySlowFast checks every loss for NaN and logs it

    return step


def build_clip_reference(
    cfg: CfgNode, model: ClipModel, *, batch: int = 1
) -> tuple[Callable[[], object], str]:
    """A prediction as PySlowFast makes it: eager, float32, contiguous, nothing folded.

    Args:
        cfg: of the model.
        model: of it; runs itself, copied, where PyTorchVideo has no such network.
        batch: clips of the test crop.

    Returns:
        What predicts clips of noise, and whose layers run.
    """
    clips = [torch.randn(shape) for shape in build_model_inputs(cfg, cfg.DATA.TEST_CROP_SIZE)]
    clips = [clip.expand(batch, *clip.shape[1:]).contiguous() for clip in clips]
    known = has_reference(cfg.MODEL.MODEL_NAME, cfg.RESNET.DEPTH)
    try:
        network = build_reference_model(cfg) if known else copy.deepcopy(model)
    except ModuleNotFoundError:
        known, network = False, copy.deepcopy(model)
    network.eval()
    for parameter in network.parameters():
        parameter.data = parameter.data.contiguous()

    @torch.no_grad()
    def run() -> object:
        if not known:
            return model_scores(network, clips)
        # PyTorchVideo's SlowFast overwrites the list it is given
        logits = network(list(clips) if len(clips) > 1 else clips[0])
        return logits.softmax(dim=-1)

    return run, "PyTorchVideo's layers" if known else "our layers"


def model_scores(network: nn.Module, clips: Sequence[Tensor]) -> object:
    """What a network of ours predicts."""
    assert isinstance(network, ClipModel)
    return network.predict(clips)
