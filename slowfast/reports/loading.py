"""What loading costs, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slowfast.deploy.benchmarks.decoding import STAGES
from slowfast.reports.benchmark import benchmark_table
from slowfast.reports.table import Cell, Table
from slowfast.reports.ways import way_tables

RATIOS = {
    "times_faster_than_pyslowfast": "x PySlowFast",
    "decoding_over_floor": "decoding / floor",
    "clip_over_floor": "clip / floor",
}


def tables(result: Mapping[str, Any]) -> list[Table]:
    """The result of any benchmark; what loading costs part by part, where it was measured."""
    if "rows" in result:
        return way_tables(result)
    if "one_core" in result or "contenders" in result:
        return loading_tables(result)
    return [benchmark_table(result)]


def loading_tables(result: Mapping[str, Any]) -> list[Table]:
    """The result of the loader or the decoding benchmark."""
    clips: Mapping[str, Any] = result.get("one_core", result)
    rest = {key: value for key, value in result.items() if key not in ("one_core", "contenders")}
    return [_clips_table(clips), _stages_table(clips), benchmark_table(rest)]


def _clips_table(clips: Mapping[str, Any]) -> Table:
    columns = ["way", "ms per clip", "clips/s", *RATIOS.values()]
    rows: list[list[Cell]] = []
    for name, numbers in clips["contenders"].items():
        row: list[Cell] = [name, _with_quartiles(numbers["ms_per_clip"])]
        row.append(numbers["clips_per_s"]["median"])
        row += [_with_quartiles(numbers[key]) if key in numbers else None for key in RATIOS]
        rows.append(row)
    title = f"{clips['clips']} random clips on one core: processor time, median (quartiles)"
    return Table(columns, rows, title)


def _stages_table(clips: Mapping[str, Any]) -> Table:
    shares = {
        name: numbers["share_percent"]
        for name, numbers in clips["contenders"].items()
        if "share_percent" in numbers
    }
    stages = [s for s in (*STAGES, "rest") if any(s in share for share in shares.values())]
    rows: list[list[Cell]] = [
        [name, *(_rounded(share.get(stage)) for stage in stages)] for name, share in shares.items()
    ]
    return Table(["way", *stages], rows, "Share of that time, percent")


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 1)


def _with_quartiles(numbers: Mapping[str, float]) -> str:
    low, high = numbers["q25"], numbers["q75"]
    return f"{numbers['median']:.2f} ({low:.2f} to {high:.2f})"
