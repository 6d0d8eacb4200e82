"""What a test on EPIC-KITCHENS reports and writes; from config to file: test_runs_on_datasets."""

import numpy as np
import pytest

from slowfast.datasets.base import DataError
from slowfast.datasets.epic_kitchens import EpicSegment
from slowfast.datasets.epic_results import ResultsError, read_results
from slowfast.engine.epic import (
    EpicChallenge,
    Subsets,
    build_epic_challenge,
    read_subsets,
    to_results,
)
from slowfast.engine.predictions import Predictions
from slowfast.metrics.epic import epic_accuracies, log_probabilities
from tests.engine import runs

EPIC = {
    "DATA__DUMMY_LOAD": False, "TEST__DATASET": "EpicKitchens", "MODEL__TASKS": "[noun, verb]",
    "MODEL__NUM_CLASSES": "[300, 97]",
}  # fmt: skip
TIMED = "narration_id,participant_id,video_id,start_timestamp,stop_timestamp,start_frame,stop_frame"
LINE = "P01_01_0,P01,P01_01,00:00:00.00,00:00:01.00,1,60"


def make_segment(number, verb, noun):
    person = f"P{number % 3:02d}"
    return EpicSegment(f"{person}_01_{number}", person, f"{person}_01", 0, 1, 1, 60, verb, noun,
                       f"list.csv:{number}")  # fmt: skip


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    logits = {"noun": rng.normal(size=(20, 30)) * 3, "verb": rng.normal(size=(20, 9)) * 3}
    scores = {task: np.exp(log_probabilities(x)).astype(np.float32) for task, x in logits.items()}
    labels = {task: x.argsort(1)[:, -2 + 1 * (task == "verb")] for task, x in scores.items()}
    return Predictions(scores, labels, [f"P{i % 3:02d}_01_{i}" for i in range(20)], 30)


@pytest.fixture
def challenge(predictions):
    pairs = zip(predictions.labels["verb"], predictions.labels["noun"], strict=True)
    segments = [make_segment(i, int(v), int(n)) for i, (v, n) in enumerate(pairs)]
    subsets = Subsets(frozenset(range(5)), frozenset(range(20)), frozenset({"P02"}))
    return EpicChallenge({segment.narration_id: segment for segment in segments}, subsets)


def test_metrics_are_those_of_the_log_probabilities(challenge, predictions):
    found = challenge.metrics(predictions)
    assert len(found) == 12
    assert found == epic_accuracies(
        np.log(predictions.scores["verb"].astype(float)),
        np.log(predictions.scores["noun"].astype(float)),
        verbs=predictions.labels["verb"], nouns=predictions.labels["noun"],
        participants=[name[:3] for name in predictions.names],
        tail_verbs=range(5), tail_nouns=range(20), unseen_participants=["P02"],
    )  # fmt: skip
    assert found["all_verb_accuracy_at_1"] == 100
    assert found["all_noun_accuracy_at_1"] == 0
    for k in (1, 5):  # without ties, what trainings log
        logged = predictions.metrics()[f"action_top{k}_acc"]
        assert logged == pytest.approx(found[f"all_action_accuracy_at_{k}"])


def test_results_file_lies_beside_the_predictions(challenge, predictions, tmp_path):
    for name in ("preds.pkl", "preds", "preds.npz"):
        assert challenge.save(predictions, tmp_path / name) == tmp_path / "preds_epic.pkl"
    results = read_results(tmp_path / "preds_epic.pkl")
    assert results.narration_id == tuple(predictions.names)
    np.testing.assert_array_equal(results.verb_output, to_results(predictions).verb_output)


def test_a_list_without_classes(predictions):
    segments = [make_segment(i, None, None) for i in range(20)]
    challenge = EpicChallenge({s.narration_id: s for s in segments}, Subsets())
    assert not challenge.is_labelled
    assert challenge.metrics(predictions) == {}


def write_annotations(folder, *, classes=True):
    line, head = (f"{LINE},3,4", f"{TIMED},verb_class,noun_class") if classes else (LINE, TIMED)
    (folder / "EPIC_100_validation.csv").write_text(f"{head}\n{line}\n")


def test_subsets_come_from_the_official_files(tmp_path, caplog):
    assert read_subsets(tmp_path) == Subsets()
    assert "tail classes are not reported: no EPIC_100_tail_verbs.csv and EPIC" in caplog.text
    assert "no EPIC_100_unseen_participant_ids_validation.csv in" in caplog.text
    (tmp_path / "EPIC_100_tail_verbs.csv").write_text("verb\n5\n")
    assert read_subsets(tmp_path) == Subsets()  # an action is tail by verb or noun: both or none
    (tmp_path / "EPIC_100_tail_nouns.csv").write_text("noun\n7\n8\n")
    (tmp_path / "EPIC_100_unseen_participant_ids_test.csv").write_text("participant_id\nP33\n")
    caplog.clear()
    tail = (frozenset({5}), frozenset({7, 8}))
    assert read_subsets(tmp_path, "test") == Subsets(*tail, frozenset({"P33"}))
    assert not caplog.text


def test_built_from_the_config(tmp_path, caplog):
    write_annotations(tmp_path)
    (tmp_path / "EPIC_100_unseen_participant_ids_test.csv").write_text("participant_id\nP01\n")
    place = {"EPICKITCHENS__ANNOTATIONS_DIR": tmp_path, "EPICKITCHENS__TEST_SPLIT": "test"}
    challenge = build_epic_challenge(runs.config(tmp_path, **EPIC, **place))
    assert challenge.segments["P01_01_0"].noun == 4
    assert challenge.subsets == Subsets(unseen=frozenset({"P01"}))


@pytest.mark.parametrize(
    "change",
    [
        {"DATA__DUMMY_LOAD": True},
        {"TEST__DATASET": "kinetics"},
        {"MODEL__TASKS": "[verb]", "MODEL__NUM_CLASSES": "97"},
        {"MODEL__TASKS": "[]", "MODEL__NUM_CLASSES": "97"},
        {"MODEL__TASKS": "[verb, hand]"},
    ],
)
def test_only_verbs_and_nouns_of_epic_kitchens_are_a_challenge(tmp_path, change):
    assert build_epic_challenge(runs.config(tmp_path, **(EPIC | change))) is None


def test_unlabelled_results_must_be_saved(tmp_path):
    write_annotations(tmp_path, classes=False)
    place = {"EPICKITCHENS__ANNOTATIONS_DIR": tmp_path}
    with pytest.raises(DataError, match=r"has no classes.*set TEST\.SAVE_RESULTS_PATH"):
        build_epic_challenge(runs.config(tmp_path, **EPIC, **place))
    kept = runs.config(tmp_path, **EPIC, **place, TEST__SAVE_RESULTS_PATH="preds")
    assert not build_epic_challenge(kept).is_labelled


def test_narrations_twice_are_refused(challenge, predictions):
    twice = Predictions(predictions.scores, predictions.labels, ["P00_01_0"] * 20)
    with pytest.raises(ResultsError, match="more than once"):
        challenge.metrics(twice)
