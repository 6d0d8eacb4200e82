"""TensorBoard scalars, and whatever else a caller draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slowfast.datasets.batch import Batch
from slowfast.engine.hook import Hook, State
from slowfast.engine.objective import StepOutput
from slowfast.engine.predictions import Predictions
from slowfast.engine.trainer import Trainer
from slowfast.utils import distributed
from slowfast.utils.optional import require

Draw = Callable[[Any, Predictions, int], None]
"""``(writer, predictions, step)``: adds figures of an evaluation."""
DrawBatch = Callable[[Any, Batch, int], None]
"""``(writer, batch, step)``: adds the clips of a training batch, as the model sees them."""

_TITLES = {"loss": "loss", "lr": "lr", "top1_err": "Top1_err", "top5_err": "Top5_err"}


class TensorBoard(Hook):
    """Writes scalars ``Train/loss``, ``Train/lr``, ``Val/Top1_err`` ... (PySlowFast's tags).

    Args:
        log_dir: folder of the event file.
        draw: called after every evaluation, on the main process.
        draw_batch: called once per epoch with its first batch.
    """

    def __init__(
        self, log_dir: Path | str, draw: Sequence[Draw] = (), draw_batch: Sequence[DrawBatch] = ()
    ) -> None:
        self.log_dir, self.draw, self.draw_batch = log_dir, draw, draw_batch
        self._writer: Any = None

    def before_train(self, trainer: Trainer) -> None:
        if distributed.is_main():
            tensorboard = require("torch.utils.tensorboard", extra="dev")
            first_step = trainer.epoch * len(trainer.loader)
            # what an interrupted run drew past its last checkpoint is drawn again
            self._writer = tensorboard.SummaryWriter(str(self.log_dir), purge_step=first_step)

    def after_batch(self, trainer: Trainer, batch: Batch, output: StepOutput) -> None:
        if self._writer is not None and trainer.iteration == 0:
            for function in self.draw_batch:
                function(self._writer, batch, trainer.step)

    def on_stats(self, trainer: Trainer, stats: State) -> None:
        group = {"train_iter_": "Train", "val_epoch": "Val"}.get(stats["_type"])
        if self._writer is None or group is None:
            return
        for name, value in stats.items():
            if isinstance(value, float):
                tag = f"{group}/{_TITLES.get(name, name)}"
                self._writer.add_scalar(tag, value, trainer.step + 1)

    def after_evaluate(self, trainer: Trainer, predictions: Predictions | None) -> None:
        if self._writer is None or predictions is None:
            return
        for function in self.draw:
            function(self._writer, predictions, trainer.step + 1)

    def after_train(self, trainer: Trainer) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
