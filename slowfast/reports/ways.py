"""Ways of running models, side by side: tables and a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowfast.reports.benchmark import benchmark_table
from slowfast.reports.figures import save_figure
from slowfast.reports.table import Cell, Table
from slowfast.utils.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = Mapping[str, Any]
SPEED = {
    "threads": "threads",
    "batch": "batch",
    "p50_ms": "p50 (ms)",
    "p90_ms": "p90 (ms)",
    "p99_ms": "p99 (ms)",
    "clips_per_s": "clips/s",
    "predictions_per_s": "predictions/s",
    "frames_per_s": "frames/s",
    "ratio": "times as fast",
    "cox3d_ratio": "times as fast as CoX3D",
    "busy.p50_ms": "busy p50 (ms)",
    "busy.p99_ms": "busy p99 (ms)",
    "busy.p50_times": "busy / quiet, p50",
    "busy.p99_times": "busy / quiet, p99",
}
COST = {
    "runtime": "runtime",
    "input": "input",
    "params_m": "params (M)",
    "macs_g": "MACs (G)",
    "flops_g": "FLOPs (G)",
    "size_mib": "size (MiB)",
    "peak_memory_mib": "peak memory (MiB)",
    "state_mb": "state (MB)",
    "joules": "energy (J)",
    "accuracy": "accuracy (%)",
    "agreement": "agreement (%)",
    "max_score_difference": "largest difference",
    "from_file.frames_per_s.overall": "frames/s from file",
}
SPREAD = ("ratio", "cox3d_ratio")


def way_tables(result: Mapping[str, Any]) -> list[Table]:
    """What :func:`slowfast.deploy.benchmarks.compare.measure` returns: speed, cost, the rest."""
    rows = result["rows"]
    found = [
        _table(rows, SPEED, f"Speed; {result['reference']} = 1 (quartiles)"),
        _table(_once(rows), COST, f"Cost and answers ({result['answers'] or 'not compared'})"),
    ]
    if result.get("not_measured"):
        lines = [[name, why] for name, why in result["not_measured"].items()]
        found.append(Table(["not measured", "why"], lines))
    rest: dict[str, Any] = {"energy": result["energy"], "machine": result["machine"]}
    if "choice" in result:
        found.append(Table(["precision"], [[line] for line in result["choice"]["why"]]))
    return [*found, benchmark_table(rest)]


def _once(rows: Sequence[Row]) -> list[Row]:
    """The first row of each name: cost does not depend on threads."""
    return list({row["name"]: row for row in reversed(rows)}.values())[::-1]


def _table(rows: Sequence[Row], columns: Mapping[str, str], title: str) -> Table:
    """The columns that any row has."""
    cells = {key: [_cell(row, key) for row in rows] for key in columns}
    used = [key for key in columns if any(cell is not None for cell in cells[key])]
    lines: list[list[Cell]] = [
        [row["name"], *(cells[key][i] for key in used)] for i, row in enumerate(rows)
    ]
    return Table(["", *(columns[key] for key in used)], lines, title)


def _cell(row: Row, key: str) -> Cell:
    value: Any = row
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping):
        return value
    if key in SPREAD:
        return f"{value['median']:.2f} ({value['q25']:.2f} to {value['q75']:.2f})"
    return float(value["median"])


def quality_figure(rows: Sequence[Row]) -> Figure | None:
    """Accuracy (or agreement with f32, where no accuracy was measured) against latency.

    Args:
        rows: of a result.

    Returns:
        ``None`` where no row says how good it is.
    """
    from matplotlib.figure import Figure

    known = "accuracy" if any("accuracy" in row for row in rows) else "agreement"
    points = [row for row in rows if row.get(known) is not None]
    if not points:
        return None
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for row in points:
        label = row["name"] + (f", {row['threads']} threads" if row["threads"] else "")
        label += f", batch {row['batch']}" if row["batch"] > 1 else ""
        axes.plot(row["p50_ms"] / row["batch"], row[known], "o", label=label)
    named = {"accuracy": "top-1 accuracy", "agreement": "agreement with f32"}
    axes.set(xscale="log", xlabel="latency per prediction, p50 (ms)", ylabel=f"{named[known]} (%)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7)
    return figure


def write_result(result: Mapping[str, Any], path: Path) -> list[Path]:
    """Write figures as JSON; of ways of running also tables (``.md``) and a picture (``.png``).

    Returns:
        The files.
    """
    write_text(path, json.dumps(result, indent=1) + "\n")
    files = [path]
    if "rows" not in result:
        return files
    text = "\n\n".join(table.markdown() for table in way_tables(result))
    files.append(path.with_suffix(".md"))
    write_text(files[-1], text + "\n")
    figure = quality_figure(result["rows"])
    if figure is not None:
        files.append(save_figure(figure, path.with_suffix(".png")))
    return files
