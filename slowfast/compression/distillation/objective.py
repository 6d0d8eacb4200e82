"""The teacher-student objective. The loop around it is the trainer's, unchanged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from slowfast.compression.distillation.activations import as_maps, captured, find_last_map
from slowfast.compression.distillation.losses import LOGIT_LOSSES, LOSSES, attention, feature
from slowfast.datasets.batch import Batch
from slowfast.engine.objective import (
    Criterion,
    Objective,
    StepOutput,
    detach,
    single_task,
    task_loss,
)
from slowfast.models.base import ClipModel, Preds
from slowfast.utils.errors import UserError

SeenClips = Callable[[Batch], list[Tensor]]


class DistillationError(UserError, ValueError):
    """Teacher and student do not go together."""


@dataclass(frozen=True)
class Teacher:
    """A trained network and what it sees.

    Attributes:
        model: its weights stay as they are.
        clips: the batch -> the teacher's own clips, one tensor per pathway.
    """

    model: ClipModel
    clips: SeenClips


@dataclass
class Outputs:
    """One forward pass, down to what losses compare.

    Attributes:
        preds: logits.
        features: ``(B, num_features)``.
        maps: activations ``(B, C, T, H, W)``, one per pathway; none unless asked for.
    """

    preds: Preds
    features: Tensor
    maps: list[Tensor] = field(default_factory=list)


class _Student(nn.Module):
    """Student and projector under one ``forward``, so that DDP reduces both gradients."""

    def __init__(self, model: ClipModel, projector: nn.Module | None, layer: str) -> None:
        super().__init__()
        self.model = model
        self.projector = projector
        self.layer = layer

    def forward(self, clips: list[Tensor]) -> Outputs:
        outputs = run(self.model, clips, self.layer)
        if self.projector is not None:
            outputs.features = self.projector(outputs.features)
        return outputs


def run(model: ClipModel, clips: Sequence[Tensor], layer: str = "") -> Outputs:
    """A forward pass, with the activations of module ``layer`` if one is named."""
    modules = [model.get_submodule(layer)] if layer else []
    with captured(modules) as kept:
        features = model.forward_features(clips)
    return Outputs(model.forward_head(features), features, as_maps(kept[0]) if layer else [])


class Distillation(Objective):
    """Fit the labels and a teacher.

    ``loss = alpha * criterion + (1 - alpha) * ramp * sum(weight * loss of the teacher)``, every
    task by itself and averaged. ``alpha=1`` is :class:`~slowfast.engine.objective.Supervised`.

    Args:
        student: trained.
        teachers: frozen here. Of several, the logits are averaged; feature and attention losses
            are averaged over them.
        criterion: label loss, ``(logits, labels) -> scalar``.
        losses: name in ``LOSSES`` -> weight.
        alpha: weight of the label loss, in [0, 1].
        temperature: of the losses of logits.
        warmup_epochs: the teacher's weight rises linearly from 0 over these; ``ramp`` is its share.
        example: a batch of the training, needed by ``attention`` to find the layers.
    """

    def __init__(
        self,
        student: ClipModel,
        teachers: Sequence[Teacher],
        criterion: Criterion,
        *,
        losses: Mapping[str, float] | None = None,
        alpha: float = 0.5,
        temperature: float = 4.0,
        warmup_epochs: float = 0.0,
        example: Batch | None = None,
    ) -> None:
        super().__init__()
        losses = dict(losses or {"dist": 1.0})
        if not teachers:
            raise DistillationError("distillation needs at least one teacher")
        if unknown := sorted(set(losses) - set(LOSSES)):
            raise DistillationError(f"no distillation loss {unknown}; known: {', '.join(LOSSES)}")
        check_tasks(student, [teacher.model for teacher in teachers])
        self.model = student
        self.teachers = nn.ModuleList(freeze(teacher.model) for teacher in teachers)
        self._teachers = list(teachers)
        self.criterion, self.losses = criterion, losses
        self.alpha, self.temperature, self.warmup_epochs = alpha, temperature, warmup_epochs
        layers = [""] * (1 + len(teachers))
        if "attention" in losses:
            if example is None:
                raise DistillationError("the attention loss needs an example batch")
            seen = [example.clips, *(teacher.clips(example) for teacher in teachers)]
            models = [student, *(teacher.model for teacher in teachers)]
            layers = [find_last_map(*pair) for pair in zip(models, seen, strict=True)]
        self._layers = layers[1:]
        projector = make_projector(student, teachers) if "feature" in losses else None
        # A projector has to take part even then: DDP waits for the gradients of all it holds.
        self._alone = alpha == 1 and projector is None
        self.trainable = _Student(student, projector, layers[0])

    def train(self, mode: bool = True) -> Distillation:
        """As usual, but teachers stay in evaluation mode: their statistics are the target."""
        super().train(mode)
        self.teachers.eval()
        return self

    @property
    def ramp(self) -> float:
        """Share of the teacher's weight in force now."""
        return min(self.epoch / self.warmup_epochs, 1.0) if self.warmup_epochs else 1.0

    def forward(self, batch: Batch) -> StepOutput:
        """The loss of a batch as the trainer prepares it."""
        ours: Outputs = self.trainable(batch.clips)
        label_loss, parts = task_loss(self.criterion, ours.preds, batch.labels)
        parts["loss_label"] = label_loss.detach()
        if self._alone:  # nobody hears the teacher
            return StepOutput(label_loss, detach(ours.preds), parts)
        with torch.no_grad():
            theirs = [
                run(teacher.model, teacher.clips(batch), layer)
                for teacher, layer in zip(self._teachers, self._layers, strict=True)
            ]
        taught = label_loss.new_zeros(())
        for name, weight in self.losses.items():
            loss = self._teacher_loss(name, ours, theirs, batch.labels)
            parts[f"loss_{name}"] = loss.detach()
            taught = taught + weight * loss
        loss = self.alpha * label_loss + (1 - self.alpha) * self.ramp * taught
        return StepOutput(loss, detach(ours.preds), parts)

    def _teacher_loss(self, name: str, ours: Outputs, theirs: list[Outputs], labels: Any) -> Tensor:
        if name == "feature":
            widths = [x.features.shape[1] for x in theirs]
            each = torch.split(ours.features, widths, dim=1)
            pairs = zip(each, theirs, strict=True)
            return torch.stack([feature(a, b.features) for a, b in pairs]).mean()
        if name == "attention":
            return torch.stack([self._attention(ours, b) for b in theirs]).mean()
        options = {"temperature": self.temperature}
        target = mean_preds([outputs.preds for outputs in theirs])
        losses = []
        for logits, wanted, truth in by_task(ours.preds, target, labels):
            known = {"labels": truth} if name == "dkd" else {}
            losses.append(LOGIT_LOSSES[name](logits, wanted, **options, **known))
        return torch.stack(losses).mean()

    @staticmethod
    def _attention(ours: Outputs, theirs: Outputs) -> Tensor:
        """Pathway by pathway; a lone pathway is compared with the teacher's slow one."""
        count = min(len(ours.maps), len(theirs.maps))
        return attention(ours.maps[:count], theirs.maps[:count])


