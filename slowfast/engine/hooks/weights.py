"""Hooks that touch weights and batch norm statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from slowfast.datasets.batch import Batch
from slowfast.engine.hook import Hook, State
from slowfast.engine.objective import StepOutput
from slowfast.engine.parallel import local, share_like
from slowfast.engine.precise_bn import update_bn_stats
from slowfast.engine.trainer import Trainer


class FrozenBN(Hook):
    """Keeps batch norm statistics as they were loaded; weights and biases still train."""

    def before_epoch(self, trainer: Trainer) -> None:
        for module in trainer.objective.trainable.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


class PreciseBN(Hook):
    """Re-estimates batch norm statistics before they are used: to evaluate and to save.

    Args:
        batches: gives an iterator over prepared clips, of the training split.
        num_batches: ``BN.NUM_BATCHES_PRECISE``.
        periods: of evaluation and checkpoints; it runs when one of them does.
    """

    def __init__(
        self,
        batches: Callable[[Trainer], Iterable[list[Tensor]]],
        num_batches: int = 200,
        periods: Sequence[int] = (1,),
    ) -> None:
        self.batches, self.num_batches, self.periods = batches, num_batches, tuple(periods)

    def after_epoch(self, trainer: Trainer) -> None:
        if any(trainer.is_due(period) for period in self.periods):
            with torch.autocast(
                trainer.device.type, trainer.amp_dtype, enabled=trainer.amp_dtype is not None
            ):
                update_bn_stats(trainer.objective.model, self.batches(trainer), self.num_batches)


def training_clips(trainer: Trainer) -> Iterable[list[Tensor]]:
    """The clips of the epoch just trained, once more, without mixup or erasing."""
    return (trainer.prepare(batch, None).clips for batch in trainer.loader)


class EMA(Hook):
    """Exponential moving average of the weights, in place of the weights when it matters.

    Between ``after_epoch`` and ``end_epoch`` the model holds the average: it is what is
    evaluated, what ``best.pyth`` keeps and what a checkpoint's ``model_state`` is. The
    weights being trained travel in this hook's state. Put it before the hooks that evaluate
    and save.

    ``average += (1 - d) * (weights - average)`` after every optimiser step, with
    ``d = min(decay, (1 + n) / (10 + n))`` at the n-th: without this ramp a short training
    would evaluate little but its starting point. Batch norm statistics are averaged alike,
    integer buffers copied.

    Args:
        model: the objective's model.
        decay: of the average, in [0, 1).
    """

    def __init__(self, model: nn.Module, decay: float = 0.9999) -> None:
        self.model, self.decay = model, decay
        self.updates = 0
        self.other: dict[str, Tensor] = {}  # the average; the weights while the average is in
        self._restored = False

    def before_train(self, trainer: Trainer) -> None:
        if not self._restored:
            self.other = {name: value.clone() for name, value in self._tensors().items()}

    def _tensors(self) -> dict[str, Tensor]:
        return {name: value.detach() for name, value in self.model.state_dict().items()}

    @torch.no_grad()
    def after_step(self, trainer: Trainer, batch: Batch, output: StepOutput) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        current = self._tensors()
        floats = [name for name, value in current.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [local(self.other[name]) for name in floats],
            [local(current[name]) for name in floats],
            1 - decay,
        )
        for name in current.keys() - set(floats):
            self.other[name].copy_(current[name])

    def after_epoch(self, trainer: Trainer) -> None:
        self._swap()

    def end_epoch(self, trainer: Trainer) -> None:
        self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, value in self._tensors().items():
            kept = value.clone()
            value.copy_(self.other[name])
            self.other[name].copy_(kept)

    def before_save(self, trainer: Trainer) -> None:
        self._swap()

    def after_save(self, trainer: Trainer) -> None:
        self._swap()

    def after_train(self, trainer: Trainer) -> None:
        self._swap()  # the caller gets the average

    def state_dict(self) -> State:
        return {"updates": self.updates, "weights": self.other}

    def load_state_dict(self, state: State) -> None:
        """The model must hold the file's ``model_state``, the average, when this is called."""
        self.updates = state["updates"]
        self.other = {
            name: share_like(state["weights"][name].to(value.device), value)
            for name, value in self._tensors().items()
        }
        self._swap()
        self._restored = True
