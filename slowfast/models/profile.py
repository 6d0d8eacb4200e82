"""What a model costs on paper: parameters and multiply-accumulates (MACs).

One multiply-add counts once. What papers and fvcore print as FLOPs of a video network is mostly
this number; counted as two operations it doubles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from slowfast.models.build import build_model

if TYPE_CHECKING:
    from yacs.config import CfgNode

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Cost:
    """Attributes: parameters and MACs (both as counts, not millions) of one clip."""

    parameters: int
    macs_train_crop: int
    macs_test_crop: int


def count_parameters(model: nn.Module, *, trainable_only: bool = False) -> int:
    """Numbers in the parameters; buffers, such as running statistics, are not counted."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad or not trainable_only)


def count_macs(model: nn.Module, shapes: Sequence[Shape]) -> int:
    """Multiply-accumulates of one prediction: of convolutions and matrix products.

    Nothing is computed: shapes are traced on the meta device, wherever the model is. A model
    that has ``predict`` is counted in it, so a clip larger than in training is classified at
    every position, as in testing and in the published figures.

    Args:
        model: takes a list of clips.
        shapes: ``(B, C, T_p, H, W)`` of every pathway, see :func:`build_model_inputs`.
    """
    whole = _Prediction(model)
    state = {
        name: tensor.to("meta")
        for name, tensor in (*whole.named_parameters(), *whole.named_buffers())
    }
    clips = [torch.empty(shape, device="meta") for shape in shapes]
    training = model.training
    model.eval()
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            functional_call(whole, state, (clips,))
    finally:
        model.train(training)
    return counter.get_total_flops() // 2


class _Prediction(nn.Module):
    """``predict`` (or ``forward``, where there is none) in the place of ``forward``."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, clips: list[Tensor]) -> Any:
        predict = getattr(self.model, "predict", self.model)
        return predict(clips)


def build_model_inputs(cfg: CfgNode, crop: int | None = None, *, batch: int = 1) -> list[Shape]:
    """``(B, C, T_p, crop, crop)`` of every pathway, slow first.

    Args:
        cfg: ``DATA``, ``SLOWFAST.ALPHA`` and the pathways of ``MODEL.ARCH`` are read.
        crop: height and width; default ``DATA.TRAIN_CROP_SIZE``. ``DATA.RESIZE``, where it is
            given, is the height and width whatever ``crop`` is.
        batch: clips.
    """
    crop = crop or cfg.DATA.TRAIN_CROP_SIZE
    size = tuple(cfg.DATA.RESIZE) or (crop, crop)
    frames, channels = cfg.DATA.NUM_FRAMES, cfg.DATA.INPUT_CHANNEL_NUM
    if cfg.MODEL.ARCH in cfg.MODEL.MULTI_PATHWAY_ARCH:
        slow = frames // cfg.SLOWFAST.ALPHA
        return [(batch, c, t, *size) for c, t in zip(channels, (slow, frames), strict=True)]
    return [(batch, channels[0], frames, *size)]


def build_cost(cfg: CfgNode) -> Cost:
    """Parameters and MACs of the configured model at both crops, without allocating it."""
    with torch.device("meta"):
        model = build_model(cfg)
    macs = [
        count_macs(model, build_model_inputs(cfg, crop))
        for crop in (cfg.DATA.TRAIN_CROP_SIZE, cfg.DATA.TEST_CROP_SIZE)
    ]
    return Cost(count_parameters(model), *macs)
