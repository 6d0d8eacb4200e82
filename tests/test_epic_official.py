"""Saved predictions of the whole official validation set, scored through the tools.

The oracle is the plain loop over segments and pairs of ``tests/metrics/test_epic.py``.
"""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from slowfast.datasets.epic_kitchens import read_segments
from slowfast.datasets.epic_results import Results, write_results
from slowfast.engine.epic import read_subsets
from tests.metrics.test_epic import loop_accuracies
from tools.epic_submission import main

REAL = Path(__file__).parents[2] / "shared/data/epic-kitchens-100-annotations"
pytestmark = pytest.mark.skipif(
    not REAL.is_dir(), reason="the official annotations are not beside the checkout"
)


@pytest.fixture(scope="module")
def rows():
    """The validation list by Python's own reader."""
    with open(REAL / "EPIC_100_validation.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_classes_that_occur():
    segments = read_segments(REAL / "EPIC_100_validation.csv")
    verbs = Counter(segment.verb for segment in segments)
    nouns = Counter(segment.noun for segment in segments)
    assert (len(segments), len(verbs), len(nouns)) == (9668, 78, 211)
    assert (verbs[0], nouns[2]) == (1937, 430)  # take, plate


def test_subsets(rows):
    subsets = read_subsets(REAL)
    verb = [int(row["verb_class"]) in subsets.tail_verbs for row in rows]
    noun = [int(row["noun_class"]) in subsets.tail_nouns for row in rows]
    either = [one or other for one, other in zip(verb, noun, strict=True)]
    assert (sum(verb), sum(noun), sum(either)) == (1760, 1900, 3105)
    assert sum(row["participant_id"] in subsets.unseen for row in rows) == 1065


def tied_scores(rows):
    """Rounded scores: verbs to tenths, nouns to whole numbers; the label's are raised."""
    rng = np.random.default_rng(0)
    tables = []
    for task, classes, decimals in (("verb", 97, 1), ("noun", 300, 0)):
        scores = rng.normal(size=(len(rows), classes)) * 2
        labels = [int(row[f"{task}_class"]) for row in rows]
        scores[np.arange(len(rows)), labels] += rng.normal(size=len(rows)) * 2 + 4
        tables.append(np.round(scores, decimals).astype(np.float32))
    return tables


@pytest.mark.slow
def test_report_equals_the_plain_loop_with_tied_scores(rows, tmp_path):
    verbs, nouns = tied_scores(rows)
    order = np.random.default_rng(1).permutation(len(rows))
    names = tuple(rows[i]["narration_id"] for i in order)
    path, figures = tmp_path / "results.pkl", tmp_path / "figures.json"
    write_results(path, Results(verbs[order], nouns[order], names))
    assert main(["report", str(path), "--annotations", str(REAL), "--json", str(figures)]) == 0
    found = json.loads(figures.read_text())
    assert found.pop("num_segments") == 9668

    subsets = read_subsets(REAL)
    truth = zip(*(
        (int(rows[i]["verb_class"]), int(rows[i]["noun_class"]), rows[i]["participant_id"])
        for i in order
    ), strict=True)  # fmt: skip
    tails = (subsets.tail_verbs, subsets.tail_nouns)
    expected = loop_accuracies(verbs[order], nouns[order], tuple(truth), tails, subsets.unseen)
    assert len(found) == 12
    assert found == pytest.approx(expected, abs=1e-9)
