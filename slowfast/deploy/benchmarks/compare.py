"""Models, runtimes and precisions by turns, in one process: which is how much faster."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from slowfast.deploy.benchmarks.busy import time_beside
from slowfast.deploy.benchmarks.contender import Contender, open_contender
from slowfast.deploy.benchmarks.energy import EnergyMeter
from slowfast.deploy.benchmarks.footprint import peak_memory_mib
from slowfast.deploy.benchmarks.playback import play, write_sample
from slowfast.deploy.benchmarks.precision import Candidate, choose
from slowfast.deploy.benchmarks.quality import (
    build_noise_answers,
    build_split_answers,
    compare_answers,
    stream_answers,
    stream_frames,
)
from slowfast.deploy.benchmarks.sources import Settings, Sources
from slowfast.deploy.benchmarks.spec import CLIP, COMPILE, COX3D, STREAM, Spec
from slowfast.deploy.benchmarks.turns import Turns, take_turns
from slowfast.deploy.latency import Timing, describe_machine, speedup
from slowfast.utils.errors import UserError

logger = logging.getLogger(__name__)
Row = dict[str, Any]
ENERGY = "of the processor's packages, all programs together"


@dataclass(frozen=True)
class Plan:
    """What to measure. The first of ``specs`` is what the others are compared with.

    Attributes:
        specs: two or more, or one.
        threads: of predictions; 0: the runtime's own choice.
        batches: clips at once.
        warmup: unmeasured calls.
        turns: measured, see :func:`~slowfast.deploy.benchmarks.turns.take_turns`.
        busy: processes that keep a core busy in half of the turns.
        memory: start a process for each, to see what it needs.
        split: ``val`` or ``test``, to measure accuracy on; empty: compare answers on noise.
        min_agreement: percent; choose a precision. ``None``: do not.
        videos: for streams: the first is played through, all are compared on, one after the other.
            Empty name: a generated one. None: none is played.
        network: file -> path of the model it was made of, where that is known.
    """

    specs: Sequence[Spec]
    threads: Sequence[int] = (0,)
    batches: Sequence[int] = (1,)
    warmup: int = 3
    turns: int = 20
    busy: int = 0
    memory: bool = True
    split: str = ""
    min_agreement: float | None = None
    videos: Sequence[str] = ()
    network: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.min_agreement is not None and not self.split:
            raise UserError(
                "--choose compares answers on real clips: add --accuracy val, and the data "
                "(DATA.PATH_TO_DATA_DIR)"
            )


def measure(
    plan: Plan, settings: Settings, skipped: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Everything that ``plan`` asks for.

    Returns:
        ``rows``, one per way, number of threads and batch; ``reference``, the name of the first;
        ``not_measured``, name -> why; ``answers``, what agreements are of; ``choice``;
        ``energy``; ``machine``.
    """
    with TemporaryDirectory() as folder:
        return _Measurement(plan, Sources(settings, Path(folder)), dict(skipped or {})).run()


