"""Checks across keys: what each key allows by itself is declared with the key."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from yacs.config import CfgNode

from slowfast.config.keys import ConfigError

logger = logging.getLogger(__name__)

LONGEST = 1000  # characters of a message


def check_cfg(cfg: CfgNode) -> None:
    """Raise where keys contradict one another; warn where they are likely a mistake.

    Raises:
        ConfigError: names both keys, their values and the fix.
    """
    for check in CHECKS:
        check(cfg)


def num_pathways(cfg: CfgNode) -> int:
    """2 for a Slow and a Fast pathway, else 1."""
    return 2 if cfg.MODEL.ARCH in cfg.MODEL.MULTI_PATHWAY_ARCH else 1


def _require(holds: bool, message: str) -> None:
    if not holds:
        if len(message) > LONGEST:  # of a list with thousands of entries
            message = f"{message[: LONGEST // 2]} ... {message[-LONGEST // 2 :]}"
        raise ConfigError(message)


def _pathways(cfg: CfgNode) -> None:
    count, channels = num_pathways(cfg), cfg.DATA.INPUT_CHANNEL_NUM
    # The default has two entries, and PySlowFast lets one pathway read the first of them.
    _require(
        len(channels) >= count,
        f"MODEL.ARCH {cfg.MODEL.ARCH} has {count} pathways, DATA.INPUT_CHANNEL_NUM {channels} "
        f"has {len(channels)} entries; set [3, 3]",
    )
    frames, alpha = cfg.DATA.NUM_FRAMES, cfg.SLOWFAST.ALPHA
    _require(
        count == 1 or frames % alpha == 0,
        f"DATA.NUM_FRAMES {frames} is not a multiple of SLOWFAST.ALPHA {alpha}: the Slow pathway "
        "would not get a whole number of frames",
    )
    for key in ("NUM_BLOCK_TEMP_KERNEL", "SPATIAL_STRIDES", "SPATIAL_DILATIONS"):
        value = cfg.RESNET[key]
        _require(len(value) == 4, f"RESNET.{key} needs 4 entries, res2 to res5, got {value}")


def _model(cfg: CfgNode) -> None:
    known = [*cfg.MODEL.SINGLE_PATHWAY_ARCH, *cfg.MODEL.MULTI_PATHWAY_ARCH]
    width, groups = cfg.RESNET.WIDTH_PER_GROUP, cfg.RESNET.NUM_GROUPS
    _require(
        width % groups == 0,
        f"RESNET.WIDTH_PER_GROUP {width} is not a multiple of RESNET.NUM_GROUPS {groups}",
    )
    if cfg.MODEL.MODEL_NAME in ("SlowFast", "ResNet", "X3D"):
        _require(
            cfg.MODEL.ARCH in known,
            f"MODEL.ARCH {cfg.MODEL.ARCH!r} is not an architecture of MODEL.MODEL_NAME "
            f"{cfg.MODEL.MODEL_NAME}; known: {', '.join(known)}",
        )
    two = cfg.MODEL.MODEL_NAME == "SlowFast"
    _require(
        cfg.MODEL.MODEL_NAME not in ("SlowFast", "ResNet", "X3D")
        or two == (num_pathways(cfg) == 2),
        f"MODEL.MODEL_NAME {cfg.MODEL.MODEL_NAME} and MODEL.ARCH {cfg.MODEL.ARCH} do not go "
        "together: SlowFast takes slowfast, ResNet c2d, i3d or slow, X3D x3d",
    )


def _classes(cfg: CfgNode) -> None:
    classes, tasks = cfg.MODEL.NUM_CLASSES, cfg.MODEL.TASKS
    if isinstance(classes, list):
        _require(
            len(classes) == len(tasks),
            f"MODEL.NUM_CLASSES {classes} and MODEL.TASKS {tasks} must name the same number of "
            'tasks, e.g. NUM_CLASSES [97, 300] and TASKS ["verb", "noun"]',
        )
    else:
        _require(
            len(tasks) <= 1,
            f"MODEL.TASKS {tasks} names {len(tasks)} tasks, MODEL.NUM_CLASSES {classes} one; give "
            "a list of as many",
        )
    _require(len(set(tasks)) == len(tasks), f"MODEL.TASKS {tasks} names a task twice")


def _loss(cfg: CfgNode) -> None:
    loss, act = cfg.MODEL.LOSS_FUNC, cfg.MODEL.HEAD_ACT
    multi_label = loss in ("bce", "bce_logit")
    _require(
        not (multi_label and act == "softmax"),
        f"MODEL.LOSS_FUNC {loss} scores every class by itself, MODEL.HEAD_ACT softmax makes them "
        "compete; set MODEL.HEAD_ACT sigmoid",
    )
    _require(
        not (cfg.DATA.MULTI_LABEL and loss in ("cross_entropy", "soft_cross_entropy")),
        f"DATA.MULTI_LABEL True does not go with MODEL.LOSS_FUNC {loss}, which expects one label; "
        "set MODEL.LOSS_FUNC bce_logit and MODEL.HEAD_ACT sigmoid",
    )
    _require(
        not cfg.MIXUP.ENABLE or loss == "soft_cross_entropy",
        f"MIXUP.ENABLE True makes label distributions, which MODEL.LOSS_FUNC {loss} cannot take; "
        "set MODEL.LOSS_FUNC soft_cross_entropy",
    )
    _require(
        not cfg.MODEL.LABEL_SMOOTHING or not multi_label,
        f"MODEL.LABEL_SMOOTHING {cfg.MODEL.LABEL_SMOOTHING} does not go with MODEL.LOSS_FUNC "
        f"{loss}; set it to 0",
    )


def _data(cfg: CfgNode) -> None:
    ratio = cfg.DATA.SPLIT_RATIO
    _require(
        len(ratio) == 3 and abs(sum(ratio) - 1) < 1e-6,
        f"DATA.SPLIT_RATIO {ratio} must be three shares (train, val, test) with sum 1",
    )
    _range("DATA.TRAIN_JITTER_SCALES", cfg.DATA.TRAIN_JITTER_SCALES)
    for leaf in ("TRAIN_JITTER_SCALES_RELATIVE", "TRAIN_JITTER_ASPECT_RELATIVE"):
        if cfg.DATA[leaf]:
            _range(f"DATA.{leaf}", cfg.DATA[leaf])
    scales, crop = cfg.DATA.TRAIN_JITTER_SCALES, cfg.DATA.TRAIN_CROP_SIZE
    _require(
        bool(cfg.DATA.TRAIN_JITTER_SCALES_RELATIVE) or scales[0] >= crop,
        f"DATA.TRAIN_JITTER_SCALES {scales} can scale the short side below DATA.TRAIN_CROP_SIZE "
        f"{crop}: there would be nothing to crop from; raise the scales or lower the crop",
    )
    _require(
        len(cfg.DATA.RESIZE) in (0, 2)
        and not (cfg.DATA.RESIZE and cfg.DATA.TRAIN_JITTER_SCALES_RELATIVE),
        f"DATA.RESIZE {cfg.DATA.RESIZE} must be [height, width] of whole frames, without "
        f"DATA.TRAIN_JITTER_SCALES_RELATIVE {cfg.DATA.TRAIN_JITTER_SCALES_RELATIVE}; or empty",
    )
    for leaf in ("MEAN", "STD"):
        _require(
            len(cfg.DATA[leaf]) == cfg.DATA.INPUT_CHANNEL_NUM[0],
            f"DATA.{leaf} {cfg.DATA[leaf]} and DATA.INPUT_CHANNEL_NUM "
            f"{cfg.DATA.INPUT_CHANNEL_NUM} give different numbers of channels",
        )


def _range(name: str, value: list[Any]) -> None:
    _require(
        len(value) == 2 and value[0] <= value[1], f"{name} must be [smallest, largest], got {value}"
    )


def _test_crop(cfg: CfgNode) -> None:
    crop, scales = cfg.DATA.TEST_CROP_SIZE, cfg.DATA.TRAIN_JITTER_SCALES
    _require(
        not cfg.TEST.ENABLE
        or cfg.TEST.NUM_SPATIAL_CROPS > 1
        or scales[0] >= crop
        or bool(cfg.DATA.RESIZE),
        f"DATA.TEST_CROP_SIZE {crop} is larger than the short side of a single centre crop, "
        f"DATA.TRAIN_JITTER_SCALES[0] = {scales[0]} (TEST.NUM_SPATIAL_CROPS 1); raise the scale or "
        "lower the crop",
    )
    _require(
        cfg.TEST.NUM_ENSEMBLE_VIEWS != 0,
        "TEST.NUM_ENSEMBLE_VIEWS 0 would test nothing; set 1 or more",
    )


def _schedule(cfg: CfgNode) -> None:
    solver = cfg.SOLVER
    if solver.LR_POLICY == "steps_with_relative_lrs":
        steps, lrs = solver.STEPS, solver.LRS
        # PySlowFast's files list more rates than steps; the rest are never reached.
        _require(
            bool(steps) and len(steps) <= len(lrs),
            f"SOLVER.STEPS {steps} needs one rate per step in SOLVER.LRS, got {lrs} "
            "(SOLVER.LR_POLICY steps_with_relative_lrs)",
        )
        _require(
            steps[0] == 0 and all(a < b for a, b in pairwise(steps)),
            f"SOLVER.STEPS {steps} must rise from 0 (SOLVER.LR_POLICY steps_with_relative_lrs)",
        )
    _require(
        not (solver.NESTEROV and solver.OPTIMIZING_METHOD == "sgd")
        or (solver.MOMENTUM > 0 and solver.DAMPENING == 0),
        f"SOLVER.NESTEROV True needs SOLVER.MOMENTUM above 0 and SOLVER.DAMPENING 0, got "
        f"{solver.MOMENTUM:g} and {solver.DAMPENING:g}",
    )
    _require(len(solver.BETAS) == 2, f"SOLVER.BETAS needs two rates, got {solver.BETAS}")
    if solver.WARMUP_EPOCHS > 0 and solver.WARMUP_START_LR > solver.BASE_LR:
        logger.warning(
            "SOLVER.WARMUP_START_LR %g is above SOLVER.BASE_LR %g: the learning rate falls during "
            "the %g epochs of warm-up",
            solver.WARMUP_START_LR, solver.BASE_LR, solver.WARMUP_EPOCHS,
        )  # fmt: skip
    if 0 < solver.MAX_EPOCH < solver.WARMUP_EPOCHS:
        logger.warning(
            "SOLVER.WARMUP_EPOCHS %g is longer than SOLVER.MAX_EPOCH %d: training ends during "
            "warm-up", solver.WARMUP_EPOCHS, solver.MAX_EPOCH,
        )  # fmt: skip


def _processes(cfg: CfgNode) -> None:
    batch, gpus = cfg.TRAIN.BATCH_SIZE, cfg.NUM_GPUS
    _require(
        not cfg.TRAIN.ENABLE or gpus == 0 or batch % gpus == 0,
        f"TRAIN.BATCH_SIZE {batch} cannot be shared equally by NUM_GPUS {gpus}; set a multiple "
        "(it counts the clips of all GPUs of a machine)",
    )
    _require(
        cfg.SHARD_ID < cfg.NUM_SHARDS,
        f"SHARD_ID {cfg.SHARD_ID} must be below NUM_SHARDS {cfg.NUM_SHARDS}: machines count from 0",
    )
    _require(
        cfg.DEVICE != "cuda" or gpus > 0,
        "DEVICE cuda does not go with NUM_GPUS 0; set NUM_GPUS 1 or DEVICE auto",
    )
    _require(
        cfg.DEVICE != "mps" or gpus <= 1,
        f"DEVICE mps is one device, NUM_GPUS asks for {gpus}; set NUM_GPUS 1",
    )


def _metric_learning(cfg: CfgNode) -> None:
    if cfg.MODEL.LOSS_FUNC == "am_softmax":
        _require(
            not cfg.DATA.MULTI_LABEL and not cfg.MODEL.LABEL_SMOOTHING,
            "MODEL.LOSS_FUNC am_softmax takes one sharp label: set DATA.MULTI_LABEL False and "
            "MODEL.LABEL_SMOOTHING 0 (AM_SOFTMAX.ENTROPY_WEIGHT is its smoothing)",
        )
    sampling = cfg.DATA.SAMPLING_MODE
    _require(
        not cfg.TRAIN.SAMPLE_FILTER.ENABLE or sampling == "stride",
        f"TRAIN.SAMPLE_FILTER.ENABLE True chooses where a clip starts, DATA.SAMPLING_MODE "
        f"{sampling} spans the whole video; set it to stride",
    )
    _require(
        not cfg.TRAIN.SAMPLE_FILTER.ENABLE or not cfg.DATA.MULTI_LABEL,
        "TRAIN.SAMPLE_FILTER.ENABLE True judges predictions of one label, DATA.MULTI_LABEL True "
        "has several; set one of them False",
    )
    epochs, all_epochs = cfg.SOLVER.HEAD_WARMUP_EPOCHS, cfg.SOLVER.MAX_EPOCH
    if 0 < all_epochs <= epochs:
        logger.warning(
            "SOLVER.HEAD_WARMUP_EPOCHS %d is not below SOLVER.MAX_EPOCH %d: only the head trains",
            epochs, all_epochs,
        )  # fmt: skip


def _augment(cfg: CfgNode) -> None:
    aug, crops = cfg.AUG, cfg.DATA.MULTI_SCALE_CROP
    _require(
        aug.CROSSNORM_PROB + aug.PHOTOMETRIC.PROB <= 1,
        f"AUG.CROSSNORM_PROB {aug.CROSSNORM_PROB:g} and AUG.PHOTOMETRIC.PROB "
        f"{aug.PHOTOMETRIC.PROB:g} are shares of the clips, of which none gets both: their sum "
        "must not exceed 1",
    )
    for leaf in ("BRIGHTNESS", "CONTRAST", "SATURATION"):
        _range(f"AUG.PHOTOMETRIC.{leaf}", aug.PHOTOMETRIC[leaf])
    other = cfg.DATA.TRAIN_JITTER_SCALES_RELATIVE
    _require(
        not crops or not (other or cfg.DATA.RESIZE),
        f"DATA.MULTI_SCALE_CROP {crops}, DATA.TRAIN_JITTER_SCALES_RELATIVE {other} and DATA.RESIZE "
        f"{cfg.DATA.RESIZE} are different ways to crop; set one of them",
    )
    for split in ("TRAIN", "VAL", "TEST"):
        lists, roots = (cfg.RAWFRAMES[f"{split}_{leaf}"] for leaf in ("LISTS", "ROOTS"))
        _require(
            len(roots) <= 1 or len(lists) <= 1 or len(roots) == len(lists),
            f"RAWFRAMES.{split}_ROOTS {roots} and RAWFRAMES.{split}_LISTS {lists}: give one root "
            "for all lists, or one per list",
        )


def _distributed(cfg: CfgNode) -> None:
    keys, train = cfg.DISTRIBUTED, cfg.TRAIN
    if keys.STRATEGY != "fsdp":
        return
    compression = "fp16" if cfg.MODEL.FP16_ALLREDUCE else keys.GRAD_COMPRESSION
    _require(
        compression == "none",
        f"DISTRIBUTED.GRAD_COMPRESSION {compression} is a way of DISTRIBUTED.STRATEGY ddp: fsdp "
        "sends shares, not copies; set one of them",
    )
    _require(
        not (train.MIXED_PRECISION and train.AMP_DTYPE == "fp16"),
        "TRAIN.AMP_DTYPE fp16 scales losses by gradients of which DISTRIBUTED.STRATEGY fsdp has "
        "shares; set TRAIN.AMP_DTYPE bf16",
    )


CHECKS: tuple[Callable[[CfgNode], None], ...] = (
    _pathways,
    _model,
    _classes,
    _loss,
    _metric_learning,
    _augment,
    _data,
    _test_crop,
    _schedule,
    _processes,
    _distributed,
)
