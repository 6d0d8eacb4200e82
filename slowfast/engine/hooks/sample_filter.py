"""Drawing training clips where the model recognises the label."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from slowfast.datasets.batch import Batch
from slowfast.datasets.frame_weights import FrameWeights, Verdict
from slowfast.engine.hook import Hook, State
from slowfast.engine.objective import StepOutput, single_task
from slowfast.engine.trainer import Trainer
from slowfast.models.base import Preds
from slowfast.utils import distributed

if TYPE_CHECKING:
    from yacs.config import CfgNode

logger = logging.getLogger(__name__)


class SampleFilter(Hook):
    """Judges frames by the training's own predictions; see :mod:`slowfast.datasets.frame_weights`.

    The clips of an epoch are drawn by what all processes found in those before. Put it before the
    hook that saves and after those that go through the epoch's clips once more.

    Args:
        weights: what has been found.
        warmup_epochs: first epochs, whose predictions do not count.
        cosines: predictions are cosines, of which the largest is the confidence; else logits:
            the largest probability.
    """

    def __init__(
        self, weights: FrameWeights, warmup_epochs: int = 1, *, cosines: bool = False
    ) -> None:
        self.weights, self.warmup_epochs, self.cosines = weights, warmup_epochs, cosines
        self._pending: list[tuple[Tensor, list[tuple[int, int, int]], Tensor]] = []

    def before_train(self, trainer: Trainer) -> None:
        use = getattr(trainer.loader, "use_frame_weights", None)
        if use is None:
            raise TypeError(f"{type(trainer.loader).__name__} cannot draw clips by frame weights")
        use(self.weights)

    def after_batch(self, trainer: Trainer, batch: Batch, output: StepOutput) -> None:
        if trainer.epoch < self.warmup_epochs:
            return
        labels = batch.meta.get("hard_labels", batch.labels)  # of mixed clips: the first one's
        values = judge(output.preds, labels, cosines=self.cosines)
        self._pending.append((batch.clip_ids, batch.meta["spans"], values))

    def after_epoch(self, trainer: Trainer) -> None:
        """A collective: every process ends with the same weights."""
        mine = [
            Verdict(video, *span, value)
            for clip_ids, spans, values in self._pending
            for video, span, value in zip(clip_ids.tolist(), spans, values.tolist(), strict=True)
        ]
        self._pending = []
        shares = distributed.broadcast_object(distributed.gather_objects(mine))
        for verdict in (verdict for share in shares for verdict in share):
            self.weights.add(verdict)
        if trainer.epoch >= self.warmup_epochs:
            logger.info("sample filter: %d videos are drawn by weight", self.weights.num_judged)

    def state_dict(self) -> State:
        state: State = {"weights": self.weights.state_dict()}
        shares = distributed.gather_objects(self._pending)
        if any(shares):  # within an epoch
            state["pending"] = shares
        return state

    def load_state_dict(self, state: State) -> None:
        self.weights.load_state_dict(state["weights"])
        shares = state.get("pending", [])
        if len(shares) == distributed.world_size():
            ids_spans_values = shares[distributed.rank()]
            self._pending = [(i, [tuple(s) for s in spans], v) for i, spans, v in ids_spans_values]


def judge(preds: Preds, labels: Any, *, cosines: bool) -> Tensor:
    """``(B,)``: how sure each prediction is, negative where it is wrong (in any task)."""
    if isinstance(preds, Tensor):
        pairs = [(preds, single_task(labels))]
    else:
        pairs = [(preds[task], labels[task]) for task in preds]
    surest = [(p if cosines else p.softmax(dim=1)).float().max(dim=1) for p, _ in pairs]
    confidence = torch.stack([values for values, _ in surest]).mean(dim=0)
    right = [best == ids for (_, best), (_, ids) in zip(surest, pairs, strict=True)]
    return torch.where(torch.stack(right).all(dim=0), confidence, -confidence)


def build_sample_filter(cfg: CfgNode) -> SampleFilter:
    """From ``TRAIN.SAMPLE_FILTER.*``."""
    keys = cfg.TRAIN.SAMPLE_FILTER
    cosines = cfg.MODEL.LOSS_FUNC == "am_softmax"
    return SampleFilter(FrameWeights(keys.COVERAGE), keys.WARMUP_EPOCHS, cosines=cosines)
