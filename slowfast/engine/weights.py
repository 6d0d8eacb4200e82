"""Which checkpoint a run begins with, and whether it fits the run."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowfast.checkpoint.convert import read_weights, state_of
from slowfast.checkpoint.io import (
    CheckpointError,
    MissingCheckpointError,
    best_path,
    last_checkpoint,
    read_checkpoint,
    read_last_checkpoint,
)
from slowfast.checkpoint.match import clear_names, load_matching, load_strict
from slowfast.checkpoint.resize import fit_to_checkpoint
from slowfast.config import cfg_from_yaml, diff_cfg
from slowfast.engine import parallel
from slowfast.engine.optimizer import load_optimizer_state
from slowfast.engine.trainer import Trainer
from slowfast.models.base import ClipModel
from slowfast.models.build import build_model
from slowfast.models.pretrained import PretrainedModel
from slowfast.utils import distributed
from slowfast.utils.errors import UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode

logger = logging.getLogger(__name__)

SEEN_BY_THE_NETWORK = (
    "DATA.SAMPLING_RATE",
    "DATA.TARGET_FPS",
    "DATA.MEAN",
    "DATA.STD",
    "DATA.REVERSE_INPUT_CHANNEL",
)
"""Keys that do not change the network but what its inputs mean to it."""


class ConfigMismatchError(UserError, ValueError):
    """A checkpoint was trained as another network; tensor shapes may not show it."""


def build_differences(cfg: CfgNode, checkpoint: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Keys that define the network or its input and differ: ``{key: (in the file, now)}``.

    Empty for files that carry no config.
    """
    text = checkpoint.get("cfg")
    if not isinstance(text, str) or not text.strip():
        return {}
    stored = cfg_from_yaml(text)
    return diff_cfg(stored, cfg) | diff_cfg(stored, cfg, SEEN_BY_THE_NETWORK)


def build_config_check(cfg: CfgNode, checkpoint: dict[str, Any], path: Path) -> None:
    """Raise when the weights in ``checkpoint`` belong to another network than ``cfg`` describes.

    Raises:
        ConfigMismatchError: lists the keys.
    """
    differing = build_differences(cfg, checkpoint)
    if differing:
        raise ConfigMismatchError(
            f"{path} was trained with another config:\n{_table(differing)}\n"
            "Give the values of the checkpoint, or another checkpoint; to start a new training "
            "from these weights set TRAIN.CHECKPOINT_FILE_PATH and another OUTPUT_DIR."
        )


def _table(differing: dict[str, tuple[Any, Any]]) -> str:
    rows = (f"  {key}: {old} in the checkpoint, {new} now" for key, (old, new) in differing.items())
    return "\n".join(rows)


@dataclass(frozen=True)
class ResumePoint:
    """Where an interrupted run goes on. Attributes: the file and what is in it."""

    path: Path
    checkpoint: dict[str, Any]


def build_resume_point(cfg: CfgNode, model: ClipModel, output_dir: Path) -> ResumePoint | None:
    """The newest readable checkpoint; ``None`` when ``TRAIN.AUTO_RESUME`` is off or there is none.

    ``model`` gets the widths of a pruned one; call it before anything, such as the optimiser, holds
    its parameters. Every process reads the file that the main one chose.
    """
    if not cfg.TRAIN.AUTO_RESUME:
        return None
    found = read_last_checkpoint(output_dir, cfg.TASK) if distributed.is_main() else None
    path = distributed.broadcast_object(found[0] if found else None)
    if path is None:
        return None
    checkpoint = found[1] if found else read_checkpoint(path)
    build_config_check(cfg, checkpoint, path)
    fit_to_checkpoint(model, checkpoint, source=str(path))
    return ResumePoint(path, checkpoint)


def resume(trainer: Trainer, point: ResumePoint) -> int:
    """Restore ``trainer``; returns the epoch to go on with.

    Call it last: it sets the random states.
    """
    path, checkpoint = point.path, point.checkpoint
    model = trainer.objective.model
    load_strict(model, parallel.share_state(model, checkpoint["model_state"]), source=str(path))
    load_optimizer_state(trainer.optimizer, checkpoint["optimizer_state"])
    if trainer.scaler.is_enabled() and "scaler_state" in checkpoint:
        trainer.scaler.load_state_dict(checkpoint["scaler_state"])
    if "trainer_state" in checkpoint:
        trainer.load_state_dict(checkpoint["trainer_state"])
    else:
        logger.warning("%s has no trainer_state (PySlowFast wrote it?): random numbers differ from "
                       "those of an uninterrupted run", path)  # fmt: skip
    epoch = int(checkpoint["epoch"]) + 1
    logger.info(
        "resuming from %s: %d epochs are done, %d batches of the next",
        path,
        epoch,
        trainer.first_iteration,
    )
    return epoch


