"""Files that let a run be resumed, and the best weights of it."""

from __future__ import annotations

import logging
from pathlib import Path

from slowfast.checkpoint.io import (
    best_path,
    prune_checkpoints,
    within_epoch_path,
    write_checkpoint,
)
from slowfast.engine import parallel
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
        steps: ``TRAIN.CHECKPOINT_STEPS``, batches between files within an epoch; 0 writes none.
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
        steps: int = 0,
        keep: int = 0,
        best_metric: str = "",
        task: str = "",
    ) -> None:
        self.output_dir, self.cfg_yaml, self.task = Path(output_dir), cfg_yaml, task
        self.period, self.steps, self.keep, self.best_metric = period, steps, keep, best_metric
        self._saved_at = 0  # batches of this epoch
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
        model = parallel.whole(trainer.objective.model)  # every process takes part
        if distributed.is_main():
            path = write_checkpoint(
                best_path(self.output_dir, self.task),
                epoch=trainer.epoch,
                model=model,
                optimizer=None,
                cfg_yaml=self.cfg_yaml,
                extra={"metrics": dict(trainer.metrics)},
            )
            logger.info("best %s so far, %.4f: %s", self.best_metric, value, path)

    def before_epoch(self, trainer: Trainer) -> None:
        self._saved_at = trainer.first_iteration

    def between_steps(self, trainer: Trainer) -> None:
        done = trainer.iteration + 1
        if self.steps and done - self._saved_at >= self.steps and done < len(trainer.loader):
            self.save_within_epoch(trainer)

    def save_within_epoch(self, trainer: Trainer) -> Path:
        """Write the state after the batch just trained; its file. A collective."""
        self._saved_at = done = trainer.iteration + 1
        path = within_epoch_path(self.output_dir, trainer.epoch, done, self.task)
        trainer.call("before_save")
        self._write(trainer, path, trainer.epoch - 1, trainer.state_dict(iteration=done))
        trainer.call("after_save")
        return path

    def after_epoch(self, trainer: Trainer) -> None:
        if trainer.is_due(self.period):
            self._write(trainer, self.output_dir, trainer.epoch, trainer.state_dict())

    def _write(self, trainer: Trainer, target: Path, epoch: int, state: State) -> None:
        """A collective; ``epoch`` is the last finished one."""
        model = parallel.whole(trainer.objective.model)
        optimizer = parallel.whole(trainer.optimizer)
        state = parallel.gather(state)
        if distributed.is_main():
            path = write_checkpoint(
                target,
                epoch=epoch,
                model=model,
                optimizer=optimizer,
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
