"""What a quantisation did, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slowfast.reports.compression import COSTS, NAMES, TIMES
from slowfast.reports.table import Cell, Table

LATENCY = {**TIMES, "clips_per_s": "throughput (clips/s)"}


def quantization_table(report: Mapping[str, Any]) -> Table:
    """The float file, what it is compared with and what was made, side by side.

    Args:
        report: as ``slowfast.compression.quantization.run.run`` returns it.
    """
    rows = list(report["rows"].values())
    lines: list[list[Cell]] = [
        [title, *(row.get(key) for row in rows)] for key, title in COSTS.items()
    ]
    lines += [[title, *(row["latency"][key] for row in rows)] for key, title in LATENCY.items()]
    lines.append(["peak memory (MiB)", *(row.get("peak_mib") for row in rows)])
    metric = next((row["metric"] for row in rows if "metric" in row), "")
    lines.append([NAMES.get(metric, metric), *(row.get("accuracy") for row in rows)])
    lines.append(["agreement (%)", *(row.get("agreement") for row in rows)])
    faster = [report["faster"] if name == report["result"] else None for name in report["rows"]]
    lines.append(["faster than the others", *faster])
    return Table(["", *report["rows"]], lines, report["title"])
