"""From a trained network to a pruned one, in one cut or several."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from slowfast.compression.pruning.bench import Bench
from slowfast.compression.pruning.budget import LatencySearch, search_ratio
from slowfast.compression.pruning.channels import Pruner
from slowfast.compression.report import Row, accuracy, cost_row
from slowfast.models.base import ClipModel
from slowfast.models.profile import count_parameters

logger = logging.getLogger(__name__)

MakePruner = Callable[[ClipModel], Pruner]
Train = Callable[[ClipModel, int, str], ClipModel]
"""``(model, epochs, name) -> trained model``; the name ``SPARSE`` asks for sparse training."""

SPARSE = "sparse"


@dataclass(frozen=True)
class Goal:
    """How much to prune, and on which way.

    Attributes:
        kind: of the goal: ``ratio`` (of channels removed), ``macs`` or ``params`` (shares that
            stay), ``latency_ms``.
        value: the number.
        steps: cuts.
        step_epochs: of training between them.
        sparse_epochs: of sparse training before.
    """

    kind: str
    value: float
    steps: int = 1
    step_epochs: int = 0
    sparse_epochs: int = 0

    def as_dict(self) -> dict[str, Any]:
        """For the report."""
        return asdict(self)


@dataclass
class Steps:
    """Prunes copies of networks.

    Attributes:
        bench: counts, times, scores and recalibrates networks.
        goal: what to reach.
        make_pruner: for a network.
        train: a network.
        ratio: of the last cut.
        tradeoff: ratio, costs, latency and accuracy, before any finetuning, of the networks that
            were timed in search of a latency.
    """

    bench: Bench
    goal: Goal
    make_pruner: MakePruner
    train: Train
    ratio: float = 0.0
    tradeoff: list[Row] = field(default_factory=list)

    def run(self, original: ClipModel) -> ClipModel:
        """The pruned network, with batch norm statistics of its own; ``original`` stays."""
        goal, model = self.goal, copy.deepcopy(original)
        if goal.sparse_epochs:
            model = self.train(model, goal.sparse_epochs, SPARSE)
        pruner = self.make_pruner(model)
        initial, final = pruner.initial, self._search(pruner, original, 0.0)
        for step in range(1, goal.steps + 1):
            ratio = final * step / goal.steps
            if 1 < step == goal.steps:  # scores have changed since: look again
                ratio = self._search(pruner, original, self.ratio)
            pruner.step(ratio)
            self.ratio = ratio
            self.bench.recalibrate(pruner.model)
            if goal.step_epochs and step < goal.steps:
                model = self.train(pruner.model, goal.step_epochs, f"step{step}")
                pruner = self.make_pruner(model)
                pruner.initial = initial
        return pruner.model

    def _search(self, pruner: Pruner, original: ClipModel, start: float) -> float:
        """The ratio that is, or meets, the goal."""
        kind, value = self.goal.kind, self.goal.value
        if kind == "ratio":
            return value
        if kind == "latency_ms":
            return self._search_latency(pruner, original, start)
        if kind == "macs":
            limit = value * self.bench.macs(original) / 1e9
            return search_ratio(
                lambda ratio: self.bench.macs(pruner.preview(ratio)) / 1e9,
                limit,
                what="GMACs",
                start=start,
            )
        return search_ratio(
            lambda ratio: count_parameters(pruner.preview(ratio)) / 1e6,
            value * count_parameters(original) / 1e6,
            what="million parameters",
            start=start,
        )

    def _search_latency(self, pruner: Pruner, original: ClipModel, start: float) -> float:
        timings: dict[float, dict[str, float]] = {}
        whole: list[float] = []
        latency = self.bench.latency
        assert latency is not None

        def pruned(ratio: float) -> ClipModel:
            model = copy.deepcopy(pruner.model)
            pruner.plan(ratio).apply(model)
            return model

        def measure(ratio: float) -> float:
            found = latency({"whole": original, "it": pruned(ratio)})
            timings[ratio] = found["it"]
            whole.append(found["whole"]["p50_ms"])
            logger.info("ratio %.3f: %.2f ms", ratio, found["it"]["p50_ms"])
            return found["it"]["p50_ms"] / found["whole"]["p50_ms"]

        search = LatencySearch(measure, lambda: min(whole), self.goal.value, start=start)
        chosen = search.run()
        self.tradeoff = []
        for ratio, share in sorted(search.points.items()):
            model = pruned(ratio)
            self.bench.recalibrate(model)
            row = {"ratio": ratio, "share_of_latency": share, "latency": timings[ratio]}
            row |= cost_row(model, self.bench.macs(model)) | accuracy(self.bench.evaluate(model)[1])
            self.tradeoff.append(row)
        return chosen
