"""EPIC-KITCHENS and MECCANO from a training to the figures people publish, through the tools."""

import csv
import json

import cv2
import numpy as np
import pytest

from slowfast.datasets.epic_results import read_results
from slowfast.engine import load_predictions
from slowfast.reports.stats import read_stats
from tools.epic_submission import main as epic_submission
from tools.run_net import main as run_net

COLUMNS = ["narration_id", "participant_id", "video_id", "start_timestamp", "stop_timestamp",
           "start_frame", "stop_frame", "verb_class", "noun_class"]  # fmt: skip
TINY = [
    "MODEL.MODEL_NAME", "TinyNet", "MODEL.ARCH", "tiny", "TINY.WIDTH", "2",
    "DATA.NUM_FRAMES", "2", "DATA.SAMPLING_RATE", "2", "DATA.TRAIN_CROP_SIZE", "16",
    "DATA.TEST_CROP_SIZE", "16", "DATA.TRAIN_JITTER_SCALES", "[16, 18]",
    "DATA_LOADER.NUM_WORKERS", "0", "TRAIN.BATCH_SIZE", "4", "TEST.BATCH_SIZE", "8",
    "TRAIN.EVAL_PERIOD", "1", "TEST.NUM_ENSEMBLE_VIEWS", "2", "SOLVER.MAX_EPOCH", "2",
    "SOLVER.BASE_LR", "0.05", "NUM_GPUS", "0", "PROGRESS", "none", "LOG_PERIOD", "1",
]  # fmt: skip


def write_frames(folder, pattern, count, colour):
    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        picture = np.full((20, 24, 3), colour, np.uint8)
        picture[number % 20] = 255 - np.asarray(colour, np.uint8)
        cv2.imwrite(str(folder / pattern.format(number)), picture)


