"""What is done to every network of a pruning: count, time, score, recalibrate."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from slowfast.compression.pruning.importance import ESTIMATE_LOSS, Evidence
from slowfast.compression.report import Latency
from slowfast.datasets.batch import Batch
from slowfast.datasets.build import build_loader
from slowfast.datasets.loader import Loader
from slowfast.datasets.pathways import build_batch_transform
from slowfast.engine.batches import BatchPreparation
from slowfast.engine.build import Evaluation, Placement, build_evaluation, build_objective
from slowfast.engine.precise_bn import update_bn_stats
from slowfast.engine.predictions import Predictions
from slowfast.engine.regression import RegressionEvaluation
from slowfast.models.base import ClipModel
from slowfast.models.profile import build_model_inputs, count_macs

if TYPE_CHECKING:
    from yacs.config import CfgNode


@dataclass
class Bench:
    """The tools, with their data sets.

    Attributes:
        placement: of the networks.
        shapes: of a clip of the test crop.
        evaluation: scores a network on ``PRUNING.EVAL_SPLIT``.
        loader: of the training split.
        prepare: its batches, without random augmentation on the device.
        bn_batches: that batch norm statistics are estimated on.
        latency: times networks; ``None``: nothing is timed.
    """

    placement: Placement
    shapes: list[tuple[int, ...]]
    evaluation: Evaluation | RegressionEvaluation
    loader: Loader
    prepare: BatchPreparation
    bn_batches: int
    latency: Latency | None = None

    def macs(self, model: nn.Module) -> int:
        """Multiply-adds of one clip."""
        return count_macs(model, self.shapes)

    def evaluate(self, model: ClipModel) -> tuple[Predictions | None, dict[str, float]]:
        """Predictions and metrics."""
        self.evaluation.model = model
        found: Any = self.evaluation()
        return found[0], found[1]

    def batches(self) -> Iterator[Batch]:
        """Batches of the training split, the same ones every time."""
        self.loader.set_epoch(0)
        return (self.prepare(batch, None) for batch in self.loader)

    def recalibrate(self, model: nn.Module) -> None:
        """Estimate batch norm statistics anew: the old ones are of channels that are gone."""
        modes = [(module, module.training) for module in model.modules()]
        model.eval()
        for module, _ in modes:
            if isinstance(module, _BatchNorm):
                module.train()
        try:
            update_bn_stats(model, (batch.clips for batch in self.batches()), self.bn_batches)
        finally:
            for module, mode in modes:
                module.training = mode


def build_bench(
    cfg: CfgNode, model: ClipModel, placement: Placement, latency: Latency | None = None
) -> Bench:
    """The bench of a config, for networks such as ``model``."""
    loader = build_loader(cfg, "train")
    transform = build_batch_transform(cfg, True, placement.memory_format)
    return Bench(
        placement,
        build_model_inputs(cfg, cfg.DATA.TEST_CROP_SIZE),
        build_evaluation(cfg, model, cfg.PRUNING.EVAL_SPLIT, placement),
        loader,
        BatchPreparation(placement.device, transform),
        min(cfg.BN.NUM_BATCHES_PRECISE, len(loader)),
        latency,
    )


def build_evidence(cfg: CfgNode, model: ClipModel, bench: Bench) -> Evidence | None:
    """Batches and loss of the training, for the methods that look at them."""
    if cfg.PRUNING.PRUNING_METHOD not in ESTIMATE_LOSS:
        return None
    objective = build_objective(cfg, model).to(bench.placement.device)
    count = cfg.PRUNING.NUM_BATCHES
    return Evidence(objective, lambda: islice(bench.batches(), count))