def freeze(module: nn.Module) -> nn.Module:
    """Evaluation mode, no gradients: what a teacher is."""
    return module.eval().requires_grad_(False)


def make_projector(student: ClipModel, teachers: Sequence[Teacher]) -> nn.Linear:
    """From the student's features to those of all teachers, side by side."""
    width = sum(teacher.model.num_features for teacher in teachers)
    return nn.Linear(student.num_features, width).to(next(student.parameters()).device)


def check_tasks(student: ClipModel, teachers: Sequence[ClipModel]) -> None:
    """Refuse teachers that predict other classes than the student.

    Raises:
        DistillationError: says which.
    """
    ours = widths(student)
    for teacher in teachers:
        if widths(teacher) != ours:
            raise DistillationError(
                f"the student predicts {ours} and the teacher {widths(teacher)} (task: classes); "
                "MODEL.NUM_CLASSES and MODEL.TASKS of both configs must agree"
            )


def widths(model: ClipModel) -> dict[str, int]:
    """Task -> number of classes."""
    return {task: layer.out_features for task, layer in model.classifiers.items()}


def mean_preds(preds: Sequence[Preds]) -> Preds:
    """The mean of several models' logits, of every task."""
    first = preds[0]
    if len(preds) == 1:
        return first
    if isinstance(first, dict):
        return {t: torch.stack([p[t] for p in preds]).mean(0) for t in first}  # type: ignore[index]
    return torch.stack([p for p in preds if isinstance(p, Tensor)]).mean(0)


def by_task(ours: Preds, theirs: Preds, labels: Any) -> list[tuple[Tensor, Tensor, Tensor]]:
    """``(student's logits, teacher's logits, labels)`` of every task."""
    if isinstance(ours, dict):
        assert isinstance(theirs, dict)
        return [(ours[task], theirs[task], labels[task]) for task in ours]
    assert isinstance(theirs, Tensor)
    return [(ours, theirs, single_task(labels))]
