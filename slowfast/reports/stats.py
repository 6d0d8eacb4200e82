"""Reads what training wrote: PySlowFast's ``json_stats:`` lines, or bare JSON lines."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

from slowfast.utils.plain_json import parse_json

MARK = "json_stats:"
Record = dict[str, Any]


def read_stats(path: Path | str) -> dict[str, list[Record]]:
    """Records of a ``stdout.log``, ``json_stats.log`` or ``.jsonl`` file by their ``_type``.

    Other lines, and a last line cut off by a crash, are passed over.

    Returns:
        ``{"train_epoch": [...], "val_epoch": [...], ...}``, in the order of the file.
    """
    records: dict[str, list[Record]] = defaultdict(list)
    for line in Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
        text = line.partition(MARK)[2] if MARK in line else line
        try:
            record = parse_json(text)
        except ValueError:
            continue
        kind = _kind(record)
        if kind:
            records[kind].append(record)
    return dict(records)


def _kind(record: Any) -> str:
    """``_type``; PySlowFast's test lines name it ``split``."""
    return str(record.get("_type") or record.get("split") or "") if isinstance(record, dict) else ""


def epoch_of(record: Record) -> float:
    """The epoch a record speaks of, counted from 1: ``"3/20"`` or ``3`` -> 3."""
    return float(str(record["epoch"]).split("/")[0])


def series(records: list[Record], key: str) -> tuple[list[float], list[float]]:
    """Epochs and values of ``key``. A resumed run repeats an epoch: its last record counts."""
    points = {epoch_of(r): float(r[key]) for r in records if key in r and "epoch" in r}
    epochs = sorted(points)
    return epochs, [points[epoch] for epoch in epochs]
