"""Which metric chooses the best weights, and which one ends the training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slowfast.config import ConfigError
from slowfast.engine.hooks.evaluation import EarlyStopping
from slowfast.engine.losses import REGRESSIONS
from slowfast.engine.predictions import SINGLE_TASK, metric_mode
from slowfast.models.build import build_num_classes

if TYPE_CHECKING:
    from yacs.config import CfgNode


def build_metric_name(cfg: CfgNode, name: str) -> str:
    """``name``, but the default, top-1 error, becomes what the data have.

    That is ``map`` of multi-label data, ``loss`` where features are regressed, and with several
    tasks the action's error by its full name.
    """
    if name != "top1_err":
        return name
    if cfg.DATA.MULTI_LABEL:
        return "map"
    if cfg.MODEL.LOSS_FUNC in REGRESSIONS:
        return "loss"
    classes = build_num_classes(cfg)
    several = not isinstance(classes, int) and len(classes) > 1
    return f"{SINGLE_TASK}_{name}" if several else name


def build_early_stopping(cfg: CfgNode) -> EarlyStopping:
    """``SOLVER.EARLY_STOPPING``.

    Raises:
        ConfigError: MODE contradicts METRIC.
    """
    early = cfg.SOLVER.EARLY_STOPPING
    metric = build_metric_name(cfg, early.METRIC)
    mode = metric_mode(metric)
    if metric == early.METRIC and early.MODE not in ("auto", mode):
        raise ConfigError(
            f"SOLVER.EARLY_STOPPING.MODE {early.MODE} would stop training while "
            f"SOLVER.EARLY_STOPPING.METRIC {metric} improves; set MODE {mode}, or auto"
        )
    return EarlyStopping(metric, early.PATIENCE, early.MIN_DELTA, mode)
