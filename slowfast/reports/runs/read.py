"""Reads folders of runs: logs, predictions, and the reports of the other tools."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from slowfast.engine.predictions import (
    ForeignArraysError,
    Predictions,
    PredictionsError,
    load_predictions,
)
from slowfast.engine.run import CONFIG_FILE
from slowfast.reports.runs.facts import ExportedFile, Runs, Training
from slowfast.reports.runs.gather import STEPS, Gathering
from slowfast.reports.stats import Record, read_stats
from slowfast.utils.errors import UserError
from slowfast.utils.plain_json import parse_json

logger = logging.getLogger(__name__)

TRAIN = "train"
LOGS = ("json_stats.log", "stdout.log")
SKIPPED = {"data", "cache", "checkpoints", "logs", "videos", "report_files"}
DEPTH = 3  # folders below those that are named
MAX_JSON = 50 * 2**20  # bytes


class RunsError(UserError, ValueError):
    """Folders in which there is nothing to report."""


def read_runs(folders: Mapping[str, Path | str]) -> Runs:
    """Everything that lies in folders of runs and their sub-folders.

    Args:
        folders: name -> folder. What lies in a sub-folder is named after that, but the training
            of a pipeline, in ``train``, has the name itself.

    Raises:
        RunsError: a folder is missing, or there is nothing in any of them.
    """
    named = _named_folders(folders)
    runs = Runs()
    for path, name in named.items():
        _read_logs(path, name, runs)
    documents = {path: list(_documents(path, runs)) for path in named}
    gathering = Gathering(runs, named)
    for path in named:
        gathering.add_training(path)
    reports = [(path, report) for path, found in documents.items() for _, report in found]
    # What others are made from comes first, and quantising after the others.
    for is_last, step in product((False, True), STEPS):
        for path, report in reports:
            if ("backend" in report) is is_last:
                gathering.add_report(path, report, step)
    for path, found in documents.items():
        runs.exports += _exports(named[path], found)
    for path in named:
        gathering.add_test(path, _predictions(path, runs))
    for path, report in reports:
        gathering.add_benchmark(path, report)
    _read_commands(named, runs)
    if not (runs.variants or runs.trainings or runs.exports):
        raise RunsError(
            f"nothing to report in {', '.join(str(f) for f in folders.values())}: no log of a "
            "training or test, no report of tools/prune.py, distill.py, quantize.py or benchmark.py"
        )
    return runs


def _exports(name: str, documents: list[tuple[Path, dict[str, Any]]]) -> list[ExportedFile]:
    return [
        ExportedFile(f"{name}/{file.stem}", file.with_suffix(""), document)
        for file, document in documents
        if document.get("streaming") or {"sha256", "inputs"} <= document.keys()
    ]


def _named_folders(folders: Mapping[str, Path | str]) -> dict[Path, str]:
    """All folders of runs, and what each is called."""
    named: dict[Path, str] = {}
    for name, folder in folders.items():
        root = Path(folder).resolve()
        if not root.is_dir():
            raise RunsError(f"{folder} is not a folder")
        for path in run_folders(root):
            below = path.relative_to(root).as_posix()
            inside = below if len(folders) == 1 else f"{name}/{below}"
            named.setdefault(path, name if below in {".", TRAIN} else inside)
    return named


def name_folders(words: Sequence[str]) -> dict[str, Path]:
    """Folders by name, from ``FOLDER`` or ``NAME=FOLDER`` each.

    Folders of the same name get as much of their path as tells them apart.

    Example:
        >>> list(name_folders(["runs/a", "b=runs/c/", "old/a"]))
        ['a', 'b', 'old/a']
    """
    found: dict[str, Path] = {}
    for word in words:
        name, is_named, folder = word.rpartition("=")
        if is_named and Path(word).is_dir():
            name, folder = "", word
        parts = Path(folder).resolve().parts
        length = 1
        name = name or parts[-1]
        while name in found and length < len(parts):
            length += 1
            name = "/".join(parts[-length:])
        found[name] = Path(folder)
    return found


def run_folders(root: Path) -> Iterator[Path]:
    """``root`` and the folders below it, in order, without data and checkpoints."""
    for folder, below, _ in os.walk(root):
        path = Path(folder)
        depth = len(path.relative_to(root).parts)
        below[:] = sorted(
            name for name in below
            if depth < DEPTH and name not in SKIPPED and not name.startswith(".")
        )  # fmt: skip
        yield path


def _read_logs(path: Path, name: str, runs: Runs) -> None:
    for log in LOGS:
        if (path / log).is_file():
            stats: dict[str, list[Record]] = read_stats(path / log)
            if stats:
                runs.trainings.append(Training(name, path, stats))
                return


def _documents(path: Path, runs: Runs) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The JSON objects in a folder."""
    for file in sorted(path.glob("*.json")):
        if file.stat().st_size > MAX_JSON:
            continue
        try:
            document = parse_json(file.read_text("utf-8"))
        except ValueError as error:
            runs.notes.append(f"{file}: {error}")
            continue
        if isinstance(document, dict):
            yield file, document


def _predictions(path: Path, runs: Runs) -> Predictions | None:
    """Scores in a folder; of several numbers of views, those with most."""
    found = []
    for file in sorted(path.glob("*.npz")):
        try:
            predictions = load_predictions(file)
        except ForeignArraysError:
            continue
        except PredictionsError as error:
            runs.notes.append(str(error))
            continue
        found.append(predictions)
    return max(found, key=lambda p: p.num_views, default=None)


def _read_commands(named: Mapping[Path, str], runs: Runs) -> None:
    """The commands of a pipeline's stages; else, of each training, the one that repeats it."""
    for path in named:
        for file in sorted(path.glob(".stages/*.sh"), key=lambda file: file.stat().st_mtime_ns):
            runs.commands[file.stem] = file.read_text("utf-8").strip()
    for path, name in named.items():
        known = path.name in runs.commands or path.parent.name in runs.commands
        if (path / CONFIG_FILE).is_file() and not known:
            runs.commands[name] = f"python tools/run_net.py --cfg {path / CONFIG_FILE}"
