"""From result files to the EPIC-KITCHENS-100 leaderboard: report, ensemble, submission.

The submission format is version 0.2 of the action recognition challenge: a zip with ``test.json``.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile

import numpy as np

from slowfast.datasets.epic_kitchens import read_segments
from slowfast.datasets.epic_results import Results, ResultsError, check_free
from slowfast.engine.epic import challenge_metrics, read_subsets
from slowfast.metrics.epic import (
    ACTION_CLASSES,
    NUM_NOUNS,
    NUM_VERBS,
    log_probabilities,
    looks_like_probabilities,
    rank_actions,
)
from slowfast.reports.table import Table
from slowfast.utils.archives import MOST_UNPACKED, check_unpacked
from slowfast.utils.plain_json import parse_json

VERSION = "0.2"
CHALLENGES = ("action_recognition", "action_anticipation")
SUPERVISION = ("sls_pt", "sls_tl", "sls_td")
FILE_NAME = "test.json"
_CLASSES = {"verb": NUM_VERBS, "noun": NUM_NOUNS}
_SHOWN = 5
_COLUMNS = [(task, k) for k in (1, 5) for task in ("verb", "noun", "action")]

_logger = logging.getLogger(__name__)


def check_narrations(results: Results, expected: Sequence[str], *, partial: bool = False) -> None:
    """Whether there is a result for every narration id and no other.

    Args:
        results: scores by narration id.
        expected: narration ids of the annotations.
        partial: allow missing ones, with a warning.

    Raises:
        ResultsError: narration ids missing or unexpected; the message counts and names them.
    """
    there, wanted = set(results.narration_id), set(expected)
    missing = [name for name in expected if name not in there]
    extra = [name for name in results.narration_id if name not in wanted]
    if extra:
        raise ResultsError(
            f"{results.source}: {len(extra)} narration ids that are not in the annotations: "
            f"{_some(extra)}. Is it the right split?"
        )
    if missing and not (partial and there):
        raise ResultsError(
            f"{results.source}: {len(missing)} of {len(expected)} narration ids are missing: "
            f"{_some(missing)}"
        )
    if missing:
        _logger.warning(
            "%s has %d of %d segments: its figures are not those of the dataset",
            results.source, len(there), len(expected),
        )  # fmt: skip


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def validation_report(
    results: Results,
    annotations_dir: str | Path,
    *,
    labels: str = "EPIC_100_validation.csv",
    partial: bool = False,
) -> dict[str, float]:
    """The challenge's accuracies of results on a labelled split, in percent.

    Args:
        results: scores by narration id; logits or log-probabilities.
        annotations_dir: folder of the official annotations.
        labels: the split's file there.
        partial: allow results for a part of the split.

    Returns:
        See :func:`slowfast.metrics.epic.epic_accuracies`; also ``num_segments``. Tail classes and
        unseen participants only where the folder has their lists.
    """
    folder = Path(annotations_dir)
    segments = {segment.narration_id: segment for segment in read_segments(folder / labels)}
    check_narrations(results, list(segments), partial=partial)
    for task, scores in (("verb", results.verb_output), ("noun", results.noun_output)):
        if looks_like_probabilities(scores):
            _logger.warning(
                "%s: %s scores look like probabilities. The challenge takes scores as logits: "
                "the action top-5 suffers. `epic_submission.py ensemble` of this one file writes "
                "their logarithms",
                results.source, task,
            )  # fmt: skip
    metrics = challenge_metrics(results, segments, read_subsets(folder))
    return {**metrics, "num_segments": float(len(results))}


def format_report(accuracies: Mapping[str, float]) -> str:
    """A small Markdown table of a validation report.

    Example:
        >>> print(format_report({"all_verb_accuracy_at_1": 61.0, "num_segments": 4.0}))
        4 segments, percent
        <BLANKLINE>
        | | verb@1 | noun@1 | action@1 | verb@5 | noun@5 | action@5 |
        |---|---|---|---|---|---|---|
        | all | 61.00 | - | - | - | - | - |
    """
    lines = [
        f"{accuracies['num_segments']:.0f} segments, percent",
        "",
        "| | " + " | ".join(f"{task}@{k}" for task, k in _COLUMNS) + " |",
        "|---" * (len(_COLUMNS) + 1) + "|",
    ]
    for subset, *cells in _subset_rows(accuracies):
        shown = ("-" if cell is None else f"{cell:.2f}" for cell in cells)
        lines.append(f"| {subset} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def challenge_table(accuracies: Mapping[str, float]) -> Table:
    """A row for all segments, tail classes and unseen participants, as far as there are figures.

    Args:
        accuracies: by the challenge's names, among others.
    """
    columns = ["segments", *(f"{task}@{k}" for task, k in _COLUMNS)]
    return Table(columns, list(_subset_rows(accuracies)), "EPIC-KITCHENS challenge, %")


def _subset_rows(accuracies: Mapping[str, float]) -> Iterator[list[Any]]:
    for subset in ("all", "tail", "unseen"):
        cells = [accuracies.get(f"{subset}_{task}_accuracy_at_{k}") for task, k in _COLUMNS]
        if any(cell is not None for cell in cells):
            yield [subset, *cells]


def ensemble(runs: Sequence[Results], weights: Sequence[float] | None = None) -> Results:
    """The weighted average of the runs' log-probabilities.

    Logits, log-probabilities and probabilities (also summed over views) may be mixed, see
    :func:`slowfast.metrics.epic.log_probabilities`.

    Args:
        runs: results for the same segments, in any order.
        weights: one per run, positive; equal by default. Only their proportions count.

    Raises:
        ResultsError: other segments, other numbers of classes.
        ValueError: weights that do not fit.
    """
    if not runs:
        raise ValueError("nothing to ensemble")
    shares = np.asarray(weights if weights else [1.0] * len(runs), dtype=np.float64)
    if shares.shape != (len(runs),) or not np.isfinite(shares).all() or shares.min() <= 0:
        raise ValueError(f"weights {list(weights or [])}: {len(runs)} positive numbers are needed")
    shares = shares / shares.sum()
    first = runs[0]
    total = {"verb_output": 0.0, "noun_output": 0.0}
    for run, share in zip(runs, shares, strict=True):
        check_narrations(run, first.narration_id)
        ordered = run.in_order(first.narration_id)
        for key, sum_so_far in total.items():
            scores = getattr(ordered, key)
            if scores.shape != getattr(first, key).shape:
                raise ResultsError(
                    f"{run.source}: {key} has {scores.shape[1]} classes, "
                    f"{first.source} {getattr(first, key).shape[1]}"
                )
            total[key] = sum_so_far + share * log_probabilities(scores)
    return Results(
        np.asarray(total["verb_output"]),
        np.asarray(total["noun_output"]),
        first.narration_id,
        "ensemble of " + ", ".join(run.source for run in runs),
    )


def write_submission(
    path: str | Path,
    results: Results,
    narration_ids: Sequence[str],
    *,
    supervision: tuple[int, int, int] = (2, 3, 4),
    challenge: str = CHALLENGES[0],
    actions: bool = False,
    force: bool = False,
) -> None:
    """Writes the challenge's zip after all checks of its validator, whole or not at all.

    Args:
        path: the zip.
        results: scores, 97 verbs and 300 nouns; probabilities are turned into logarithms.
        narration_ids: of the split's annotations; each must have a result, and no other.
        supervision: levels PT (pretraining), TL (training labels), TD (training data), 0 to 5;
            the defaults are the official program's: public images and video, full temporal
            labels, training and validation set.
        challenge: name of the challenge.
        actions: also write each segment's 100 best actions; the server computes the same.
        force: overwrite.

    Raises:
        FileExistsError: the zip is there and ``force`` is not set.
        ResultsError: what the validator would refuse.
    """
    path = Path(path)
    check_free(path, force=force)
    check_narrations(results, narration_ids)
    results = results.in_order(narration_ids)
    header: dict[str, Any] = {"version": VERSION, "challenge": challenge}
    header |= zip(SUPERVISION, supervision, strict=True)
    _raise_problems(str(path), _header_problems(header))
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        with (
            ZipFile(part, "w", compression=ZIP_DEFLATED, compresslevel=5) as zipped,
            zipped.open(FILE_NAME, "w", force_zip64=True) as file,
        ):
            file.write((json.dumps(header)[:-1] + ', "results": {').encode())
            for row, (name, entry) in enumerate(_entries(results, actions)):
                _raise_problems(str(path), _segment_problems(name, entry, actions))
                text = f"{json.dumps(name)}: {json.dumps(entry)}"
                file.write(((", " if row else "") + text).encode())
            file.write(b"}}")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _entries(results: Results, actions: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Narration id and scores of each segment, as the file holds them."""
    outputs = {"verb": results.verb_output, "noun": results.noun_output}
    tables = {
        task: log_probabilities(table) if looks_like_probabilities(table) else table
        for task, table in outputs.items()
    }
    keys = {task: [str(number) for number in range(t.shape[1])] for task, t in tables.items()}
    if actions:
        verbs, nouns, values = rank_actions(
            tables["verb"], tables["noun"], ACTION_CLASSES, per_row=True
        )
    for row, name in enumerate(results.narration_id):
        entry = {
            task: dict(zip(keys[task], table[row].tolist(), strict=True))
            for task, table in tables.items()
        }
        if actions:
            pairs = zip(verbs[row], nouns[row], values[row].tolist(), strict=True)
            entry["action"] = {f"{verb},{noun}": value for verb, noun, value in pairs}
        yield name, entry


