"""What tools/benchmark.py found out, put to the networks it is about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from slowfast.deploy.export.info import checksums
from slowfast.reports.runs.facts import PLAIN, Runs, Speed, Variant

CLOSE = 1e-4  # relative difference of the costs of one network, counted by two tools
NAMES = {
    "eager": PLAIN,
    "compile": "torch.compile",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "torch_export": "torch.export",
}
FULL = ("", "f32", "float32")
CLIP, STREAM = "clip", "stream"


def runtime_name(row: Mapping[str, Any]) -> str:
    """A runtime as it is written, with what else tells two latencies apart.

    Example:
        >>> runtime_name({"runtime": "openvino", "precision": "bf16", "threads": 1})
        'OpenVINO bf16, 1 thread'
    """
    name = str(row.get("runtime", "eager"))
    text = NAMES.get(name, name)
    device, precision = str(row.get("device", "cpu")), str(row.get("precision", ""))
    text += "" if precision in FULL else f" {precision}"
    text += "" if device == "cpu" else f" ({device})"
    threads = row.get("threads", 0) if "precision" in row else 0  # of a machine: all there are
    return text + (f", {threads} thread{'s' if threads > 1 else ''}" if threads else "")


def same_costs(variant: Variant, facts: Mapping[str, Any]) -> bool:
    """Whether parameters and MACs are those of a network."""
    return all(_close(getattr(variant, key), facts.get(key)) for key in ("params_m", "macs_g"))


def add_ways(runs: Runs, document: Mapping[str, Any], machine: str) -> Iterator[Mapping[str, Any]]:
    """Put the rows of a benchmark of several ways to networks; what is left over comes back.

    Args:
        runs: has the networks and the exported files.
        document: with ``rows``, a list.
        machine: where it ran.
    """
    last: Variant | None = None
    for row in document["rows"]:
        form = row.get("form", CLIP)
        if form == CLIP:
            variant = _of_clip(runs, row)
        elif form == STREAM:
            variant = _of_stream(runs, row) or last
        else:
            continue  # yardsticks: other programs' ways
        if variant is None:
            yield row
            continue
        last = variant
        (_take_clip if form == CLIP else _take_stream)(variant, row, machine)


def made_from(runs: Runs, source: Mapping[str, str]) -> Variant | None:
    """The network of a checkpoint that a description or a benchmark names.

    Args:
        runs: has the networks.
        source: ``file``, and ``sha256`` for where it has been moved since.
    """
    known = [v for v in runs.variants if v.checkpoint is not None and v.checkpoint.is_file()]
    for variant in known:
        if str(_resolved(variant)) == source.get("file"):
            return variant
    if source.get("sha256"):
        for variant in known:
            if dict(checksums(_resolved(variant))).get(_resolved(variant).name) == source["sha256"]:
                return variant
    return None


def _resolved(variant: Variant) -> Path:
    assert variant.checkpoint is not None
    return variant.checkpoint.resolve()


def _of_clip(runs: Runs, row: Mapping[str, Any]) -> Variant | None:
    found = made_from(runs, row.get("source", {}))
    if found is not None and same_costs(found, row):
        return found
    alike = [variant for variant in runs.variants if same_costs(variant, row)]
    named = [v for v in alike if v.checkpoint is not None and v.checkpoint.name == row.get("model")]
    return next(iter(named or alike), None)


def _of_stream(runs: Runs, row: Mapping[str, Any]) -> Variant | None:
    """The network of a stream: the checkpoint it says it is of; in older files, by its name."""
    found = made_from(runs, row.get("source", {}))
    if found is not None or row.get("source", {}).get("sha256"):
        return found
    stem = Path(str(row.get("model"))).stem.removesuffix("_stream")  # as tools/export.py calls it
    named = [v for v in runs.variants if v.checkpoint is not None and v.checkpoint.stem == stem]
    return named[0] if len(named) == 1 else None


def _take_clip(variant: Variant, row: Mapping[str, Any], machine: str) -> None:
    rate = (row.get("clips_per_s") or {}).get("median")
    if rate is not None and row.get("batch", 1) > 1:
        variant.throughput = max(rate, variant.throughput or 0.0)
    if row.get("batch", 1) == 1 and "p50_ms" in row:
        speed = Speed(runtime_name(row), row["p50_ms"], row.get("p90_ms"), machine, by_turns=True)
        variant.add_speed(speed)
    variant.fill(size_mib=row.get("size_mib"))
    memory = row.get("peak_memory_mib")
    if memory is not None:
        variant.memory_mib = min(memory, variant.memory_mib or memory)


def _take_stream(variant: Variant, row: Mapping[str, Any], machine: str) -> None:
    rate = (row.get("frames_per_s") or {}).get("median")
    if rate is not None:
        variant.stream_fps = max(rate / row.get("batch", 1), variant.stream_fps or 0.0)


def _close(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and abs(a - b) <= CLOSE * max(abs(a), abs(b))
