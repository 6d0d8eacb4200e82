"""What is known of each network of a set of runs, whichever tool found it out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slowfast.engine.predictions import Predictions
from slowfast.reports.stats import Record

TRAINED, PRUNED, DISTILLED, QUANTISED = KINDS = ("trained", "pruned", "distilled", "quantised")
METRICS = {"top1_acc": "top-1", "map": "mAP", "r2": "r2"}
POINTS = 2.0  # a compressed network this close to its teacher, in percent points, is as good


PLAIN = "PyTorch"
"""The runtime a network is trained in."""


@dataclass(frozen=True)
class Speed:
    """Latency of one clip in one runtime.

    Attributes:
        runtime: with its precision where that is not float32: ``"openvino int8"``.
        p50_ms, p90_ms: of one clip.
        machine: where it was measured, for people.
        by_turns: in one run with other networks, so that their ratio holds on a noisy machine.
    """

    runtime: str
    p50_ms: float
    p90_ms: float | None = None
    machine: str = ""
    by_turns: bool = False


@dataclass
class Variant:
    """One network. What nobody measured is ``None``.

    Attributes:
        name: unique in a set of runs.
        kind: one of ``KINDS``.
        folder: of the run it comes from.
        checkpoint: its weights; ``None`` where no file is known.
        parent: what it was made from, or taught by.
        metric: of ``accuracy``, a key of ``METRICS``.
        accuracy, top5, mean_class, agreement: percent; the last is with the parent.
        split: that they were measured on, with ``views`` of each video (0: unknown).
        params_m, macs_g: millions; billions, a multiply-add counts once.
        size_mib: of the weights, or the exported file.
        memory_mib: at its peak, one clip.
        throughput: clips/s, in batches.
        stream_fps: frames/s of one stream.
        speeds: a runtime each.
        predictions: of every test video.
        config: of its training, where it was kept.
        is_result: whether a tool was run for it; not what it made besides, to compare with.
        refused: why it should not be used in its parent's place; empty: nothing against it.
    """

    name: str
    kind: str
    folder: Path
    checkpoint: Path | None = None
    parent: Variant | None = None
    metric: str = "top1_acc"
    accuracy: float | None = None
    top5: float | None = None
    mean_class: float | None = None
    agreement: float | None = None
    split: str = "test"
    views: int = 0
    params_m: float | None = None
    macs_g: float | None = None
    size_mib: float | None = None
    memory_mib: float | None = None
    throughput: float | None = None
    stream_fps: float | None = None
    speeds: list[Speed] = field(default_factory=list)
    predictions: Predictions | None = None
    config: Any = None
    is_result: bool = True
    refused: str = ""

    def fill(self, **facts: Any) -> None:
        """Take over what is not known yet."""
        for key, value in facts.items():
            if getattr(self, key) is None and value is not None:
                setattr(self, key, value)

    def add_speed(self, speed: Speed) -> None:
        """Add a latency; of two in one runtime that by turns stays, else the first."""
        known = self.speed_in(speed.runtime)
        if known is None:
            self.speeds.append(speed)
        elif speed.by_turns and not known.by_turns:
            self.speeds[self.speeds.index(known)] = speed

    @property
    def fastest(self) -> Speed | None:
        """The runtime with the lowest median."""
        return min(self.speeds, key=lambda speed: speed.p50_ms, default=None)

    def speed_in(self, runtime: str) -> Speed | None:
        """The latency in ``runtime``."""
        return next((speed for speed in self.speeds if speed.runtime == runtime), None)

    @property
    def speed_as_trained(self) -> Speed | None:
        """The lowest median where nothing was exported or compiled."""
        plain = [speed for speed in self.speeds if speed.runtime.startswith(PLAIN)]
        return min(plain, key=lambda speed: speed.p50_ms, default=None)

    @property
    def ancestors(self) -> Iterator[Variant]:
        """Parent, its parent, and so on."""
        above = self.parent
        while above is not None:
            yield above
            above = above.parent

    @property
    def root(self) -> Variant:
        """The first of its line: the teacher."""
        return [self, *self.ancestors][-1]


@dataclass(frozen=True)
class Training:
    """Attributes: name, folder, and its log by kind of record (:func:`read_stats`)."""

    name: str
    folder: Path
    stats: dict[str, list[Record]]


@dataclass(frozen=True)
class ExportedFile:
    """Attributes: name, and the description beside the file, as it stands there."""

    name: str
    path: Path
    info: dict[str, Any]

    @property
    def is_stream(self) -> bool:
        """Whether it takes frames instead of clips."""
        return bool(self.info.get("streaming"))


@dataclass
class Runs:
    """Everything found in a set of folders.

    Attributes:
        variants: networks, in the order of the folders.
        trainings: logs.
        exports: files and their descriptions.
        commands: what to type to repeat each part: title -> command.
        machines: where latencies were measured.
        notes: what could not be used, and why.
    """

    variants: list[Variant] = field(default_factory=list)
    trainings: list[Training] = field(default_factory=list)
    exports: list[ExportedFile] = field(default_factory=list)
    commands: dict[str, str] = field(default_factory=dict)
    machines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def runtimes(self) -> list[str]:
        """All in which a latency was measured, in order of appearance."""
        return list(dict.fromkeys(s.runtime for v in self.variants for s in v.speeds))


def choose_compressed(variants: list[Variant]) -> Variant | None:
    """The network worth shipping: the fastest that is nearly as accurate as its teacher.

    Nearly: within ``POINTS``. Where none is, the most accurate one; ``None`` where nothing was
    compressed. Speed is the lowest median latency, or the MACs where a latency is missing. What a
    tool made besides its result does not count, nor a result with something against it, unless
    there is no other.
    """
    made = [v for v in variants if v.parent is not None and v.accuracy is not None]
    made = [v for v in made if v.is_result] or made
    made = [v for v in made if not v.refused] or made
    close = [v for v in made if (v.root.accuracy or 0.0) - (v.accuracy or 0.0) <= POINTS]
    if not close:
        return max(made, key=lambda v: v.accuracy or 0.0, default=None)
    timed = [v for v in close if v.speeds]
    if timed:
        return min(timed, key=lambda v: v.fastest.p50_ms if v.fastest else 0.0)
    return min(close, key=lambda v: v.macs_g or 0.0)


def choose_teacher(variants: list[Variant], compressed: Variant | None) -> Variant | None:
    """What the compressed network is compared with; else the one that costs most."""
    if compressed is not None:
        return compressed.root
    return max(variants, key=lambda v: (v.macs_g or 0.0, v.accuracy or 0.0), default=None)


def front(points: list[tuple[float, float]]) -> list[int]:
    """Indices of the points ``(cost, accuracy)`` that no other beats in both, by cost.

    Example:
        >>> front([(3.0, 70.0), (1.0, 60.0), (2.0, 55.0), (3.0, 71.0)])
        [1, 3]
    """
    found: list[int] = []
    best = float("-inf")
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if points[i][1] > best:
            found.append(i)
            best = points[i][1]
    return found