def read_submission(path: str | Path) -> Any:
    """The document in a submission's zip.

    Raises:
        ResultsError: not a zip with ``test.json``, or that is not JSON.
    """
    try:
        with ZipFile(path) as zipped:
            if zipped.namelist() != [FILE_NAME]:
                raise ResultsError(f"{path}: holds {zipped.namelist()}, expected {FILE_NAME} only")
            check_unpacked(zipped, Path(path), MOST_UNPACKED)
            return parse_json(zipped.read(FILE_NAME))
    except (BadZipFile, ValueError, EOFError, OSError, RuntimeError) as error:
        raise ResultsError(f"{path}: {error}") from error


def check_submission(
    document: Any, narration_ids: Sequence[str], source: str = "submission"
) -> None:
    """All checks of the challenge's validator, and that scores are finite.

    Args:
        document: what :func:`read_submission` returns.
        narration_ids: of the split's annotations.
        source: the file, for messages.

    Raises:
        ResultsError: listing the first problems found.
    """
    if not isinstance(document, dict):
        raise ResultsError(f"{source}: not a JSON object")
    _raise_problems(source, _header_problems(document))
    segments = document.get("results")
    if not isinstance(segments, dict):
        raise ResultsError(f"{source}: no property 'results'")
    wanted = set(narration_ids)
    missing = [name for name in narration_ids if name not in segments]
    extra = [name for name in segments if name not in wanted]
    problems = [f"{len(missing)} narration ids are missing: {_some(missing)}"] if missing else []
    problems += [f"{len(extra)} narration ids are unexpected: {_some(extra)}"] if extra else []
    _raise_problems(source, problems)
    actions = any("action" in entry for entry in segments.values())
    for name, entry in segments.items():
        _raise_problems(source, _segment_problems(name, entry, actions))


