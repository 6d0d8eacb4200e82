"""A benchmark's result as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slowfast.reports.table import Cell, Table

UNITS = {
    "params_m": "parameters (M)",
    "macs_g": "MACs (G), one multiply-add counts once",
    "flops_g": "FLOPs (G), 2 x MACs",
    "size_mib": "size of the files (MiB)",
    "peak_memory_mib": "peak memory, batch 1 (MiB)",
    "p50_ms": "p50 (ms)",
    "p90_ms": "p90 (ms)",
    "p99_ms": "p99 (ms)",
    "iqr_ms": "distance of the quartiles (ms)",
}
SPREAD = {"median", "q25", "q75"}


def benchmark_table(result: Mapping[str, Any]) -> Table:
    """One row per number; medians with the quartiles beside them."""
    rows: list[list[Cell]] = [[name, *cells] for name, cells in _rows(result, ())]
    return Table(["", "value", "quartile 25 %", "quartile 75 %"], rows)


def _rows(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, list[Cell]]]:
    name = ": ".join(UNITS.get(part, part.replace("_", " ")) for part in path)
    if not isinstance(value, Mapping):
        yield name, [value, None, None]
        return
    if value.keys() >= SPREAD:
        yield name, [value["median"], value["q25"], value["q75"]]
        value = {key: item for key, item in value.items() if key not in SPREAD}
    for key, item in value.items():
        yield from _rows(item, (*path, key))
