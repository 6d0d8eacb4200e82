"""Config -> teachers, losses and objective of a distillation."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from slowfast.checkpoint.io import read_checkpoint
from slowfast.compression.distillation.losses import LOGIT_LOSSES, LOSSES
from slowfast.compression.distillation.objective import (
    Distillation,
    DistillationError,
    Teacher,
)
from slowfast.config import cfg_from_yaml, load_cfg
from slowfast.datasets.batch import COMPANIONS, Batch
from slowfast.engine.build import Placement, build_criterion, build_placed_model, place
from slowfast.engine.weights import build_test_weights
from slowfast.models.base import ClipModel
from slowfast.models.profile import build_model_inputs

if TYPE_CHECKING:
    from torch import Tensor
    from yacs.config import CfgNode

logger = logging.getLogger(__name__)

DISTILLABLE = ("cross_entropy", "soft_cross_entropy")
"""Losses of the labels that those of a teacher can be added to."""


@dataclass(frozen=True)
class TeacherSource:
    """Where a teacher comes from.

    Attributes:
        path: its checkpoint.
        config: its config: the network, and what it sees of a video.
    """

    path: Path
    config: CfgNode


def build_checks(cfg: CfgNode) -> None:
    """Refuse what cannot be meant, before anything is loaded.

    Raises:
        DistillationError: names the keys and options.
    """
    node = cfg.DISTILLATION
    if not node.TEACHER_CHECKPOINTS:
        raise DistillationError(
            "no teacher: give its checkpoint as --teacher_model (DISTILLATION.TEACHER_CHECKPOINTS)"
        )
    files = build_cfg_files(cfg)
    if len(files) not in (0, 1, len(node.TEACHER_CHECKPOINTS)):
        raise DistillationError(
            f"{len(node.TEACHER_CHECKPOINTS)} teachers (--teacher_model) and {len(files)} configs "
            "(--teacher_cfg): give one config per teacher, one for all, or none to use those in "
            "the checkpoints"
        )
    if cfg.MODEL.LOSS_FUNC not in DISTILLABLE:
        raise DistillationError(
            f"MODEL.LOSS_FUNC {cfg.MODEL.LOSS_FUNC} does not go with a teacher's logits: use one "
            f"of {', '.join(DISTILLABLE)}"
        )
    losses = build_losses(cfg)
    if not node.CACHE_TEACHER:
        return
    if not cfg.DATA.FIXED_VIEWS:
        raise DistillationError(
            "DISTILLATION.CACHE_TEACHER keeps what the teacher says of a video, so the video must "
            "look the same in every epoch: set DATA.FIXED_VIEWS True too"
        )
    if cfg.MIXUP.ENABLE:
        raise DistillationError(
            "DISTILLATION.CACHE_TEACHER: mixup shows other mixtures in every epoch; set "
            "MIXUP.ENABLE False"
        )
    if others := sorted(set(losses) - set(LOGIT_LOSSES)):
        raise DistillationError(
            f"DISTILLATION.CACHE_TEACHER keeps logits, which the losses {others} do not compare; "
            f"use some of {', '.join(LOGIT_LOSSES)}"
        )


def build_losses(cfg: CfgNode) -> dict[str, float]:
    """``DISTILLATION.LOSSES`` as name -> weight.

    Raises:
        DistillationError: an unknown loss, a weight that is none, a loss given twice.
    """
    found: dict[str, float] = {}
    for text in cfg.DISTILLATION.LOSSES:
        name, _, weight = text.partition("=")
        if name not in LOSSES:
            raise DistillationError(f"--loss {text}: no such loss; known: {', '.join(LOSSES)}")
        if name in found:
            raise DistillationError(f"--loss {name} is given twice")
        try:
            found[name] = float(weight or 1)
        except ValueError as error:
            raise DistillationError(
                f"--loss {text}: expected a number after '=', as in {name}=0.5"
            ) from error
    if not found:
        raise DistillationError(f"--loss: give at least one of {', '.join(LOSSES)}")
    return found


def build_cfg_files(cfg: CfgNode) -> list[str]:
    """``DISTILLATION.TEACHER_CFG_FILES``, or the one file of ``TEACHER_CFG_FILE``."""
    node = cfg.DISTILLATION
    one = [node.TEACHER_CFG_FILE] if node.TEACHER_CFG_FILE else []
    return list(node.TEACHER_CFG_FILES) or one


def build_teacher_sources(cfg: CfgNode) -> list[TeacherSource]:
    """The teachers' files and configs.

    Raises:
        DistillationError: a file that is not there; a checkpoint without config, and no YAML.
    """
    files = build_cfg_files(cfg)
    sources = []
    for number, name in enumerate(cfg.DISTILLATION.TEACHER_CHECKPOINTS):
        path = Path(name)
        if not path.is_file():
            raise DistillationError(f"--teacher_model {path}: no such file")
        if files:
            config = load_cfg([files[number if len(files) > 1 else 0]])
        else:
            text = read_checkpoint(path).get("cfg") if path.suffix != ".pkl" else None
            if not isinstance(text, str) or not text.strip():
                raise DistillationError(
                    f"{path} carries no config, so its network is not known: give --teacher_cfg"
                )
            config = cfg_from_yaml(text)
        sources.append(TeacherSource(path, config))
    return sources


def build_teacher_model(source: TeacherSource, placement: Placement) -> ClipModel:
    """The network of a teacher, with its weights, pruned or not."""
    config = source.config.clone()
    config.defrost()
    config.TEST.CHECKPOINT_FILE_PATH = str(source.path)
    config.freeze()
    model = build_placed_model(config, placement)
    build_test_weights(config, model, source.path.parent)
    return place(model, placement).eval()


def build_distillation(
    cfg: CfgNode,
    model: ClipModel,
    teachers: Sequence[Teacher],
    example: Batch | None = None,
) -> Distillation:
    """The objective of ``DISTILLATION.*``.

    Args:
        cfg: of the student.
        model: the student.
        teachers: see :func:`companion_clips` for what they see.
        example: a batch as the objective gets it; see :class:`Distillation`.
    """
    node = cfg.DISTILLATION
    return Distillation(
        model,
        teachers,
        build_criterion(cfg),
        losses=build_losses(cfg),
        alpha=node.ALPHA,
        temperature=node.TEMPERATURE,
        warmup_epochs=node.WARMUP_EPOCHS,
        example=example,
    )


def build_example(cfg: CfgNode, placement: Placement, companions: Sequence[CfgNode] = ()) -> Batch:
    """A batch of one clip as the objective gets them, of noise.

    Args:
        cfg: of the student.
        placement: of the run.
        companions: configs of the teachers that see clips of their own.
    """
    generator = torch.Generator().manual_seed(0)
    clips, *others = (
        [torch.rand(shape, generator=generator).to(placement.device) for shape in shapes]
        for shapes in map(build_model_inputs, (cfg, *companions))
    )
    number = torch.zeros(1, dtype=torch.long)
    return Batch(clips, number, number, torch.zeros(1, 2), {COMPANIONS: others})


class CompanionClips:
    """Takes teacher ``number``'s pathways out of a batch."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, batch: Batch) -> list[Tensor]:
        """See :attr:`Teacher.clips`."""
        clips: list[Tensor] = batch.meta[COMPANIONS][self.number]
        return clips


