"""What a compression did, as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from slowfast.reports.table import Cell, Table

COSTS = {"params_m": "params (M)", "macs_g": "MACs (G)", "size_mib": "size (MiB)"}
TIMES = {"p50_ms": "p50 (ms)", "p90_ms": "p90 (ms)"}
NAMES = {"top1_acc": "top-1 (%)", "map": "mAP (%)", "r2": "r2"}


def rows_table(rows: Mapping[str, Mapping[str, Any]], title: str = "") -> Table:
    """Networks under one another: costs, latency, accuracy, agreement with the first.

    Args:
        rows: name of a network -> its numbers, as a report has them.
        title: above.
    """
    return _table(list(rows), list(rows.values()), "network", title)


def tradeoff_table(points: Sequence[Mapping[str, Any]], title: str = "") -> Table:
    """The networks that were timed in search of a latency, by pruning ratio."""
    return _table([point["ratio"] for point in points], points, "ratio", title)


def _table(
    names: Sequence[Cell], rows: Sequence[Mapping[str, Any]], first: str, title: str
) -> Table:
    metric = next((row["metric"] for row in rows if "metric" in row), "")
    columns = [first, *COSTS.values()]
    cells: list[list[Cell]] = [
        [name, *(row.get(key) for key in COSTS)] for name, row in zip(names, rows, strict=True)
    ]
    timed = any("latency" in row for row in rows)
    agrees = any("agreement" in row for row in rows)
    for row, line in zip(rows, cells, strict=True):
        if timed:
            line += [row.get("latency", {}).get(key) for key in TIMES]
        if metric:
            line.append(row.get("accuracy"))
        if agrees:
            line.append(row.get("agreement"))
    columns += list(TIMES.values()) if timed else []
    columns += [NAMES.get(metric, metric)] if metric else []
    columns += ["agreement (%)"] if agrees else []
    return Table(columns, cells, title)
