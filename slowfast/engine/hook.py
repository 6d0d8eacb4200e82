"""What plugs into the training loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slowfast.datasets.batch import Batch
    from slowfast.engine.objective import StepOutput
    from slowfast.engine.predictions import Predictions
    from slowfast.engine.trainer import Trainer

State = dict[str, Any]

EVENTS = (
    "before_train",
    "before_epoch",
    "after_backward",
    "after_step",
    "after_batch",
    "between_steps",
    "before_save",
    "after_save",
    "after_epoch",
    "after_evaluate",
    "end_epoch",
    "after_train",
    "on_stats",
)


class Hook:
    """Something that happens around training steps. Override what you need.

    Hooks run in the order given, and read the trainer's public attributes: ``epoch``,
    ``max_epoch``, ``step`` (batches since the beginning), ``lr``, ``objective``, ``optimizer``,
    ``grad_norm``, ``metrics``. Setting ``trainer.should_stop`` ends training after the epoch.

    What a resumed run must remember goes through ``state_dict``; tensors and plain values only.
    """

    def before_train(self, trainer: Trainer) -> None:
        """Once, before the first epoch; after a checkpoint was restored."""

    def before_epoch(self, trainer: Trainer) -> None:
        """The objective is in training mode; no batch was asked for yet."""

    def after_backward(self, trainer: Trainer) -> None:
        """The gradients of a whole (accumulated) batch are there, unscaled and not yet clipped."""

    def after_step(self, trainer: Trainer, batch: Batch, output: StepOutput) -> None:
        """The optimiser updated the weights; ``batch`` is the last of those accumulated."""

    def after_batch(self, trainer: Trainer, batch: Batch, output: StepOutput) -> None:
        """After every batch, also those that only accumulate: for meters."""

    def between_steps(self, trainer: Trainer) -> None:
        """After the last ``after_batch`` of a step: every hook has seen it, none the next."""

    def before_save(self, trainer: Trainer) -> None:
        """Within an epoch, a checkpoint is about to be written: as before ``after_epoch``'s."""

    def after_save(self, trainer: Trainer) -> None:
        """That is done: undo what ``before_save`` did."""

    def after_epoch(self, trainer: Trainer) -> None:
        """All batches are done: estimate, evaluate, save."""

    def after_evaluate(self, trainer: Trainer, predictions: Predictions | None) -> None:
        """``trainer.metrics`` is new. ``predictions`` are on the main process, else ``None``."""

    def end_epoch(self, trainer: Trainer) -> None:
        """After every hook's ``after_epoch``: undo what was done for evaluation."""

    def after_train(self, trainer: Trainer) -> None:
        """Once, after the last epoch or an early stop."""

    def on_stats(self, trainer: Trainer, stats: State) -> None:
        """Somebody published numbers; ``stats["_type"]`` says which (PySlowFast's names)."""

    def state_dict(self) -> State:
        """What must survive a restart."""
        return {}

    def load_state_dict(self, state: State) -> None:
        """Take back what :meth:`state_dict` gave."""
