"""Config -> the parts of a pruning. With ``run``, all of the package that reads it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from slowfast.compression.distillation.build import (
    DISTILLABLE,
    build_distillation,
    build_example,
)
from slowfast.compression.distillation.objective import Teacher
from slowfast.compression.pruning.channels import Pruner, PruningError
from slowfast.compression.pruning.importance import PRUNERS, Evidence
from slowfast.compression.pruning.schedule import MAX_RATIO
from slowfast.compression.pruning.sparsity import SparsityHook
from slowfast.compression.pruning.steps import Goal
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
from slowfast.models.profile import build_model_inputs

if TYPE_CHECKING:
    from yacs.config import CfgNode

logger = logging.getLogger(__name__)

TARGETS = {"TARGET_MACS": "macs", "TARGET_PARAMS": "params", "TARGET_LATENCY_MS": "latency_ms"}
"""Key -> kind of :class:`~slowfast.compression.pruning.steps.Goal`."""

SHORT_WARMUP = 0.1
"""Warm-up of trainings of already trained weights: at most this share of their epochs."""


def build_checks(cfg: CfgNode) -> None:
    """Refuse what cannot be meant, before anything is loaded.

    Raises:
        PruningError: names the keys and options.
    """
    pruning = cfg.PRUNING
    if not pruning.CHECKPOINT_FILE_PATH:
        raise PruningError("no weights to prune: give --model_path (PRUNING.CHECKPOINT_FILE_PATH)")
    if not Path(pruning.CHECKPOINT_FILE_PATH).is_file():
        raise PruningError(f"--model_path {pruning.CHECKPOINT_FILE_PATH}: no such file")
    PRUNERS.get(pruning.PRUNING_METHOD)
    targets = [name for name in TARGETS if pruning[name]]
    if len(targets) > 1:
        raise PruningError(f"PRUNING.{' and PRUNING.'.join(targets)}: one target at a time")
    for name in ("TARGET_MACS", "TARGET_PARAMS"):
        if pruning[name] >= 1:
            raise PruningError(
                f"PRUNING.{name} {pruning[name]:g} is a share of what the network has now: give a "
                "number between 0 and 1, e.g. 0.5 to keep half"
            )
    if not targets and not 0 < pruning.PRUNING_RATE <= MAX_RATIO:
        raise PruningError(
            f"--prune_ratio {pruning.PRUNING_RATE:g} is the share of channels to remove: give a "
            f"number above 0, at most {MAX_RATIO}"
        )
    if pruning.STEP_EPOCHS and pruning.ITERATIVE_STEPS == 1:
        raise PruningError(
            f"--step_epochs {pruning.STEP_EPOCHS} trains between cuts, and there is one cut only: "
            "give --iterative_steps 2 or more, or --finetune_epochs to train after it"
        )


def build_scope(cfg: CfgNode) -> str:
    """``PRUNING.ISOMORPHIC`` and ``PRUNING.GLOBAL`` as one word."""
    if cfg.PRUNING.ISOMORPHIC:
        return "isomorphic"
    return "global" if cfg.PRUNING.GLOBAL else "local"


def build_finetune_epochs(cfg: CfgNode) -> int:
    """Epochs after the last cut."""
    return int(cfg.PRUNING.PRUNING_MAX_EPOCH) if cfg.PRUNING.FINE_TUNING_AFTER_PRUNING else 0


def build_goal(cfg: CfgNode) -> Goal:
    """How much to prune: a target, else ``PRUNING.PRUNING_RATE``."""
    pruning = cfg.PRUNING
    found = {kind: pruning[key] for key, kind in TARGETS.items() if pruning[key]}
    kind, value = next(iter(found.items()), ("ratio", pruning.PRUNING_RATE))
    return Goal(kind, value, pruning.ITERATIVE_STEPS, pruning.STEP_EPOCHS, pruning.SPARSE_EPOCHS)


def build_original(cfg: CfgNode, placement: Placement) -> ClipModel:
    """The network to prune, which may have been pruned before, in evaluation mode."""
    config = cfg.clone()
    config.defrost()
    config.TEST.CHECKPOINT_FILE_PATH = cfg.PRUNING.CHECKPOINT_FILE_PATH
    config.TEST.CHECKPOINT_TYPE = cfg.PRUNING.CHECKPOINT_TYPE
    config.freeze()
    model = build_placed_model(config, placement)
    build_test_weights(config, model, Path(cfg.OUTPUT_DIR))
    return place(model, placement).eval()


def build_pruner(cfg: CfgNode, model: ClipModel, evidence: Evidence | None = None) -> Pruner:
    """The pruner of ``PRUNING.*``."""
    return Pruner(
        model,
        build_model_inputs(cfg),
        method=cfg.PRUNING.PRUNING_METHOD,
        scope=build_scope(cfg),
        round_to=cfg.PRUNING.ROUND_TO,
        protect=cfg.PRUNING.PROTECT,
        protect_stems=cfg.PRUNING.PROTECT_STEMS,
        evidence=evidence,
    )


def build_sparsity(cfg: CfgNode, model: ClipModel) -> SparsityHook:
    """The hook of the trainings before the cut."""
    groups = build_pruner(cfg, model).groups
    return SparsityHook(
        model, groups, weight=cfg.PRUNING.SPARSE_WEIGHT, kind=cfg.PRUNING.SPARSE_KIND
    )


def build_stage_config(cfg: CfgNode, *, epochs: int, start: Path, output_dir: Path) -> CfgNode:
    """The config of a training within a pruning, from the weights in ``start``.

    To be resumed, unless ``TRAIN.AUTO_RESUME`` is off: what an earlier run left in the folder must
    be of the same network.
    """
    config = cfg.clone()
    config.defrost()
    config.SOLVER.MAX_EPOCH = epochs
    config.SOLVER.BASE_LR *= cfg.PRUNING.LR_FACTOR
    config.SOLVER.WARMUP_EPOCHS = min(cfg.SOLVER.WARMUP_EPOCHS, SHORT_WARMUP * epochs)
    config.SOLVER.WARMUP_START_LR = min(config.SOLVER.WARMUP_START_LR, config.SOLVER.BASE_LR)
    config.TRAIN.ENABLE = True
    config.TRAIN.CHECKPOINT_FILE_PATH = str(start)
    config.TRAIN.CHECKPOINT_TYPE, config.TRAIN.CHECKPOINT_INFLATE = "pytorch", False
    config.TRAIN.CHECKPOINT_MIN_LOADED = 1.0
    config.OUTPUT_DIR = str(output_dir)
    config.freeze()
    return config


def build_finetuning(cfg: CfgNode, model: ClipModel) -> Objective:
    """What a pruned network is trained to do: the labels, and with them the unpruned network.

    The teacher takes part where the loss is a cross entropy and ``PRUNING.DISTIL`` is on.
    """
    if not cfg.PRUNING.DISTIL or cfg.MODEL.LOSS_FUNC not in DISTILLABLE or build_is_regression(cfg):
        return build_objective(cfg, model)
    placement = build_placement(cfg)
    teacher = Teacher(build_original(cfg, placement), lambda batch: batch.clips)
    return build_distillation(cfg, model, [teacher], build_example(cfg, placement))
