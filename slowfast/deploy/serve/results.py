"""Predictions as JSON, and the stretches of a video that they make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from slowfast.deploy.recognition import Recognition

Names = Mapping[str, Sequence[str]]
Entry = dict[str, Any]


def guess_entries(found: Recognition, top: int, names: Names) -> dict[str, list[Entry]]:
    """Task -> its best classes."""
    return {
        task: [{"class": i, "name": name, "score": round(score, 5)} for i, name, score in guesses]
        for task, guesses in found.top(top, names).items()
    }


def prediction_entry(found: Recognition, top: int, names: Names) -> Entry:
    """A prediction: when it was made, what it is about, the best classes, what it took."""
    return {
        "time_s": round(found.time_s, 3),
        "start_s": round(found.start_s, 3),
        "end_s": round(found.end_s, 3),
        "inference_ms": round(found.seconds * 1e3, 2),
        "top": guess_entries(found, top, names),
    }


def stretches(found: Iterable[Recognition]) -> Iterable[tuple[float, float, Recognition]]:
    """When each prediction is the newest one: from the one before it to its own time.

    The first one counts from the beginning of what it is about. So does one that is about later
    frames only.
    """
    last = -np.inf
    for one in found:
        start = last if one.start_s <= last <= one.time_s else one.start_s
        yield start, one.time_s, one
        last = one.time_s


def segment_entries(found: Sequence[Recognition], top: int, names: Names) -> dict[str, list[Entry]]:
    """Task -> stretches of a video with the same best class, and their mean scores."""
    segments: dict[str, list[Entry]] = {}
    for task in found[0].scores if found else ():
        rows: list[tuple[float, float, list[Recognition]]] = []
        for start, end, one in stretches(found):
            if rows and rows[-1][1] == start and _best(rows[-1][2][0], task) == _best(one, task):
                rows[-1][2].append(one)
                rows[-1] = (rows[-1][0], end, rows[-1][2])
            else:
                rows.append((start, end, [one]))
        segments[task] = [_segment(task, *row, top, names) for row in rows]
    return segments


def summary_entry(found: Sequence[Recognition], top: int, names: Names) -> dict[str, list[Entry]]:
    """Task -> the best classes by mean score over all predictions."""
    return guess_entries(mean_of(found), top, names) if found else {}


def mean_of(found: Sequence[Recognition]) -> Recognition:
    """All predictions as one, with their mean scores."""
    scores = {
        task: np.mean([one.scores[task] for one in found], axis=0) for task in found[0].scores
    }
    return Recognition(found[0].start_s, found[-1].end_s, scores, 0.0, found[-1].time_s)


def _best(found: Recognition, task: str) -> int:
    return int(found.scores[task].argmax())


def _segment(
    task: str, start: float, end: float, found: list[Recognition], top: int, names: Names
) -> Entry:
    mean, label = mean_of(found), _best(found[0], task)
    return {
        "start_s": round(start, 3),
        "end_s": round(end, 3),
        "class": label,
        "name": names[task][label],
        "score": round(float(mean.scores[task][label]), 5),
        "predictions": len(found),
        "top": guess_entries(mean, top, names)[task],
    }
