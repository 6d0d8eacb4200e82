"""Training of cosine heads: AM-softmax and what keeps classes apart.

Wang et al. 2018, "Additive Margin Softmax for Face Verification", https://arxiv.org/abs/1801.05599;
entropy term, positives, schedule and pushes as in OpenVINO Training Extensions' action recognition
(Izutov 2020, "ASL Recognition with Metric-Learning based Lightweight Network",
https://arxiv.org/abs/2004.05054, section 3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from slowfast.datasets.batch import Batch
from slowfast.engine.objective import Objective, StepOutput, detach, single_task
from slowfast.models.base import ClipModel, Preds
from slowfast.models.cosine import CosineModel
from slowfast.utils.errors import UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode

ScaleSchedule = Callable[[float], float]
SCHEDULE_POWER = 1.2


def levelling_scale(start: float, end: float, epochs: float) -> ScaleSchedule:
    """The factor of the cosines by (fractional) epoch: from ``start`` to ``end``, then constant.

    ``start + (end - start) * (p * u - u ** p) / (p - 1)`` at the share ``u`` of ``epochs``, with
    ``p = 1.2``: fastest at the beginning, its slope 0 where it meets ``end``. The published form,
    ``a t^p + b t + start`` in iterations, is the same curve.

    Args:
        start: at epoch 0.
        end: from ``epochs`` on.
        epochs: length; 0: always ``end``.

    Example:
        >>> scale_at = levelling_scale(30.0, 5.0, 40)
        >>> [round(scale_at(epoch), 3) for epoch in (0, 10, 40, 50)]
        [30.0, 16.183, 5.0, 5.0]
    """
    power = SCHEDULE_POWER

    def scale_at(epoch: float) -> float:
        if epoch >= epochs:
            return end
        share = epoch / epochs
        return start + (end - start) * (power * share - share**power) / (power - 1)

    return scale_at


def am_softmax(
    cosines: Tensor,
    labels: Tensor,
    *,
    scale: float,
    margin: float = 0.35,
    entropy_weight: float = 0.0,
    positives_only: bool = False,
) -> Tensor:
    """Cross entropy of ``scale * (cosines - margin at the label)``, less the weighted entropy.

    Args:
        cosines: ``(B, C)`` in [-1, 1].
        labels: ``(B,)`` class ids.
        scale: s, above 0.
        margin: m.
        entropy_weight: times the entropy, in nats, of ``softmax(scale * cosines)``: rewards
            predictions that are not surer than they need to be.
        positives_only: average over the clips whose term is above 0 only; 0 when none is.

    Returns:
        A scalar, nats.
    """
    own = F.one_hot(labels, cosines.shape[1]).to(cosines.dtype)
    losses = F.cross_entropy(scale * (cosines - margin * own), labels, reduction="none")
    if entropy_weight:
        log_p = (scale * cosines).log_softmax(dim=1)
        losses = losses + entropy_weight * (log_p.exp() * log_p).sum(dim=1)
    if not positives_only:
        return losses.mean()
    kept = losses > 0
    return losses.where(kept, 0.0).sum() / kept.sum().clamp(min=1)


def centre_push(centres: Tensor, threshold: float = 0.1) -> Tensor:
    """How far the cosines of two classes' centres exceed ``threshold``, mean over those that do.

    Args:
        centres: ``(D, C)``, columns of length 1.
        threshold: a cosine.

    Returns:
        A scalar; 0 when no pair exceeds it.
    """
    classes = centres.shape[1]
    rows, columns = torch.triu_indices(classes, classes, 1, device=centres.device)
    excess = (centres.t() @ centres)[rows, columns] - threshold
    kept = excess > 0
    return excess.where(kept, 0.0).sum() / kept.sum().clamp(min=1)


def local_push(features: Tensor, cosines: Tensor, labels: Tensor, threshold: float = 0.1) -> Tensor:
    """How much nearer a clip is to one of another class than to its own centre, batch mean.

    Per clip: the largest cosine to a clip of another class, less how far the cosine to the own
    centre exceeds ``threshold``; at least 0.

    Args:
        features: ``(B, D)`` of length 1.
        cosines: ``(B, C)`` to the centres.
        labels: ``(B,)`` class ids.
        threshold: a cosine.

    Returns:
        A scalar.
    """
    own = cosines.gather(1, labels[:, None])[:, 0]
    others = labels[:, None] != labels[None, :]
    nearest = (features @ features.t()).masked_fill(~others, -1.0).amax(dim=1)
    push = nearest - (own.clamp(min=threshold) - threshold)
    return push.clamp(min=0).where(others.any(dim=1), 0.0).mean()


@dataclass(frozen=True)
class CosineLoss:
    """The loss of one task.

    Attributes:
        margin, entropy_weight, positives_only: see :func:`am_softmax`.
        centre_weight, centre_threshold: of :func:`centre_push`.
        local_weight, local_threshold: of :func:`local_push`.
    """

    margin: float = 0.35
    entropy_weight: float = 0.085
    positives_only: bool = True
    centre_weight: float = 1.0
    centre_threshold: float = 0.1
    local_weight: float = 0.0
    local_threshold: float = 0.1

    def terms(
        self, features: Tensor, cosines: Tensor, centres: Tensor, labels: Tensor, scale: float
    ) -> dict[str, Tensor]:
        """Its weighted terms by name: scalars to add up."""
        terms = {
            "am": am_softmax(
                cosines,
                labels,
                scale=scale,
                margin=self.margin,
                entropy_weight=self.entropy_weight,
                positives_only=self.positives_only,
            )
        }
        if self.centre_weight:
            terms["centre"] = self.centre_weight * centre_push(centres, self.centre_threshold)
        if self.local_weight:
            push = local_push(features, cosines, labels, self.local_threshold)
            terms["local"] = self.local_weight * push
        return terms


class CosineOutputs(nn.Module):
    """What the loss needs of a model, in one forward pass: DDP wraps this."""

    def __init__(self, model: CosineModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, clips: Sequence[Tensor]) -> tuple[Tensor, Preds, dict[str, Tensor]]:
        features = self.model.forward_features(clips)
        return features, self.model.forward_cosines(features), self.model.centres


class MetricLearning(Objective):
    """Fit a cosine head to the labels. Its ``preds`` are cosines.

    Args:
        model: with a cosine head.
        loss: of every task; several are added.
        scale_at: factor of the cosines by epoch, see :func:`levelling_scale`.

    Raises:
        UserError: the model has another head.
    """

    def __init__(self, model: ClipModel, loss: CosineLoss, scale_at: ScaleSchedule) -> None:
        super().__init__()
        if not isinstance(model, CosineModel):
            raise UserError(
                f"MODEL.LOSS_FUNC am_softmax trains a cosine head, {type(model).__name__} has "
                "another: set MODEL.MODEL_NAME MobileNetV3, or MODEL.LOSS_FUNC cross_entropy"
            )
        self.model, self.trainable = model, CosineOutputs(model)
        self.loss, self.scale_at = loss, scale_at

    def forward(self, batch: Batch) -> StepOutput:
        features, cosines, centres = self.trainable(batch.clips)
        several = isinstance(cosines, dict)
        if not several:
            cosines = dict.fromkeys(centres, cosines)
        scale = self.scale_at(self.epoch)
        parts: dict[str, Tensor] = {}
        for task, values in cosines.items():
            terms = self.loss.terms(
                features.float(),
                values.float(),
                centres[task].float(),
                class_ids(batch.labels, task if several else None),
                scale,
            )
            suffix = f"_{task}" if several else ""
            parts |= {f"loss_{name}{suffix}": term for name, term in terms.items()}
        loss = torch.stack(list(parts.values())).sum()
        preds = detach(cosines if several else cosines[next(iter(centres))])
        return StepOutput(loss, preds, {name: term.detach() for name, term in parts.items()})


def class_ids(labels: Any, task: str | None) -> Tensor:
    """Class ids ``(B,)`` of ``task``, of the only one by default.

    Raises:
        UserError: labels are mixed, several per clip, or missing.
    """
    if task is not None and (not isinstance(labels, dict) or task not in labels):
        raise UserError(f"the dataset has no labels of {task!r}, which MODEL.TASKS names")
    ids = single_task(labels) if task is None else labels[task]
    if ids.ndim != 1 or ids.is_floating_point():
        raise UserError(
            "MODEL.LOSS_FUNC am_softmax takes one class per clip: set MIXUP.ENABLE False, or for "
            "several labels per clip MODEL.LOSS_FUNC bce_logit"
        )
    return ids


def build_metric_learning(cfg: CfgNode, model: ClipModel) -> MetricLearning:
    """The objective of ``AM_SOFTMAX.*``."""
    keys = cfg.AM_SOFTMAX
    loss = CosineLoss(
        margin=keys.MARGIN,
        entropy_weight=keys.ENTROPY_WEIGHT,
        positives_only=keys.POSITIVES_ONLY,
        centre_weight=keys.CENTRE_PUSH,
        centre_threshold=keys.CENTRE_THRESHOLD,
        local_weight=keys.LOCAL_PUSH,
        local_threshold=keys.LOCAL_THRESHOLD,
    )
    scale_at = levelling_scale(keys.SCALE_START, keys.SCALE_END, keys.SCALE_EPOCHS)
    return MetricLearning(model, loss, scale_at)
