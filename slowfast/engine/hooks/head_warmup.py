"""Training the head alone before everything."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from torch import nn

from slowfast.engine.hook import Hook
from slowfast.engine.optimizer import complete_momentum
from slowfast.engine.parallel import rewrap
from slowfast.engine.trainer import Trainer
from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)


class HeadWarmup(Hook):
    """Trains only the head in the first epochs, so that its random weights spoil no others.

    The rest has no gradient, so the optimiser (weight decay included) leaves it alone bit for
    bit, and is in evaluation mode, so its batch norms use and keep their statistics. A function
    of the epoch: there is nothing to remember for a resumed run. The learning rate of these
    epochs is the schedule's matter.

    Args:
        epochs: ``SOLVER.HEAD_WARMUP_EPOCHS``.
        names: a module whose dotted name contains one of these is the head's
            (``SOLVER.HEAD_WARMUP_NAMES``).
    """

    def __init__(self, epochs: int, names: Sequence[str] = ("head",)) -> None:
        self.epochs, self.names = epochs, tuple(names)
        self._frozen: list[nn.Parameter] = []

    def before_epoch(self, trainer: Trainer) -> None:
        if trainer.epoch < self.epochs:
            self._freeze(trainer)
            return
        if self._frozen:
            for parameter in self._frozen:
                parameter.requires_grad_(True)
            self._frozen = []
            rewrap(trainer.objective, trainer.device)
            logger.info("epoch %d: everything trains from now on", trainer.epoch + 1)
        complete_momentum(trainer.optimizer)

    def after_train(self, trainer: Trainer) -> None:
        for parameter in self._frozen:  # the caller gets the model as it was
            parameter.requires_grad_(True)
        self._frozen = []

    def _freeze(self, trainer: Trainer) -> None:
        model = trainer.objective.model
        head = {name: module for name, module in model.named_modules() if self._matches(name)}
        kept = {parameter for module in head.values() for parameter in module.parameters()}
        if not any(parameter.requires_grad for parameter in kept):
            children = [name for name, _ in model.named_children()]
            raise UserError(
                f"SOLVER.HEAD_WARMUP_NAMES {list(self.names)} fits no module of "
                f"{type(model).__name__} that trains; its parts are {', '.join(children)}"
            )
        for name, module in model.named_modules():
            prefix = f"{name}." if name else ""
            if name not in head and not any(other.startswith(prefix) for other in head):
                module.training = False
        if self._frozen:
            return
        self._frozen = [p for p in model.parameters() if p.requires_grad and p not in kept]
        for parameter in self._frozen:
            parameter.requires_grad_(False)
        rewrap(trainer.objective, trainer.device)
        logger.info(
            "epochs %d to %d: only the head trains (%s)",
            trainer.epoch + 1,
            self.epochs,
            ", ".join(self.names),
        )

    def _matches(self, name: str) -> bool:
        return any(text in name for text in self.names)
