"""What one batch costs. Training regimes differ here and only here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from slowfast.datasets.batch import Batch
from slowfast.models.base import Preds

Criterion = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class StepOutput:
    """One forward pass, as the trainer and its hooks see it.

    Attributes:
        loss: scalar to minimise, with its graph; a mean over the batch.
        preds: what meters score, detached; logits ``(B, num_classes)`` (of every task).
        parts: named scalar terms of the loss, detached, for the log line.
    """

    loss: Tensor
    preds: Preds
    parts: dict[str, Tensor] = field(default_factory=dict)


class Objective(nn.Module):
    """A model together with what it is trained to do.

    Attributes:
        model: the network that is evaluated, checkpointed and shipped.
        trainable: everything the optimiser updates, as one module: this is what DDP wraps,
            so its ``forward`` must run all of it. Often just ``model``.
        epoch: of the batch being trained, with its fraction; the trainer sets it before each, for
            losses that change in the course of a training.
    """

    model: nn.Module
    trainable: nn.Module
    epoch: float = 0.0

    def forward(self, batch: Batch) -> StepOutput:
        raise NotImplementedError

    def private_state(self) -> dict[str, Tensor]:
        """What is trained beside the model and not shipped with it: a resumed run needs it."""
        shipped = {id(value) for value in self.model.state_dict(keep_vars=True).values()}
        return {
            name.removeprefix("module."): value.detach()
            for name, value in self.trainable.state_dict(keep_vars=True).items()
            if isinstance(value, Tensor) and id(value) not in shipped
        }

    def load_private_state(self, state: Mapping[str, Tensor]) -> None:
        """Take back what :meth:`private_state` gave.

        Raises:
            ValueError: it is of another objective.
        """
        own = self.private_state()
        if set(own) != set(state):
            raise ValueError(
                f"the checkpoint was trained with {sorted(state) or 'nothing'} beside the model, "
                f"this run has {sorted(own) or 'nothing'}: resume with the losses it began with, "
                "or start anew in another OUTPUT_DIR"
            )
        with torch.no_grad():
            for name, value in state.items():
                own[name].copy_(value)


class Supervised(Objective):
    """Fit the labels: training from scratch, finetuning, and finetuning a pruned model.

    Args:
        model: clip classifier, ``list[(B, C, T_p, H, W)] -> (B, num_classes)`` (of every task).
        criterion: ``(logits, labels) -> scalar``; applied per task, then averaged over tasks.
    """

    def __init__(self, model: nn.Module, criterion: Criterion) -> None:
        super().__init__()
        self.model = self.trainable = model
        self.criterion = criterion

    def forward(self, batch: Batch) -> StepOutput:
        preds = self.trainable(batch.clips)
        loss, parts = task_loss(self.criterion, preds, batch.labels)
        return StepOutput(loss, detach(preds), parts)


def task_loss(criterion: Criterion, preds: Preds, labels: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """Mean of ``criterion`` over the tasks, and with several tasks each one's detached loss.

    Two tasks therefore weigh one half each, as in EPIC-KITCHENS' verb and noun training.

    Args:
        criterion: ``(logits, labels) -> scalar``.
        preds: logits ``(B, num_classes)``, or ``{task: logits}``.
        labels: of the same structure.

    Raises:
        ValueError: the model has a task for which the dataset has no labels.
    """
    if isinstance(preds, Tensor):
        return criterion(preds, single_task(labels)), {}
    if not isinstance(labels, Mapping) or set(preds) - set(labels):
        have = sorted(labels) if isinstance(labels, Mapping) else "one unnamed label"
        raise ValueError(
            f"the model predicts {sorted(preds)} but the dataset gives {have}; "
            "MODEL.TASKS must name tasks of the dataset"
        )
    losses = {task: criterion(logits, labels[task]) for task, logits in preds.items()}
    mean = torch.stack(list(losses.values())).mean()
    return mean, {f"loss_{task}": loss.detach() for task, loss in losses.items()}


def single_task(labels: Any) -> Tensor:
    """The labels of a model with one unnamed task.

    Raises:
        ValueError: the dataset has several tasks.
    """
    if isinstance(labels, Mapping):
        if len(labels) != 1:
            raise ValueError(
                f"the dataset gives labels of {sorted(labels)} but the model has one head; "
                "name the tasks to train in MODEL.TASKS"
            )
        labels = next(iter(labels.values()))
    assert isinstance(labels, Tensor)
    return labels


def detach(preds: Preds) -> Preds:
    """Preds without their graph."""
    if isinstance(preds, dict):
        return {task: value.detach() for task, value in preds.items()}
    return preds.detach()