def segments(participant, count, first):
    """Rows of one video ``<participant>_01``, ten images each, of a few classes."""
    return [
        [f"{participant}_01_{i}", participant, f"{participant}_01", f"00:00:{i // 6:02d}.{i % 6}0",
         f"00:00:{i // 6 + 1:02d}.00", 1 + 3 * i, 10 + 3 * i, (first + i) % 3 * 40, i % 2 * 299]
        for i in range(count)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def epic(tmp_path_factory):
    """Images of four participants, the official annotation files of three small splits."""
    root = tmp_path_factory.mktemp("epic")
    for number, participant in enumerate(("P01", "P02", "P18", "P33")):
        folder = root / participant / "rgb_frames" / f"{participant}_01"
        write_frames(folder, "frame_{:010d}.jpg", 40, (60 * number, 90, 200 - 60 * number))
    lists = {
        "train": segments("P01", 8, 0),
        "validation": segments("P02", 5, 1) + segments("P18", 4, 0),
        "test_timestamps": [row[:7] for row in segments("P33", 6, 0)],
    }
    for name, rows in lists.items():
        with open(root / f"EPIC_100_{name}.csv", "w", newline="") as file:
            csv.writer(file).writerows([COLUMNS[: len(rows[0])], *rows])
    (root / "EPIC_100_tail_verbs.csv").write_text("verb\n40\n80\n")
    (root / "EPIC_100_tail_nouns.csv").write_text("noun\n299\n")
    (root / "EPIC_100_unseen_participant_ids_validation.csv").write_text("participant_id\nP18\n")
    return root


def epic_words(root, out, *more):
    return [
        *TINY, "TRAIN.DATASET", "epickitchens", "TEST.DATASET", "epickitchens",
        "MODEL.TASKS", "[verb, noun]", "MODEL.NUM_CLASSES", "[97, 300]", "OUTPUT_DIR", str(out),
        "DATA.PATH_TO_DATA_DIR", str(root), "TEST.SAVE_RESULTS_PATH", "preds", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def trained(epic, tmp_path_factory):
    """The output folder of a training on verbs and nouns with its test on the validation set."""
    out = tmp_path_factory.mktemp("trained")
    chosen = ["TRAIN.BEST_METRIC", "verb_top1_acc", "SOLVER.EARLY_STOPPING.ENABLE", "True"]
    with pytest.MonkeyPatch.context() as patch:  # matrices of 97 and 300 classes take seconds
        patch.setattr("slowfast.reports.evaluation.save_figure", lambda figure, path: path)
        run_net(epic_words(epic, out, *chosen))
    return out


def test_verbs_nouns_and_actions_are_logged(trained):
    stats = read_stats(trained / "json_stats.log")
    names = {f"{task}_top{k}_err" for task in ("verb", "noun", "action") for k in (1, 5)}
    losses = {"loss", "loss_verb", "loss_noun"}
    for kind in ("train_iter_", "train_epoch", "val_epoch"):
        assert names | losses <= set(stats[kind][0])
    val = stats["val_epoch"][-1]
    assert val["loss"] == pytest.approx((val["loss_verb"] + val["loss_noun"]) / 2, rel=1e-3)
    assert val["action_top1_err"] == val["top1_err"] >= val["verb_top1_err"]
    assert "best verb_top1_acc so far" in (trained / "stdout.log").read_text()


def test_report_of_the_results_file_is_what_the_test_reported(trained, epic, tmp_path):
    figures = tmp_path / "figures.json"
    epic_submission(["report", str(trained / "preds_epic.pkl"), "--annotations", str(epic),
                     "--json", str(figures)])  # fmt: skip
    report = json.loads(figures.read_text())
    assert report.pop("num_segments") == 9
    assert len(report) == 12
    assert {name.partition("_")[0] for name in report} == {"all", "tail", "unseen"}
    saved = json.loads((trained / "preds.json").read_text())["metrics"]
    assert report == {name: saved[name] for name in report}  # to the last bit
    for task in ("verb", "noun", "action"):
        for k in (1, 5):
            assert saved[f"{task}_top{k}_acc"] == pytest.approx(
                report[f"all_{task}_accuracy_at_{k}"]
            )
    final = read_stats(trained / "json_stats.log")["test_final"][-1]
    assert final["tail_action_accuracy_at_1"] == pytest.approx(
        report["tail_action_accuracy_at_1"], rel=1e-4
    )


def test_results_are_logarithms_of_the_scores(trained):
    results, predictions = read_results(trained / "preds_epic.pkl"), load_predictions(
        trained / "preds.npz"
    )  # fmt: skip
    assert list(results.narration_id) == predictions.names
    for scores, task in ((results.verb_output, "verb"), (results.noun_output, "noun")):
        assert scores.dtype == np.float64
        np.testing.assert_allclose(np.exp(scores), predictions.scores[task], rtol=1e-5)


@pytest.fixture(scope="module")
def unlabelled(trained, epic, tmp_path_factory):
    """The output folder of a test on the list without classes."""
    out = tmp_path_factory.mktemp("unlabelled")
    words = epic_words(
        epic, out, "EPICKITCHENS.TEST_LIST", "EPIC_100_test_timestamps.pkl",
        "EPICKITCHENS.TEST_SPLIT", "test", "TEST.CHECKPOINT_FILE_PATH",
        str(trained / "checkpoints/best.pyth"),
    )  # fmt: skip
    run_net(["--eval", *words])
    return out


def test_test_set_without_labels_gives_predictions_and_no_metrics(unlabelled):
    saved = json.loads((unlabelled / "preds.json").read_text())
    assert saved["metrics"] == {}
    assert saved["videos"][0]["verb"]["label"] is None
    assert len(saved["videos"][0]["verb"]["top"]) == 5
    predictions = load_predictions(unlabelled / "preds.npz")
    assert predictions.labels == {}
    assert predictions.metrics() == {}
    assert predictions.scores["noun"].shape == (6, 300)
    log = (unlabelled / "stdout.log").read_text()
    assert "6 videos without labels: no metrics" in log
    assert not list(unlabelled.glob("confusion*"))


def test_submission_of_the_test_set(unlabelled, epic, tmp_path, capsys):
    place = ["--annotations", str(epic)]
    results, both, packed = unlabelled / "preds_epic.pkl", tmp_path / "b.npz", tmp_path / "s.zip"
    assert epic_submission(["ensemble", str(results), str(results), "--output", str(both)]) == 0
    assert epic_submission(["pack", str(both), *place, "--output", str(packed)]) == 0
    assert epic_submission(["check", str(packed), *place]) == 0
    assert "6 segments, valid" in capsys.readouterr().out
    np.testing.assert_allclose(
        read_results(both).verb_output, read_results(results).verb_output, atol=1e-12
    )
    unscorable = ["report", str(results), *place, "--labels", "EPIC_100_test_timestamps.csv"]
    assert epic_submission(unscorable) == 3
    assert "a report needs a labelled split" in capsys.readouterr().err


def test_test_set_without_labels_must_be_saved(trained, epic, tmp_path, capsys):
    words = epic_words(
        epic, tmp_path, "EPICKITCHENS.TEST_LIST", "EPIC_100_test_timestamps.csv",
        "TEST.CHECKPOINT_FILE_PATH", str(trained / "checkpoints/best.pyth"),
        "TEST.SAVE_RESULTS_PATH", "",
    )  # fmt: skip
    with pytest.raises(SystemExit):
        run_net(["--eval", *words])
    assert "set TEST.SAVE_RESULTS_PATH preds" in capsys.readouterr().err


# --- MECCANO ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def meccano(tmp_path_factory):
    """Two videos of images, with the official annotation files."""
    root = tmp_path_factory.mktemp("meccano")
    for split, videos in {"Train": ["0001"], "Val": ["0002"], "Test": ["0002"]}.items():
        rows = ["video_id,action_id,action_name,start_frame,end_frame"]
        for video in videos:
            folder = root / "RGB_frames" / split / video
            write_frames(folder, "{:05d}.jpg", 30, (10, 90, 20 * int(video)))
            rows += [
                f"{video},{action},a_{action},{1 + 3 * i:05d}.jpg,{6 + 3 * i:05d}.jpg"
                for i, action in enumerate((0, 12, 60, 12, 7, 0, 0, 12))
            ]
        name = f"MECCANO_{split.lower()}_actions.csv"
        (root / name).write_text("\n".join(rows) + "\n")
    return root


def test_meccano_reports_what_its_paper_does(meccano, tmp_path, capsys):
    """Top-1, top-5 and the class means of precision, recall and F1, as scikit-learn has them."""
    sklearn = pytest.importorskip("sklearn.metrics")
    run_net([
        *TINY, "TRAIN.DATASET", "meccano", "TEST.DATASET", "meccano", "MODEL.NUM_CLASSES", "61",
        "DATA.SAMPLING_MODE", "segment", "DATA.PATH_TO_DATA_DIR", str(meccano), "SOLVER.MAX_EPOCH",
        "1", "OUTPUT_DIR", str(tmp_path), "TEST.SAVE_RESULTS_PATH", "preds",
    ])  # fmt: skip
    predictions = load_predictions(tmp_path / "preds.npz")
    scores, labels = predictions.scores["action"], predictions.labels["action"]
    assert labels.tolist() == [0, 12, 60, 12, 7, 0, 0, 12]
    theirs = sklearn.precision_recall_fscore_support(
        labels, scores.argmax(1), average="macro", zero_division=0
    )[:3]
    saved = json.loads((tmp_path / "preds.json").read_text())["metrics"]
    expected = dict(zip(("precision", "recall", "f1"), 100 * np.array(theirs), strict=True))
    for name, value in expected.items():
        assert saved[f"mean_class_{name}"] == pytest.approx(value)
    assert saved["top1_acc"] == pytest.approx(100 * (scores.argmax(1) == labels).mean())
    shown = capsys.readouterr().out
    row = next(line.split() for line in shown.splitlines() if line.split()[:1] == ["action"])
    assert len(row) == 8  # task, top-1, top-5, precision, recall, F1, accuracy, loss
    assert "precision" in shown
