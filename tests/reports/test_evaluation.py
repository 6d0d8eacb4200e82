from dataclasses import replace

import numpy as np
import pytest

from slowfast.engine.predictions import Predictions
from slowfast.reports.evaluation import ReportTest, metrics_table


@pytest.fixture
def predictions():
    scores = np.eye(3, dtype=np.float32)[[0, 1, 1]]
    return Predictions(
        {"action": scores},
        {"action": np.arange(3)},
        ["a.mp4", "b.mp4", "c.mp4"],
        class_names={"action": ["take", "put", "screw"]},
    )


def test_a_test_is_shown_and_written(predictions, tmp_path, capsys):
    ReportTest(tmp_path)(predictions)
    shown = capsys.readouterr().out
    row = next(line for line in shown.splitlines() if line.split()[:1] == ["action"])
    # top-1, top-5, mean-class precision, recall, F1 and accuracy: as MECCANO's paper reports
    assert row.split()[1:] == ["66.67", "100.0", "50.00", "66.67", "55.56", "66.67"]
    assert "top-1" in shown
    rows = (tmp_path / "per_class_action.md").read_text().splitlines()
    assert len(rows) == 5
    assert "screw" in rows[-1]
    assert (tmp_path / "confusion_action.png").stat().st_size > 1000


def test_multi_label_results_have_neither(tmp_path, capsys):
    scores, labels = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.int64)
    ReportTest(tmp_path)(Predictions({"action": scores}, {"action": labels}, ["a", "b", "c"]))
    assert "mAP" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_row_per_task_and_one_for_the_action(tmp_path):
    scores = np.full((4, 3), 0.1, np.float32)
    scores[range(4), [0, 1, 2, 0]] = 0.8
    predictions = Predictions(
        {"verb": scores, "noun": scores},
        {"verb": np.array([0, 1, 2, 1]), "noun": np.array([0, 1, 0, 1])},
        list("abcd"),
        loss=1.5,
        task_losses={"verb": 1.0, "noun": 2.0},
    )
    table = metrics_table(predictions)
    assert [row[0] for row in table.rows] == ["verb", "noun", "action"]
    assert [row[1] for row in table.rows] == [75.0, 50.0, 50.0]
    assert [row[-1] for row in table.rows] == [1.0, 2.0, 1.5]
    assert table.rows[2][3:-1] == [None] * 4  # class means are of verbs and nouns


def test_figures_of_the_challenge_have_their_own_table(predictions, tmp_path, capsys):
    figures = {"all_verb_accuracy_at_1": 61.25, "unseen_action_accuracy_at_1": 31.5}
    ReportTest(tmp_path)(replace(predictions, dataset_metrics=figures))
    shown = capsys.readouterr().out
    assert "EPIC-KITCHENS challenge" in shown
    assert "61.25" in shown
    assert "31.50" in shown
    assert not [line for line in shown.splitlines() if line.split()[:1] == ["tail"]]


def test_without_labels_there_is_nothing_to_report(predictions, tmp_path, caplog):
    caplog.set_level("INFO")
    ReportTest(tmp_path)(replace(predictions, labels={}))
    assert "3 videos without labels: no metrics" in caplog.text
    assert not list(tmp_path.iterdir())
