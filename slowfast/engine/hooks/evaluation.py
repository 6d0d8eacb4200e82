"""Validation during training, and what follows from it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from slowfast.engine import parallel
from slowfast.engine.evaluate import share_buffers
from slowfast.engine.hook import Hook, State
from slowfast.engine.hooks.logs import ram_usage
from slowfast.engine.predictions import Predictions, metric_mode
from slowfast.engine.trainer import Trainer
from slowfast.utils.device import peak_gpu_memory_gib
from slowfast.utils.timer import Timer

logger = logging.getLogger(__name__)

Evaluation = Callable[[], tuple[Predictions | None, dict[str, float]]]
"""Scores the model: predictions (on the main process), and metrics (on every process)."""


class Evaluate(Hook):
    """Validates every ``period`` epochs and after the last; ``trainer.metrics`` is the result.

    Publishes ``val_epoch``: the metrics, and the lowest error so far as ``min_top1_err`` ...

    Args:
        evaluation: called without gradient; see ``Evaluation``.
        period: ``TRAIN.EVAL_PERIOD``, epochs.
    """

    def __init__(self, evaluation: Evaluation, period: int = 1) -> None:
        self.evaluation, self.period = evaluation, period
        self.lowest: dict[str, float] = {}

    def before_train(self, trainer: Trainer) -> None:
        close = getattr(getattr(self.evaluation, "loader", None), "close", None)
        if close is not None:
            trainer.at_exit(close)

    def after_epoch(self, trainer: Trainer) -> None:
        if not trainer.is_due(self.period):
            return
        timer = Timer()
        share_buffers(trainer.objective.model)
        with parallel.unsharded(trainer.objective.model):
            predictions, metrics = self.evaluation()
        trainer.metrics = metrics
        for name, value in metrics.items():
            if name.endswith("_err"):
                self.lowest[f"min_{name}"] = min(value, self.lowest.get(f"min_{name}", value))
        trainer.publish(
            {"_type": "val_epoch", "epoch": f"{trainer.epoch + 1}/{trainer.max_epoch}"}
            | {"time_diff": timer.seconds()}
            | metrics
            | self.lowest
            | {"gpu_mem": f"{peak_gpu_memory_gib(trainer.device):.2f}G", "RAM": ram_usage()}
        )
        trainer.call("after_evaluate", predictions)

    def state_dict(self) -> State:
        return {"lowest": dict(self.lowest)}

    def load_state_dict(self, state: State) -> None:
        self.lowest = dict(state["lowest"])


class EarlyStopping(Hook):
    """Ends training when evaluations no longer improve a metric.

    Counts evaluations, not epochs. The best weights are those in ``best.pyth``.

    Args:
        metric: name in ``trainer.metrics``, e.g. ``top1_err`` or ``loss``.
        patience: training stops when this many evaluations in a row brought no improvement.
        min_delta: an improvement must exceed this, in the metric's unit (percent, nats).
        mode: ``min`` or ``max``; empty decides by the metric's name.
    """

    def __init__(
        self, metric: str, patience: int = 10, min_delta: float = 0.001, mode: str = ""
    ) -> None:
        self.metric, self.patience, self.min_delta = metric, patience, min_delta
        self.sign = -1.0 if (mode or metric_mode(metric)) == "min" else 1.0
        self.best: float | None = None
        self.bad_evaluations = 0

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return 0 < self.bad_evaluations >= self.patience

    def before_train(self, trainer: Trainer) -> None:
        if self.exhausted:  # resumed from a run that had stopped
            logger.info("early stopping ended this training before; nothing is left to do")
            trainer.should_stop = True

    def after_evaluate(self, trainer: Trainer, predictions: Predictions | None) -> None:
        value = pick_metric(trainer.metrics, self.metric, "SOLVER.EARLY_STOPPING.METRIC")
        if self.best is None or self.sign * (value - self.best) > self.min_delta:
            self.best, self.bad_evaluations = value, 0
            return
        self.bad_evaluations += 1
        if self.exhausted:
            trainer.should_stop = True
            logger.info(
                "early stopping after epoch %d: %s has not improved on %.4f for %d evaluations",
                trainer.epoch + 1,
                self.metric,
                self.best,
                self.bad_evaluations,
            )

    def state_dict(self) -> State:
        return {"best": self.best, "bad_evaluations": self.bad_evaluations}

    def load_state_dict(self, state: State) -> None:
        self.best, self.bad_evaluations = state["best"], state["bad_evaluations"]


def pick_metric(metrics: dict[str, float], name: str, key: str) -> float:
    """``metrics[name]``, or a message that names the config key and the metrics there are."""
    if name not in metrics:
        raise ValueError(f"{key} is {name!r}, but evaluation gives {', '.join(sorted(metrics))}")
    return metrics[name]
