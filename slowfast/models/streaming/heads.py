"""From maps to logits: pool over the window, embed, classify."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slowfast.models.base import Preds
from slowfast.models.cosine import CosineModel
from slowfast.models.layers.cosine_head import in_full_precision
from slowfast.models.layers.head import X3DHead
from slowfast.models.streaming.memory import Memory
from slowfast.models.streaming.pathways import Maps
from slowfast.models.streaming.stream import Chain, Named, StreamingError
from slowfast.models.streaming.timing import Timing


@dataclass(frozen=True)
class Plan:
    """How the pathways' windows come to be about the same frames.

    Attributes:
        counts: values pooled, of each pathway.
        waits: newest values not pooled yet, of each pathway.
        delay: from the window's first frame to the newest.
        receptive_field: frames that a prediction depends on.
    """

    counts: list[int]
    waits: list[int]
    delay: int
    receptive_field: int


def plan_windows(timings: Sequence[Timing], window: int) -> Plan:
    """Windows of ``window`` frames over values of those timings.

    The last value of a window of pathway ``p`` stands for ``rate`` frames, the last of which is
    ``delay - rate + 1`` frames old when the value is there. The youngest waits for the oldest.

    Raises:
        StreamingError: the temporal strides do not divide the window.
    """
    period = max(timing.rate for timing in timings)
    if window < period or window % period:
        raise StreamingError(
            f"a window of {window} frames: the temporal strides of this network need a multiple "
            f"of {period}"
        )
    ages = [timing.delay - timing.rate + 1 for timing in timings]
    slowest = max(range(len(timings)), key=lambda p: timings[p].rate)
    late = -(-(max(ages) - ages[slowest]) // period) * period
    age = ages[slowest] + late
    delay = age + window - 1
    return Plan(
        counts=[window // timing.rate for timing in timings],
        waits=[(age - a) // t.rate for a, t in zip(ages, timings, strict=True)],
        delay=delay,
        receptive_field=delay + 1 + max(timing.back for timing in timings),
    )


class WindowPool(nn.Module):
    """The mean over the window of every pathway, joined: ``(B, C, positions, 1)``.

    Args:
        timings: of the pathways.
        plan: of their windows.
        sizes: height and width that are averaged, of each pathway, at stride 1; ``None``: all.
    """

    def __init__(
        self,
        timings: Sequence[Timing],
        plan: Plan,
        sizes: Sequence[tuple[int, int] | None],
    ) -> None:
        super().__init__()
        self.timings, self.plan, self.sizes = list(timings), plan, list(sizes)

    def forward(self, maps: Maps, memory: Memory) -> Tensor:
        pooled = []
        for p, x in enumerate(maps):
            vectors = None if x is None else over_space(x, self.sizes[p])
            count, wait = self.plan.counts[p], self.plan.waits[p]
            rows = memory.window(f"window{p}", vectors, count, self.timings[p], wait=wait)
            pooled.append(rows.mean(dim=1))
        if len({y.shape[2] for y in pooled}) > 1:  # unlike numbers of positions: one each
            pooled = [y.mean(dim=2, keepdim=True) for y in pooled]
        return torch.cat(pooled, dim=1).unsqueeze(-1)


def over_space(x: Tensor, size: tuple[int, int] | None) -> Tensor:
    """``(B, C, H, W)`` -> means over ``size`` at stride 1, ``(B, C, positions)``."""
    if size is None or (size[0] >= x.shape[2] and size[1] >= x.shape[3]):
        return x.mean(dim=(2, 3)).unsqueeze(-1)
    kernel = (min(size[0], x.shape[2]), min(size[1], x.shape[3]))
    return F.avg_pool2d(x, kernel, stride=1).flatten(2)


class Embed(nn.Module):
    """Pooled maps ``(B, C, positions, 1)`` -> features ``(B, num_features)``.

    Args:
        parts: layers in between.
        kind: ``relu`` per position (X3D), ``unit`` length (cosine heads), or ``plain``.
    """

    def __init__(self, parts: list[Named], kind: str) -> None:
        super().__init__()
        self.chain, self.kind = Chain(parts, Timing()), kind

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        if self.kind == "unit":
            x = self.chain(x.mean(dim=2, keepdim=True), memory)
            return in_full_precision(F.normalize, x.flatten(1))
        y = self.chain(x, memory)
        return (F.relu(y) if self.kind == "relu" else y).mean(dim=(2, 3))


class Classify(nn.Module):
    """Features -> logits of every task.

    Args:
        classifiers: of the clip model; copied.
        scale: of the logits.
    """

    def __init__(self, classifiers: Mapping[str, nn.Linear], scale: float = 1.0) -> None:
        super().__init__()
        self.tasks, self.scale = tuple(classifiers), scale
        self.layers = nn.ModuleList(copy.deepcopy(layer) for layer in classifiers.values())

    def forward(self, features: Tensor) -> Preds:
        outputs = [layer(features) for layer in self.layers]
        if self.scale != 1.0:
            outputs = [self.scale * output for output in outputs]
        return dict(zip(self.tasks, outputs, strict=True)) if len(outputs) > 1 else outputs[0]


def x3d_parts(head: X3DHead) -> tuple[list[Named], list[Named]]:
    """X3D's layers before and after the pooling."""
    before = ["conv_5", "conv_5_bn", "conv_5_relu"]
    after = ["lin_5", *(["lin_5_bn"] if head.bn_lin5 else [])]
    named = [[(f"head.{part}", getattr(head, part)) for part in parts] for parts in (before, after)]
    return named[0], named[1]


def cosine_embed(model: CosineModel) -> Embed:
    """The layers after the pooling of a cosine head."""
    parts = ("embedding", "embedding_bn")
    return Embed([(f"head.{part}", getattr(model.head, part)) for part in parts], "unit")
