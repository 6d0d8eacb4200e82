"""``metrics.yaml``: what a model costs and how well it does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from slowfast.models.profile import Cost
from slowfast.utils.errors import UserError

Entry = dict[str, Any]
DIGITS = 3


def metric_entries(cost: Cost, scores: Mapping[str, float]) -> list[Entry]:
    """The entries of ``metrics``, under their right names.

    ``complexity`` counts a multiply-accumulate as two operations, as OpenVINO Training Extensions
    does; ``macs`` as one. What that program calls top-1 accuracy is the mean over the classes;
    here ``accuracy`` is the share of right clips and ``mean_class_accuracy`` the other.

    Args:
        cost: of one clip.
        scores: of an evaluation: ``top1_acc``, ``mean_class_acc`` in percent, and others.
    """
    macs = cost.macs_test_crop / 1e9
    rows = [
        ("size", "Size", cost.parameters / 1e6, "Mp"),
        ("complexity", "Complexity", 2 * macs, "GFLOPs"),
        ("macs", "Multiply-accumulates", macs, "GMACs"),
        ("accuracy", "Top-1 accuracy", scores["top1_acc"], "%"),
        ("mean_class_accuracy", "Mean class accuracy", scores["mean_class_acc"], "%"),
    ]
    return [
        {"key": key, "display_name": name, "value": round(float(value), DIGITS), "unit": unit}
        for key, name, value, unit in rows
    ]


def write_metrics(path: Path, files: list[Entry], metrics: list[Entry]) -> Path:
    """Write ``metrics.yaml``; entries of other keys and files that it has stay.

    Raises:
        UserError: there is a file of another kind.
    """
    found: Any = {}
    if path.is_file():
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    if not isinstance(found, dict):
        raise UserError(f"{path} is there and is no metrics file: give another name")
    content = {
        "files": _merged(found.get("files", []), files, "name"),
        "metrics": _merged(found.get("metrics", []), metrics, "key"),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(yaml.safe_dump({**found, **content}, sort_keys=False), encoding="utf-8")
    partial.replace(path)
    return path


def _merged(old: list[Entry], new: list[Entry], key: str) -> list[Entry]:
    entries = {entry[key]: entry for entry in old}
    return [*(entries | {entry[key]: entry for entry in new}).values()]