DATASET_NODES = ("EPICKITCHENS", "FEATURES", "RAWFRAMES", "DATA_LOADER", "BENCHMARK")
DATASET_KEYS = (
    "PATH_TO_DATA_DIR",
    "PATH_LABEL_SEPARATOR",
    "PATH_PREFIX",
    "CLASS_NAMES_PATH",
    "SPLIT_RATIO",
    "SKIP_ROWS",
    "BAD_VIDEOS_FILE",
    "CACHE_DIR",
    "CACHE_GB",
    "DUMMY_LOAD",
    "DECODING_BACKEND",
    "MULTI_LABEL",
)
RUN_KEYS = ("DEVICE", "NUM_GPUS", "CPU_PROCESSES", "PROGRESS", "OUTPUT_DIR")


def build_teacher_cfg(cfg: CfgNode, teacher: CfgNode) -> CfgNode:
    """The teacher's network and views, on the student's data and machine."""
    found = teacher.clone()
    found.defrost()
    for node in DATASET_NODES:
        found[node] = cfg[node].clone()
    for key in DATASET_KEYS:
        found.DATA[key] = cfg.DATA[key]
    for key in RUN_KEYS:
        found[key] = cfg[key]
    found.TRAIN.DATASET, found.TEST.DATASET = cfg.TRAIN.DATASET, cfg.TEST.DATASET
    found.TEST.BATCH_SIZE = cfg.TEST.BATCH_SIZE
    found.TEST.NUM_ENSEMBLE_VIEWS = cfg.TEST.NUM_ENSEMBLE_VIEWS
    found.TEST.NUM_SPATIAL_CROPS = cfg.TEST.NUM_SPATIAL_CROPS
    found.freeze()
    return found