def _raise_problems(source: str, problems: Sequence[str]) -> None:
    if problems:
        raise ResultsError(f"{source}: {'; '.join(problems[:_SHOWN])}")


def _header_problems(document: Mapping[str, Any]) -> list[str]:
    problems = []
    if document.get("version") != VERSION:
        problems.append(f"version {document.get('version')!r}, supported is {VERSION!r}")
    if document.get("challenge") not in CHALLENGES:
        problems.append(f"challenge {document.get('challenge')!r}, known are {CHALLENGES}")
    for key in SUPERVISION:
        level = document.get(key)
        if not isinstance(level, int) or isinstance(level, bool) or not 0 <= level <= 5:
            problems.append(f"{key} {level!r}, expected a level of supervision from 0 to 5")
    return problems


def _segment_problems(name: str, entry: Any, actions: bool) -> list[str]:
    problems = []
    for task, classes in _CLASSES.items():
        scores = entry.get(task)
        if not isinstance(scores, dict):
            problems.append(f"segment {name} has no {task} scores")
            continue
        problems += [f"segment {name}: {text}" for text in _class_problems(task, scores, classes)]
    if actions != ("action" in entry):
        problems.append(f"segment {name}: action scores must be given for all segments or for none")
    elif actions:
        problems += [f"segment {name}: {text}" for text in _action_problems(entry["action"])]
    return problems


def _class_problems(task: str, scores: Mapping[str, Any], classes: int) -> list[str]:
    expected = {str(number) for number in range(classes)}
    missing, extra = expected - scores.keys(), scores.keys() - expected
    problems = [f"{task} classes missing: {_some(sorted(missing, key=int))}"] if missing else []
    problems += [f"unexpected {task} classes: {_some(sorted(extra))}"] if extra else []
    bad = [key for key, score in scores.items() if not _is_number(score)]
    return problems + ([f"{task} scores that are no finite numbers: {_some(bad)}"] if bad else [])


def _action_problems(scores: Any) -> list[str]:
    if not isinstance(scores, dict) or len(scores) != ACTION_CLASSES:
        count = len(scores) if isinstance(scores, dict) else "no"
        return [f"{count} action scores, expected {ACTION_CLASSES}"]
    bad = [key for key, score in scores.items() if not _is_action(key) or not _is_number(score)]
    return [f"bad action entries ('<verb>,<noun>': number): {_some(bad)}"] if bad else []


def _is_action(key: str) -> bool:
    parts = key.split(",")
    return (
        len(parts) == 2
        and all(part.strip().isdecimal() for part in parts)
        and all(int(part) < limit for part, limit in zip(parts, _CLASSES.values(), strict=True))
    )


def _is_number(score: Any) -> bool:
    return (
        isinstance(score, int | float)
        and not isinstance(score, bool)
        and score - score == 0  # neither NaN nor infinite
    )