class _Measurement:
    def __init__(self, plan: Plan, sources: Sources, skipped: dict[str, str]) -> None:
        self.plan, self.sources, self.skipped = plan, sources, skipped
        self.energy = EnergyMeter()
        self.first: list[Contender] = []
        self.medians: dict[str, Timing] = {}  # of the first group
        self.answers = ""
        self.clips = 0
        self.load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None

    def run(self) -> dict[str, Any]:
        plan, rows = self.plan, []
        for threads in plan.threads:
            for batch in plan.batches:
                rows += self.group(threads, batch)
        if not rows:
            reasons = "; ".join(f"{name}: {why}" for name, why in self.skipped.items())
            raise UserError(f"nothing could be measured: {reasons}")
        self.add(rows, self.quality())
        self.add(rows, self.playback())
        if plan.memory:
            memory = {c.name: {"peak_memory_mib": peak_memory_mib(c.spec, self.sources)}
                      for c in self.first}  # fmt: skip
            self.add(rows, memory)
        result = {
            "rows": rows,
            "reference": rows[0]["name"],
            "not_measured": self.skipped,
            "answers": self.answers,
            "energy": self.energy.why_absent
            or "of the processor's packages, all programs together",
            "machine": describe_machine() | self.surroundings(),
        }
        return result | self.choice()

    def surroundings(self) -> Row:
        """What else numbers depend on."""
        found: Row = {"cores": os.cpu_count(), "load_before": self.load}
        used = {c.spec.runtime for c in self.first}
        for library in ("onnxruntime", "openvino"):
            if library in used:
                try:
                    found[library] = version(library)
                except PackageNotFoundError:
                    found[library] = "?"
        return found

    def group(self, threads: int, batch: int) -> list[Row]:
        """Rows of all that take turns with one another."""
        contenders = self.open(threads, batch)
        if not contenders:
            return []
        logger.info("timing %s", ", ".join(c.name for c in contenders))
        plan, runs = self.plan, {c.name: c.run for c in contenders}
        device = next((c.device for c in contenders if c.device.type != "cpu"), "cpu")
        options: dict[str, Any] = {
            "warmup": plan.warmup, "turns": plan.turns, "device": device
        }  # fmt: skip
        busy: dict[str, Turns] = {}
        if plan.busy:
            both = time_beside(runs, plan.busy, **options)
            times = {name: quiet for name, (quiet, _) in both.items()}
            busy = {name: beside for name, (_, beside) in both.items()}
        else:
            times = take_turns(runs, **options)
        if not self.first:
            self.first = contenders
            self.medians = {name: turns.medians for name, turns in times.items()}
        reference = contenders[0]
        beaten = [c for c in contenders if c.spec.form == COX3D]
        rows = []
        for contender in contenders:
            row = contender.facts | timing_row(contender, times[contender.name])
            row["ratio"] = ratio(reference, times[reference.name], contender, times[contender.name])
            if beaten and contender.spec.form == STREAM:
                other = beaten[0]
                row["cox3d_ratio"] = ratio(
                    other, times[other.name], contender, times[contender.name]
                )
            if contender.name in busy:
                row["busy"] = busy_row(
                    contender, times[contender.name], busy[contender.name], plan.busy
                )
            joules = self.energy.per_call(contender.run)
            row["joules"] = None if joules is None else joules / contender.predictions
            rows.append({"name": contender.name} | row)
        return rows

    def open(self, threads: int, batch: int) -> list[Contender]:
        found: list[Contender] = []
        for spec in self.plan.specs:
            spec = replace(spec, threads=threads, batch=batch)
            try:
                contender = open_contender(spec, self.sources)
                if spec.runtime == COMPILE:
                    contender.run()
            except ModuleNotFoundError as error:
                self.skipped[spec.name] = str(error)
                continue
            except Exception as error:
                if spec.runtime != COMPILE:
                    raise
                self.skipped[spec.name] = f"torch.compile fails: {error}".splitlines()[0]
                continue
            contender.family = self.plan.network.get(spec.path, contender.family)
            found.append(contender)
        for contender, name in zip(found, unique_names(found), strict=True):
            contender.name = name
        return found

    def quality(self) -> dict[str, Row]:
        """Accuracy and agreement, of the first group."""
        clips = [c for c in self.first if c.model is not None]
        streams = [c for c in self.first if c.stream is not None]
        rows: dict[str, Row] = {}
        said = []
        if clips:
            config = self.sources.config(clips[0].spec.path)
            split = self.plan.split
            answer = build_split_answers(config, split) if split else build_noise_answers(config)
            fitting = [c for c in clips if split or same_input(c, clips[0])]
            found, self.clips = compare_answers(fitting, lambda c: answer(c.model))  # type: ignore[arg-type]
            rows |= found
            said.append(f"{self.clips} " + (f"videos of {split}" if split else "clips of noise"))
        if streams:
            videos = [video for video in self.plan.videos if video]
            found, count = compare_answers(
                streams, lambda c: stream_answers(c, stream_frames(c, videos))
            )
            rows |= found
            kind = "noise" if not videos else f"{len(videos)} video(s)"
            said.append(f"{count} steps of {kind}")
        self.answers = ", ".join(said)
        return rows

    def playback(self) -> dict[str, Row]:
        """From a file to predictions, of streams."""
        streams = [c for c in self.first if c.stream is not None and c.spec.batch == 1]
        if not self.plan.videos or not streams:
            return {}
        first = self.plan.videos[0]
        video = first or str(write_sample(self.sources.folder / "sample.mp4"))
        return {
            c.name: {"from_file": play(video, c.stream, c.stream_info)}  # type: ignore[arg-type]
            for c in streams
        }

    def choice(self) -> Row:
        """Which precision to use."""
        least = self.plan.min_agreement
        if least is None:
            return {}
        clips = [c for c in self.first if c.model is not None]
        clips = [c for c in clips if c.family == clips[0].family]
        candidates = [
            Candidate(c.name, c.spec.precision, self.medians[c.name], c.facts.get("agreement"))
            for c in clips
        ]
        chosen = choose(candidates, clips=self.clips, min_agreement=least)
        return {"choice": {"name": chosen.name, "why": list(chosen.why)}}

    def add(self, rows: Iterable[Row], more: Mapping[str, Row]) -> None:
        """Put what was found of a contender into all its rows."""
        for row in rows:
            row |= more.get(row["name"], {})
        for contender in self.first:
            contender.facts |= more.get(contender.name, {})


def unique_names(contenders: Sequence[Contender]) -> list[str]:
    """Names, with the path where two would be alike."""
    names = [c.spec.name for c in contenders]
    return [
        f"{name} ({c.spec.path})" if names.count(name) > 1 else name
        for name, c in zip(names, contenders, strict=True)
    ]


def same_input(one: Contender, other: Contender) -> bool:
    """Whether two take the same clips."""
    return bool(one.facts.get("input") == other.facts.get("input"))


def timing_row(contender: Contender, turns: Turns) -> Row:
    """Latency of a call (of a stream: of its frame) and what comes out per second."""
    spec = contender.spec
    per_frame = spec.batch / contender.predictions if spec.form == STREAM else 1.0
    rate = turns.calls.per_second(contender.predictions)
    frames = {key: value * contender.frames for key, value in rate.items()}
    kind = "clips_per_s" if contender.frames > 1 or spec.form == CLIP else "predictions_per_s"
    return turns.scaled(per_frame).calls.as_dict() | {kind: rate, "frames_per_s": frames}


def ratio(
    reference: Contender, theirs: Turns, contender: Contender, ours: Turns
) -> dict[str, float]:
    """How many times faster than the reference a prediction is: turn by turn."""
    before = theirs.scaled(1 / reference.predictions).medians
    return speedup(before, ours.scaled(1 / contender.predictions).medians)


def busy_row(contender: Contender, quiet: Turns, busy: Turns, neighbours: int) -> Row:
    """Latency beside busy processes, and how many times that alone it is."""
    row = timing_row(contender, busy)
    before = timing_row(contender, quiet)
    return {
        "neighbours": neighbours,
        "p50_ms": row["p50_ms"],
        "p99_ms": row["p99_ms"],
        "p50_times": row["p50_ms"] / before["p50_ms"],
        "p99_times": row["p99_ms"] / before["p99_ms"],
    }
