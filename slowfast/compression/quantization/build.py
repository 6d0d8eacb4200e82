"""Config -> the parts of a quantisation. With ``run`` and ``calibration``, all that reads it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from slowfast.compression.distillation.build import build_distillation, build_example
from slowfast.compression.distillation.objective import Teacher
from slowfast.compression.quantization.errors import QuantizationError
from slowfast.engine.build import (
    Placement,
    build_objective,
    build_placed_model,
    build_placement,
    place,
)
from slowfast.engine.objective import Objective
from slowfast.engine.regression import build_is_regression
from slowfast.engine.weights import build_test_weights
from slowfast.models.base import ClipModel

if TYPE_CHECKING:
    from yacs.config import CfgNode

DISTILLABLE = ("cross_entropy", "soft_cross_entropy")
CPU = Placement(torch.device("cpu"), torch.contiguous_format, None)


def build_checks(cfg: CfgNode) -> None:
    """Refuse what cannot be meant, before anything is loaded.

    Raises:
        QuantizationError: names the keys and options.
    """
    node = cfg.QUANTIZATION
    if not node.CHECKPOINT_FILE_PATH:
        raise QuantizationError(
            "no weights to quantise: give --model_path (QUANTIZATION.CHECKPOINT_FILE_PATH)"
        )
    if not Path(node.CHECKPOINT_FILE_PATH).is_file():
        raise QuantizationError(f"--model_path {node.CHECKPOINT_FILE_PATH}: no such file")
    if build_is_regression(cfg):
        raise QuantizationError(
            f"MODEL.LOSS_FUNC {cfg.MODEL.LOSS_FUNC} makes a network of features, which has no "
            "classes to compare: finetune it with classes first"
        )
    if node.PRECISION == "bf16" and node.RUNTIME != "openvino":
        raise QuantizationError(
            f"--precision bf16 with --backend {node.RUNTIME}: its CPU kernels know no bf16. Give "
            "--backend openvino"
        )
    if node.PRECISION == "bf16" and build_qat_epochs(cfg):
        raise QuantizationError(
            f"--qat_epochs {node.QAT_EPOCHS} trains for int8, and --precision is bf16: give one"
        )


def build_qat_epochs(cfg: CfgNode) -> int:
    """Epochs of training with rounding; 0: none."""
    return int(cfg.QUANTIZATION.QAT_EPOCHS) if cfg.QUANTIZATION.QAT else 0


def build_original(cfg: CfgNode, placement: Placement) -> ClipModel:
    """The float network, pruned or not, in evaluation mode."""
    config = cfg.clone()
    config.defrost()
    config.TEST.CHECKPOINT_FILE_PATH = cfg.QUANTIZATION.CHECKPOINT_FILE_PATH
    config.TEST.CHECKPOINT_TYPE = cfg.QUANTIZATION.CHECKPOINT_TYPE
    config.freeze()
    model = build_placed_model(config, placement)
    build_test_weights(config, model, Path(cfg.OUTPUT_DIR))
    return place(model, placement).eval()


def build_qat_config(cfg: CfgNode, *, epochs: int, start: Path, output_dir: Path) -> CfgNode:
    """The config of the training, from the weights in ``start``.

    Batch norms stay as they are: in the file they are part of the weights. To be resumed, unless
    ``TRAIN.AUTO_RESUME`` is off: what is left of an earlier run must be of the same network.
    """
    config = cfg.clone()
    config.defrost()
    solver = config.SOLVER
    solver.MAX_EPOCH = epochs
    solver.BASE_LR *= cfg.QUANTIZATION.LR_FACTOR
    solver.WARMUP_EPOCHS = 0.0
    config.TRAIN.ENABLE = True
    config.TRAIN.CHECKPOINT_FILE_PATH = str(start)
    config.TRAIN.CHECKPOINT_TYPE, config.TRAIN.CHECKPOINT_INFLATE = "pytorch", False
    config.TRAIN.CHECKPOINT_MIN_LOADED = 1.0
    config.MODEL.COMPILE = False
    config.MODEL.FROZEN_BN, config.BN.USE_PRECISE_STATS = True, False
    config.OUTPUT_DIR = str(output_dir)
    config.freeze()
    return config


def build_teaching(cfg: CfgNode, model: ClipModel) -> Objective:
    """The labels, and with them the float network, where the loss is a cross entropy."""
    if cfg.MODEL.LOSS_FUNC not in DISTILLABLE:
        return build_objective(cfg, model)
    placement = build_placement(cfg)
    teacher = Teacher(build_original(cfg, placement), lambda batch: batch.clips)
    return build_distillation(cfg, model, [teacher], build_example(cfg, placement))