def build_initial_weights(cfg: CfgNode, model: ClipModel) -> None:
    """Load ``TRAIN.CHECKPOINT_FILE_PATH``, weights only, as far as they fit; else MODEL.PRETRAINED.

    Unlike PySlowFast, which takes over epoch and optimiser too unless
    ``TRAIN.CHECKPOINT_EPOCH_RESET`` is set, training always starts at epoch 0: a checkpoint is
    continued by naming its folder as ``OUTPUT_DIR``.
    """
    if cfg.TRAIN.CHECKPOINT_FILE_PATH:
        build_from_checkpoint(cfg, model)
    load_image_weights(model)


def load_image_weights(model: ClipModel) -> None:
    """What ``MODEL.PRETRAINED`` asked for, unless a checkpoint has taken its place.

    Raises:
        PretrainedError: the weights cannot be had, or do not fit.
    """
    if isinstance(model, PretrainedModel) and model.pending:
        source = model.pending
        model.load_pretrained()
        logger.info("image weights: %s", source)


def build_from_checkpoint(cfg: CfgNode, model: ClipModel) -> None:
    """Load ``TRAIN.CHECKPOINT_FILE_PATH``; see :func:`build_initial_weights`."""
    path = Path(cfg.TRAIN.CHECKPOINT_FILE_PATH)
    kind = _format(cfg.TRAIN.CHECKPOINT_TYPE, path)
    checkpoint = {} if kind == "caffe2" else read_checkpoint(path)
    if fit_to_checkpoint(model, checkpoint, source=str(path)):
        logger.info("%s is of a pruned network: the model gets its widths", path)
    state = read_weights(path, kind, model=model, inflate=cfg.TRAIN.CHECKPOINT_INFLATE)
    state = clear_names(state, tuple(cfg.TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN))
    share = cfg.TRAIN.CHECKPOINT_MIN_LOADED
    report = load_matching(model, state, min_share=share, source=str(path))
    logger.info("starting from %s\n%s", path, report.table())
    differing = build_differences(cfg, checkpoint)
    if differing:
        logger.warning("the weights of %s come from another network:\n%s", path, _table(differing))


def load_model(path: Path | str) -> tuple[ClipModel, CfgNode]:
    """A network from its checkpoint alone, pruned or not: in evaluation mode, with its config.

    Raises:
        CheckpointError: unreadable, or without a config (PySlowFast's own files may have none).
    """
    checkpoint = read_checkpoint(path)
    text = checkpoint.get("cfg")
    if not isinstance(text, str) or not text.strip():
        raise CheckpointError(
            f"{path} carries no config, so its network is not known: give the config as --cfg"
        )
    config = cfg_from_yaml(text)
    model = build_model(config)
    fit_to_checkpoint(model, checkpoint, source=str(path))
    load_strict(model, state_of(checkpoint, source=str(path)), source=str(path))
    return model.eval(), config


def _format(kind: str, path: Path) -> str:
    """``*.CHECKPOINT_TYPE``; its default, pytorch, is refined by looking at file and names."""
    if kind != "pytorch":
        return kind
    return "caffe2" if path.suffix == ".pkl" else "auto"


def build_test_path(cfg: CfgNode, output_dir: Path) -> Path:
    """The checkpoint to test: the first there is of

    1. ``TEST.CHECKPOINT_FILE_PATH``;
    2. ``best.pyth`` in ``OUTPUT_DIR/checkpoints``, then the last epoch there;
    3. ``TRAIN.CHECKPOINT_FILE_PATH``.

    PySlowFast takes the last epoch instead of the best, and random weights when there is
    nothing; here that is an error.

    Raises:
        MissingCheckpointError: there is none.
    """
    if cfg.TEST.CHECKPOINT_FILE_PATH:
        return Path(cfg.TEST.CHECKPOINT_FILE_PATH)
    best = best_path(output_dir, cfg.TASK)
    if best.is_file():
        return best
    last = last_checkpoint(output_dir, cfg.TASK)
    if last is not None:
        return last
    if cfg.TRAIN.CHECKPOINT_FILE_PATH:
        return Path(cfg.TRAIN.CHECKPOINT_FILE_PATH)
    raise MissingCheckpointError(
        f"nothing to test: {best.parent.absolute()} has no checkpoint. Name one by "
        "TEST.CHECKPOINT_FILE_PATH (or --model_path, --checkpoint, where a tool has it), or train "
        "first (TRAIN.ENABLE True)"
    )


def build_test_weights(cfg: CfgNode, model: ClipModel, output_dir: Path) -> Path:
    """Load the weights to test, all of them, and return where they came from.

    Raises:
        ConfigMismatchError: they were trained as another network.
        CheckpointMismatch: they do not fit.
    """
    path = build_test_path(cfg, output_dir)
    kind = _format(cfg.TEST.CHECKPOINT_TYPE, path)
    if kind != "caffe2":
        checkpoint = read_checkpoint(path)
        build_config_check(cfg, checkpoint, path)
        fit_to_checkpoint(model, checkpoint, source=str(path))
    load_strict(model, read_weights(path, kind, model=model), source=str(path))
    logger.info("testing the weights of %s", path)
    return path
