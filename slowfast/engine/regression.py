"""Learning to give the features that another network computed, and how well that goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from slowfast.datasets.build import build_loader
from slowfast.datasets.loader import Loader
from slowfast.datasets.pathways import build_batch_transform
from slowfast.engine.batches import BatchPreparation
from slowfast.engine.losses import REGRESSIONS, find_loss
from slowfast.engine.objective import Criterion, Objective, StepOutput, detach, single_task
from slowfast.engine.predictions import Predictions
from slowfast.models.base import ClipModel
from slowfast.utils import distributed
from slowfast.utils.errors import UserError
from slowfast.utils.progress import open_progress

if TYPE_CHECKING:
    from yacs.config import CfgNode

    from slowfast.engine.build import Placement


class FeatureSizeError(UserError, ValueError):
    """The model's output and the stored features are not of one width."""


class FeatureRegression(Objective):
    """Fit stored feature vectors with the model's output: feature distillation from files.

    The output of a model with a classifier is what the classifier gives, as many numbers as
    ``MODEL.NUM_CLASSES``; that of a model without one (IMFE) is its feature.

    Args:
        model: ``list[(B, C, T_p, H, W)] -> (B, D)``.
        criterion: ``(outputs, targets) -> scalar``.
    """

    def __init__(self, model: ClipModel, criterion: Criterion) -> None:
        super().__init__()
        self.model = self.trainable = model
        self.criterion = criterion

    def forward(self, batch: Any) -> StepOutput:
        outputs = self.trainable(batch.clips)
        targets = check_targets(outputs, batch.labels)
        loss = self.criterion(outputs, targets)
        cosine = F.cosine_similarity(outputs.detach().float(), targets.float()).mean()
        return StepOutput(loss, detach(outputs), {"cosine": cosine})


def check_targets(outputs: Any, labels: Any) -> Tensor:
    """The stored features ``(B, D)`` of a batch, when ``outputs`` can be compared with them.

    Raises:
        FeatureSizeError: names what to set.
    """
    if not isinstance(outputs, Tensor):
        raise FeatureSizeError(
            f"the model predicts tasks {sorted(outputs)}; to regress features set MODEL.TASKS [] "
            "and MODEL.NUM_CLASSES to their width"
        )
    targets = single_task(labels)
    if targets.shape != outputs.shape:
        what = f"features of width {targets.shape[1]}" if targets.ndim == 2 else "class labels"
        raise FeatureSizeError(
            f"the dataset gives {what}, the model {outputs.shape[1]} numbers per clip. Set "
            "MODEL.NUM_CLASSES to the width of the features (of IMFE without IMFE.CLASSIFIER the "
            "width is fixed, 2048 at RESNET.DEPTH 50); TRAIN.DATASET features has features"
        )
    return targets


@dataclass
class RegressionSums:
    """Sums over clips, of which the metrics are made; in float64, on the CPU.

    Attributes:
        clips: their number.
        loss: of the criterion.
        squares: of the errors, over clips and outputs.
        cosine: between outputs and targets.
        target: sum of the targets, ``(D,)``.
        target_squares: sum of their squares.
    """

    clips: int = 0
    loss: float = 0.0
    squares: float = 0.0
    cosine: float = 0.0
    target: Tensor = field(default_factory=lambda: torch.zeros(()).double())
    target_squares: float = 0.0

    def update(self, outputs: Tensor, targets: Tensor, loss: Tensor) -> None:
        """Take in a batch, both ``(B, D)``, and its mean loss."""
        count = len(outputs)
        outputs, targets = outputs.double().cpu(), targets.double().cpu()
        self.add(
            RegressionSums(
                count,
                float(loss) * count,
                float((outputs - targets).square().sum()),
                float(F.cosine_similarity(outputs, targets).sum()),
                targets.sum(dim=0),
                float(targets.square().sum()),
            )
        )

    def add(self, other: RegressionSums) -> None:
        """Take in what another process summed up."""
        for name in ("clips", "loss", "squares", "cosine", "target", "target_squares"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def metrics(self) -> dict[str, float]:
        """``loss``, ``mse``, ``cosine``, and ``r2``: the share of the targets' variance explained.

        ``r2`` is 1 for a perfect fit and 0 for the targets' mean, whatever the clip: an ``mse``
        below half of the variance is an ``r2`` above 0.5.
        """
        outputs = self.clips * self.target.numel()
        mean_squares = float((self.target / self.clips).square().sum()) * self.clips
        variance = self.target_squares - mean_squares
        return {
            "loss": self.loss / self.clips,
            "mse": self.squares / outputs,
            "cosine": self.cosine / self.clips,
            "r2": 1.0 - self.squares / variance if variance > 0 else 0.0,
        }


@dataclass
class RegressionEvaluation:
    """Compares a model's outputs with stored features. Called, it gives the numbers.

    Nothing grows with the number of clips: only sums are kept. Every view of a clip counts.

    Attributes:
        model: compared, in evaluation mode meanwhile.
        loader: of the split.
        prepare: device and batch transform.
        criterion: for the loss.
        amp_dtype: of the forward pass.
        progress: mode of the bar.
        title: beside the bar.
    """

    model: ClipModel
    loader: Loader
    prepare: BatchPreparation
    criterion: Criterion
    amp_dtype: torch.dtype | None = None
    progress: str = "none"
    title: str = "val"

    @torch.no_grad()
    def __call__(self) -> tuple[Predictions | None, dict[str, float]]:
        """No predictions, and the metrics of all processes' shares on every process."""
        sums = RegressionSums()
        modes = [(module, module.training) for module in self.model.modules()]
        self.model.eval()
        mode = self.progress if distributed.is_main() else "none"
        try:
            with open_progress(len(self.loader), self.title, mode) as bar:
                for batch in self.loader:
                    self._update(sums, batch)
                    bar.update()
        finally:
            for module, training in modes:
                module.training = training
        shares = distributed.gather_objects(sums)
        total = RegressionSums()
        for share in shares:
            total.add(share)
        metrics = total.metrics() if distributed.is_main() else {}
        return None, distributed.broadcast_object(metrics)

    def _update(self, sums: RegressionSums, batch: Any) -> None:
        batch = self.prepare(batch)
        device = batch.clips[0].device.type
        with torch.autocast(device, self.amp_dtype, enabled=self.amp_dtype is not None):
            outputs = self.model(batch.clips)
        targets = check_targets(outputs, batch.labels)
        sums.update(outputs, targets, self.criterion(outputs.float(), targets))


def build_is_regression(cfg: CfgNode) -> bool:
    """Whether ``MODEL.LOSS_FUNC`` compares feature vectors rather than classes."""
    return cfg.MODEL.LOSS_FUNC in REGRESSIONS and not cfg.DATA.MULTI_LABEL


def build_regression_evaluation(
    cfg: CfgNode, model: ClipModel, split: str, placement: Placement
) -> RegressionEvaluation:
    """Validation or test of ``model`` on the stored features of ``split``."""
    loader = build_loader(cfg, split, rank=distributed.rank(), world_size=distributed.world_size())
    transform = build_batch_transform(cfg, train=False, memory_format=placement.memory_format)
    return RegressionEvaluation(
        model,
        loader,
        BatchPreparation(placement.device, transform),
        find_loss(cfg.MODEL.LOSS_FUNC),
        amp_dtype=None if split == "test" else placement.amp_dtype,
        progress=cfg.PROGRESS,
        title=split,
    )
