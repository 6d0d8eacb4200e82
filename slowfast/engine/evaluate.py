"""Scores a model on a split: validation and multi-view test alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from slowfast.datasets.base import UNLABELLED
from slowfast.datasets.batch import Batch
from slowfast.engine.batches import BatchPreparation, batch_size, split_batch
from slowfast.engine.objective import Criterion, single_task, task_loss
from slowfast.engine.predictions import SINGLE_TASK, Predictions
from slowfast.engine.views import ViewMeter
from slowfast.models.base import ClipModel, Preds, activate
from slowfast.utils import distributed

OnBatch = Callable[[Batch], None]


@torch.no_grad()
def evaluate(
    model: ClipModel,
    loader: Iterable[Batch],
    *,
    prepare: BatchPreparation | None = None,
    amp_dtype: torch.dtype | None = None,
    num_views: int = 1,
    method: str = "sum",
    max_clips_per_forward: int | None = None,
    names: Sequence[str] | None = None,
    num_videos: int | None = None,
    class_names: dict[str, list[str]] | None = None,
    criterion: Criterion | None = None,
    by_position: bool = False,
    on_batch: OnBatch | None = None,
) -> Predictions | None:
    """Score every view of every video and combine the views.

    With several processes each goes through its share of the split; the shares are put
    together on the main process, and the result is that of one process, whatever the number
    of processes and videos. The model's mode (of every module) is put back at the end.

    Args:
        model: in any mode; its ``predict`` scores are combined.
        loader: yields raw batches with one entry per clip; ``labels`` may have one per video.
        prepare: device and batch transform.
        amp_dtype: of the forward pass; ``None`` for full precision.
        num_views: views per video.
        method: ``sum`` or ``max`` over views.
        max_clips_per_forward: larger batches are split; ``None`` never splits.
        names: of all videos of the split, not only of this process's share.
        num_videos: how many videos the split has; default: as many as names.
        class_names: task -> names, passed on to the result.
        criterion: label loss ``(logits, labels)``, for ``Predictions.loss``.
        by_position: clips may be larger than in training, so that ``predict`` is more than the
            activated logits. Only matters with a criterion.
        on_batch: called after every batch, for progress.

    Returns:
        The predictions on the main process, ``None`` on the others.

    Raises:
        MissingViews: a view of a video was not scored.
    """
    prepare = prepare or BatchPreparation()
    meter, loss = ViewMeter(num_views, method), _LossSum(criterion)
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        for batch in loader:
            batch = _labels_per_clip(batch, num_views)
            for part in split_batch(batch, max_clips_per_forward or batch_size(batch)):
                _score(model, prepare(part), meter, loss, amp_dtype, by_position=by_position)
            if on_batch is not None:
                on_batch(batch)
    finally:
        for module, mode in modes:
            module.training = mode
    return _gather(meter, loss, names, num_videos, class_names or {})


class _LossSum:
    """Sums over clips of batch-mean losses: ``loss``, and ``loss_<task>`` of several tasks."""

    def __init__(self, criterion: Criterion | None) -> None:
        self.criterion = criterion
        self.totals: dict[str, Tensor] = {}
        self.clips = 0

    def update(self, logits: Preds, labels: Any, clips: int) -> None:
        if self.criterion is None or not _is_labelled(labels):
            return
        loss, parts = task_loss(self.criterion, logits, labels)
        for name, value in {"loss": loss, **parts}.items():
            total = value.double() * clips
            self.totals[name] = self.totals[name] + total if name in self.totals else total
        self.clips += clips

    def sums(self) -> tuple[dict[str, float], int]:
        """The sums as numbers, and the clips they are over."""
        return {name: float(total) for name, total in self.totals.items()}, self.clips


def _is_labelled(labels: Any) -> bool:
    """Whether every clip of a batch has its label; vectors to regress always are there."""
    if isinstance(labels, dict):
        return all(_is_labelled(value) for value in labels.values())
    return labels.is_floating_point() or bool((labels != UNLABELLED).all())


def _score(
    model: ClipModel,
    batch: Batch,
    meter: ViewMeter,
    loss: _LossSum,
    amp_dtype: torch.dtype | None,
    *,
    by_position: bool,
) -> None:
    device = batch.clips[0].device.type
    with torch.autocast(device, amp_dtype, enabled=amp_dtype is not None):
        if loss.criterion is None:
            scores = model.predict(batch.clips)
        elif by_position:  # one forward pass for both
            logits, scores = model.score(batch.clips)
            loss.update(_float(logits), batch.labels, batch_size(batch))
        else:  # the module itself is called, which may be compiled
            logits = _float(model(batch.clips))
            loss.update(logits, batch.labels, batch_size(batch))
            scores = activate(logits, model.head_act)
    scores = _float(scores)
    by_task = scores if isinstance(scores, dict) else {SINGLE_TASK: scores}
    labels = {task: _label_of(task, batch.labels, len(by_task)) for task in by_task}
    meter.update(
        batch.clip_ids.cpu().numpy(),
        {task: value.cpu().double().numpy() for task, value in by_task.items()},
        {task: value.cpu().numpy() for task, value in labels.items()},
    )


def _float(preds: Preds) -> Preds:
    """Half precision would lose digits in softmax and sums."""
    if isinstance(preds, dict):
        return {task: value.float() for task, value in preds.items()}
    return preds.float()


def _label_of(task: str, labels: Any, num_tasks: int) -> Tensor:
    if num_tasks == 1 and not (isinstance(labels, dict) and task in labels):
        return single_task(labels)
    return cast(Tensor, labels[task])


def _labels_per_clip(batch: Batch, num_views: int) -> Batch:
    clips = len(batch.clip_ids)

    def spread(labels: Any) -> Any:
        if isinstance(labels, dict):
            return {task: spread(value) for task, value in labels.items()}
        if num_views > 1 and len(labels) * num_views == clips:
            return labels.repeat_interleave(num_views, dim=0)
        return labels

    return batch._replace(labels=spread(batch.labels))


def _gather(
    meter: ViewMeter,
    loss: _LossSum,
    names: Sequence[str] | None,
    num_videos: int | None,
    class_names: dict[str, list[str]],
) -> Predictions | None:
    shares = distributed.gather_objects((meter, *loss.sums()))
    predictions: Predictions | None = None
    failure: Exception | None = None
    if distributed.is_main():
        try:
            for other, _, _ in shares[1:]:
                meter.merge(other)
            scores, labels, video_names = meter.result(names, num_videos)
            known = {
                task: of_task
                for task, of_task in labels.items()
                if of_task.dtype.kind == "f" or (of_task != UNLABELLED).any()
            }
            means = _mean_losses([(sums, clips) for _, sums, clips in shares])
            predictions = Predictions(
                scores, known, video_names, meter.num_views, class_names,
                means.pop("loss", None), means,
            )  # fmt: skip
        except (RuntimeError, ValueError) as error:
            failure = error
    failure = distributed.broadcast_object(failure)
    if failure is not None:  # on every process: none may wait for one that gave up
        raise failure
    return predictions


def _mean_losses(shares: Sequence[tuple[dict[str, float], int]]) -> dict[str, float]:
    """Means over the clips of all processes: ``loss``, and of several tasks each one's."""
    totals: dict[str, float] = {}
    for sums, _ in shares:
        for name, value in sums.items():
            name = name.removeprefix("loss_")
            totals[name] = totals.get(name, 0.0) + value
    clips = sum(count for _, count in shares)
    return {name: total / clips for name, total in totals.items()}


def share_buffers(model: nn.Module) -> None:
    """Give every process the main one's buffers, so that all shares are scored alike.

    DDP does so before each forward pass, so after the last one batch norm statistics differ.
    """
    distributed.broadcast_tensors(model.buffers())
