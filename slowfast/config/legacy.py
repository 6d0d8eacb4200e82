"""Keys of PySlowFast and its forks that are no part of our tree, and what becomes of them.

A file made for PySlowFast loads unchanged as long as it does not switch on what is not built here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from slowfast.config.keys import ConfigError, Key, called, coerce, shown

logger = logging.getLogger(__name__)

RENAMED = {
    "BN.FREEZE": "MODEL.FROZEN_BN",
    "TRAIN.FINETUNE": "TRAIN.CHECKPOINT_EPOCH_RESET",
}
"""Old key -> our key of the same meaning (both from EPIC-KITCHENS' SlowFast)."""

MODEL_NAMES = {
    "SlowFastExtractFeatures": ("SlowFast", ""),  # MECCANO's file; the same network
    "ResNet_nopool": ("ResNet", "_nopool"),  # PySlowFast's c2/C2D_NOPOOL_8x8_R50.yaml
}
"""Name of a model in shipped files -> our name, and what it adds to MODEL.ARCH."""

IGNORED = {
    "BN.MOMENTUM": "batch norm has momentum 0.1, as in PySlowFast's later versions",
    "BN.EPSILON": "batch norm has epsilon 1e-5, as in PySlowFast's later versions",
    "FINE_TUNING": "to finetune, set TRAIN.CHECKPOINT_FILE_PATH and train",
}
"""Key or node -> why its value changes nothing. Accepted with a warning."""

NOT_BUILT = {
    "AVA": "detection on AVA",
    "AUG": "masked pretraining",
    "BN": "split batch norm",
    "CONTRASTIVE": "contrastive pretraining",
    "DATA": "self-supervised pretraining and ImageNet",
    "DEMO": "the demo of detections on AVA",
    "DETECTION": "detection",
    "MASK": "masked pretraining",
    "MULTIGRID": "multigrid training",
    "MVIT": "this part of MViT",
    "RESNET": "zeros in the last convolution of a block (ZERO_INIT_FINAL_BN is)",
    "SOLVER": "LARS and layer-wise decay",
    "TRAIN": "loading weights inside the model's constructor",
    "VIS_MASK": "masked pretraining",
}
"""Top node of a key in :data:`DEFAULTS` or :data:`OPEN_NODES` -> the feature it belongs to."""

OPEN_NODES = (
    "AVA",
    "CONTRASTIVE",
    "DETECTION",
    "MASK",
    "MULTIGRID",
    "MVIT",
    "VIS_MASK",
    "DEMO.COMMON_CLASS_NAMES",
    "DEMO.DETECTRON2_CFG",
    "DEMO.DETECTRON2_WEIGHTS",
    "DEMO.DETECTRON2_THRESH",
    "DEMO.STARTING_SECOND",
)
"""Any key below is accepted, unless :data:`DEFAULTS` knows it: they say how an absent feature
would work, and the switch of the feature (or the model's name) is what gets refused."""

DEFAULTS: dict[str, Any] = {
    "AUG.GEN_MASK_LOADER": False,
    "AUG.MASK_FRAMES": False,
    "AUG.MASK_RATIO": 0.0,
    "AUG.MASK_TUBE": False,
    "AUG.MASK_WINDOW_SIZE": [8, 7, 7],
    "AUG.MAX_MASK_PATCHES_PER_BLOCK": None,
    "BN.NUM_SPLITS": 1,
    "DATA.IN22K_TRAINVAL": False,
    "DATA.IN22k_VAL_IN1K": "",
    "DATA.IN_VAL_CROP_RATIO": 0.875,
    "DATA.LOADER_CHUNK_OVERALL_SIZE": 0,
    "DATA.LOADER_CHUNK_SIZE": 0,
    "DATA.PATH_TO_PRELOAD_IMDB": "",
    "DATA.SSL_BLUR_SIGMA_MAX": [0.0, 2.0],
    "DATA.SSL_BLUR_SIGMA_MIN": [0.0, 0.1],
    "DATA.SSL_COLOR_BRI_CON_SAT": [0.4, 0.4, 0.4],
    "DATA.SSL_COLOR_HUE": 0.1,
    "DATA.SSL_COLOR_JITTER": False,
    "DATA.SSL_MOCOV2_AUG": False,
    "DATA.TIME_DIFF_PROB": 0.0,
    "DATA.TRAIN_CROP_NUM_SPATIAL": 1,
    "DATA.TRAIN_CROP_NUM_TEMPORAL": 1,
    "DEMO.GT_BOXES": "",
    "DEMO.PREDS_BOXES": "",
    "DETECTION.ENABLE": False,
    "MASK.ENABLE": False,
    "MULTIGRID.LONG_CYCLE": False,
    "MULTIGRID.SHORT_CYCLE": False,
    "MVIT.NORM": "layernorm",
    "MVIT.PATCH_2D": False,
    "MVIT.REV.ENABLE": False,
    "RESNET.ZERO_INIT_FINAL_CONV": False,
    "SOLVER.LARS_ON": False,
    "SOLVER.LAYER_DECAY": 1.0,
    "TRAIN.CHECKPOINT_IN_INIT": False,
    "VIS_MASK.ENABLE": False,
}
"""PySlowFast's defaults of keys that work with nothing built here."""


def is_legacy(name: str) -> bool:
    """Whether :func:`translate` knows the key, or the node it stands in."""
    return name in RENAMED or name in DEFAULTS or _under(name, IGNORED) or _under(name, OPEN_NODES)


def translate(name: str, value: Any, where: str) -> tuple[str, Any] | None:
    """Our key and its value for a legacy key, or ``None`` where it changes nothing.

    Args:
        name: a key for which :func:`is_legacy` holds.
        value: as read.
        where: the file and line, or "the command line", for messages.

    Raises:
        ConfigError: the value switches on a feature that is not built here.
    """
    if name in RENAMED:
        logger.warning("%s in %s: now called %s", name, where, RENAMED[name])
        return RENAMED[name], value
    if _under(name, IGNORED):
        reason = next(IGNORED[known] for known in IGNORED if _under(name, (known,)))
        logger.warning(
            "%s = %s in %s is ignored: %s", called(name), called(str(value)), where, reason
        )
        return None
    if name in DEFAULTS and not _equals(value, DEFAULTS[name]):
        feature = NOT_BUILT[name.partition(".")[0]]
        raise ConfigError(
            f"{name} = {shown(value)} in {where}: {feature} is not built here; "
            f"remove the key, or leave it at {DEFAULTS[name]!r}"
        )
    logger.debug("%s in %s is ignored: its feature is not built here", name, where)
    return None


def _under(name: str, nodes: Iterable[str]) -> bool:
    return any(name == node or name.startswith(f"{node}.") for node in nodes)


def _equals(value: Any, default: Any) -> bool:
    try:
        return bool(coerce(value, Key(default, "")) == default)
    except ConfigError:
        return False
