"""Files that let a run be resumed, and the best weights of it."""

from __future__ import annotations

import logging
from pathlib import Path

from slowfast.checkpoint.io import best_path, prune_checkpoints, write_checkpoint
from slowfast.engine.hook import Hook, State
from slowfast.engine.hooks.evaluation import pick_metric
from slowfast.engine.predictions import Predictions, metric_mode
from slowfast.engine.trainer import Trainer
from slowfast.utils import distributed

logger = logging.getLogger(__name__)


class SaveCheckpoint(Hook):
    """A checkpoint every ``period`` epochs and after the last; ``best.pyth`` when a metric is best.

    Put it after every hook with a state: what runs later is missing from the file.

    Args:
        output_dir: ``OUTPUT_DIR``.
        cfg_yaml: the run's config, kept in every file.
        period: ``TRAIN.CHECKPOINT_PERIOD``, epochs.
        keep: newest epoch files kept; 0 keeps all. ``best.pyth`` always stays.
        best_metric: name in ``trainer.metrics`` that chooses the best; empty keeps none.
        task: ``TASK``, a prefix of the file names.
    """

    def __init__(
        self,
        output_dir: Path | str,
        cfg_yaml: str,
        *,
        period: int = 1,
        keep: int = 0,
        best_metric: str = "",
        task: str = "",
    ) -> None:
        self.output_dir, self.cfg_yaml, self.task = Path(output_dir), cfg_yaml, task
        self.period, self.keep, self.best_metric = period, keep, best_metric
        self.best: float | None = None
        self.best_epoch = -1

    def after_evaluate(self, trainer: Trainer, predictions: Predictions | None) -> None:
        if not self.best_metric:
            return
        value = pick_metric(trainer.metrics, self.best_metric, "TRAIN.BEST_METRIC")
        sign = -1.0 if metric_mode(self.best_metric) == "min" else 1.0
        if self.best is not None and sign * (value - self.best) <= 0:
            return
        self.best, self.best_epoch = value, trainer.epoch
        if distributed.is_main():
            path = write_checkpoint(
                best_path(self.output_dir, self.task),
                epoch=trainer.epoch,
                model=trainer.objective.model,
                optimizer=None,
                cfg_yaml=self.cfg_yaml,
                extra={"metrics": dict(trainer.metrics)},
            )
            logger.info("best %s so far, %.4f: %s", self.best_metric, value, path)

    def after_epoch(self, trainer: Trainer) -> None:
        if not trainer.is_due(self.period):
            return
        state = trainer.state_dict()  # every process takes part
        if distributed.is_main():
            path = write_checkpoint(
                self.output_dir,
                epoch=trainer.epoch,
                model=trainer.objective.model,
                optimizer=trainer.optimizer,
                cfg_yaml=self.cfg_yaml,
                scaler=trainer.scaler,
                extra={"trainer_state": state},
                task=self.task,
            )
            logger.info("wrote %s", path)
            prune_checkpoints(self.output_dir, self.keep, self.task)
        distributed.barrier()  # no process may end before the file is there

    def state_dict(self) -> State:
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: State) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]
