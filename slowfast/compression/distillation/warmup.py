"""A young student first listens to the labels."""

from __future__ import annotations

from slowfast.compression.distillation.objective import Distillation
from slowfast.engine.hook import Hook
from slowfast.engine.trainer import Trainer


class TeacherWarmup(Hook):
    """Raises the teacher's weight linearly from 0 over the first epochs.

    A function of the place in the training, so a resumed run goes on exactly.

    Args:
        objective: whose ``ramp`` is set.
        epochs: until the full weight is in force; may be a fraction.
    """

    def __init__(self, objective: Distillation, epochs: float) -> None:
        if epochs <= 0:
            raise ValueError(f"a warm-up of {epochs} epochs: leave the hook out instead")
        self.objective, self.epochs = objective, epochs

    def before_epoch(self, trainer: Trainer) -> None:
        self._set(float(trainer.epoch))

    def after_batch(self, trainer: Trainer, batch: object, output: object) -> None:
        self._set(trainer.epoch + (trainer.iteration + 1) / len(trainer.loader))

    def _set(self, epoch: float) -> None:
        self.objective.ramp = min(epoch / self.epochs, 1.0)
