"""Training with rounding: the float network learns weights that int8 does not hurt."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from slowfast.checkpoint.io import best_path, last_checkpoint, write_checkpoint
from slowfast.compression.quantization.build import (
    build_qat_config,
    build_qat_epochs,
    build_teaching,
)
from slowfast.compression.quantization.fake_quant import FakeQuantization, Range, Site
from slowfast.compression.trainings import begin_training, build_facts
from slowfast.engine.objective import Objective
from slowfast.engine.run import build_training
from slowfast.engine.weights import load_model
from slowfast.models.base import ClipModel
from slowfast.utils.distributed import launch, plan_launch

if TYPE_CHECKING:
    from yacs.config import CfgNode

TRAINED = "trained.pyth"


def build_trained_file(
    cfg: CfgNode, model: ClipModel, sites: Mapping[str, Site], ranges: Mapping[str, Range]
) -> Path:
    """The checkpoint that training with rounding leaves: a float network like any other.

    Args:
        cfg: the config.
        model: to start from.
        sites: what is rounded.
        ranges: of activations; they stay as they are.
    """
    folder = Path(cfg.OUTPUT_DIR) / "training"
    yaml = cfg.dump()
    start = folder / "start.pyth"
    write_checkpoint(start, epoch=0, model=model, optimizer=None, cfg_yaml=yaml)
    stage = build_qat_config(cfg, epochs=build_qat_epochs(cfg), start=start, output_dir=folder)
    begin_training(folder, build_facts(stage, sites, ranges))
    plan = plan_launch(cfg.NUM_GPUS, device=cfg.DEVICE, cpu_processes=cfg.CPU_PROCESSES)
    launch(train_with_rounding, (stage, dict(sites), dict(ranges)), plan)
    found = best_path(folder, cfg.TASK)
    last = last_checkpoint(folder, cfg.TASK)
    trained = load_model(found if found.is_file() or last is None else last)[0]
    path = Path(cfg.OUTPUT_DIR) / TRAINED
    return write_checkpoint(path, epoch=0, model=trained, optimizer=None, cfg_yaml=yaml)


def train_with_rounding(
    config: CfgNode, sites: Mapping[str, Site], ranges: Mapping[str, Range]
) -> None:
    """The training itself; runs in every process of it. Validation is of the rounded network."""

    def build_rounded(cfg: CfgNode, model: ClipModel) -> Objective:
        objective = build_teaching(cfg, model)
        FakeQuantization(model, sites, ranges)
        return objective

    build_training(config, objective=build_rounded).run()
