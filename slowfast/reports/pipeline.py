"""The page at the end of a pipeline run: one table, pictures, and where everything lies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from slowfast.reports.figures import curves_figure, save_figure
from slowfast.reports.stats import read_stats
from slowfast.reports.table import Cell, Table

COLUMNS = (
    "model",
    "top-1 (%)",
    "top-5 (%)",
    "params (M)",
    "MACs (G)",
    "FLOPs (G)",
    "latency p50 (ms)",
    "clips/s",
)


def write_report(output_dir: Path, name: str) -> list[Path]:
    """Shows the table and writes it, with pictures, as ``report.md``; what there is to look at.

    Stages that have not run leave ``-`` in the table.

    Args:
        output_dir: of the pipeline.
        name: of the model, for the table.
    """
    table = results_table(output_dir, name)
    table.show()
    pictures = [*_curves(output_dir), *sorted(output_dir.glob("test/*.png"))]
    lines = [f"# {name}", "", table.markdown(), ""]
    machine = _benchmark(output_dir).get("machine")
    if machine:
        lines += [
            f"Latency: batch 1, {machine['name']}, {machine['threads']} threads, "
            f"torch {machine['torch']}.",
            "",
        ]
    for path in pictures:
        lines += [f"![{path.stem}]({path.relative_to(output_dir).as_posix()})", ""]
    report = output_dir / "report.md"
    output_dir.mkdir(parents=True, exist_ok=True)
    report.write_text("\n".join(lines), "utf-8")
    found = [report, *(output_dir / name for name in ("train/checkpoints/best.pyth", "logs"))]
    return [path for path in [*found, *pictures] if path.exists()]


def results_table(output_dir: Path, name: str) -> Table:
    """Accuracy from the test stage, cost from the benchmark stage."""
    tested, cost = _test(output_dir), _benchmark(output_dir)
    macs = cost.get("macs_g")
    row: list[Cell] = [
        name,
        _number(tested.get("top1_acc")),
        _number(tested.get("top5_acc")),
        cost.get("params_m"),
        macs,
        None if macs is None else 2 * macs,
        cost.get("latency", {}).get("p50_ms"),
        cost.get("throughput", {}).get("median"),
    ]
    return Table(COLUMNS, [row])


def _number(value: Any) -> float | None:
    return None if value is None else float(value)  # PySlowFast logs them as text


def _test(output_dir: Path) -> dict[str, Any]:
    log = output_dir / "test/stdout.log"
    records = read_stats(log).get("test_final", []) if log.exists() else []
    return records[-1] if records else {}


def _benchmark(output_dir: Path) -> dict[str, Any]:
    path = output_dir / "benchmark/benchmark.json"
    result: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return result


def _curves(output_dir: Path) -> list[Path]:
    log = output_dir / "train/stdout.log"
    stats = read_stats(log) if log.exists() else {}
    if not any(kind in stats for kind in ("train_epoch", "val_epoch")):
        return []
    return [save_figure(curves_figure(stats), output_dir / "train/curves.png")]
