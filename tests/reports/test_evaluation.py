import numpy as np
import pytest

from slowfast.engine.predictions import Predictions
from slowfast.reports.evaluation import ReportTest


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
    assert "top1_acc" in shown
    assert "66.67" in shown
    assert "top1_err" not in shown
    rows = (tmp_path / "per_class_action.md").read_text().splitlines()
    assert len(rows) == 5
    assert "screw" in rows[-1]
    assert (tmp_path / "confusion_action.png").stat().st_size > 1000


def test_multi_label_results_have_neither(tmp_path, capsys):
    scores, labels = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.int64)
    ReportTest(tmp_path)(Predictions({"action": scores}, {"action": labels}, ["a", "b", "c"]))
    assert "map" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
