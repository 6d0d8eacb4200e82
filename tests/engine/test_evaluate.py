import json

import numpy as np
import pytest
import torch
from torch import nn

from slowfast.datasets.base import UNLABELLED
from slowfast.datasets.batch import Batch
from slowfast.engine import BatchPreparation, MissingViews, evaluate, load_predictions
from slowfast.engine.predictions import (
    ForeignArraysError,
    Predictions,
    PredictionsError,
    metric_mode,
)
from slowfast.models.tiny import TinyNet
from slowfast.models.x3d import X3D

VIDEOS, VIEWS, CLASSES = 7, 6, 4
NAMES = [f"{i}.mp4" for i in range(VIDEOS)]


def clips_of_all_views():
    generator = torch.Generator().manual_seed(5)
    return torch.randn(VIDEOS, VIEWS, 3, 2, 6, 6, generator=generator)


LABELS = torch.tensor([0, 1, 2, 3, 0, 1, 2])


def loader(order, per_batch, labels=LABELS):
    """Batches of the views whose ids are in ``order``."""
    clips = clips_of_all_views().flatten(0, 1)
    for start in range(0, len(order), per_batch):
        ids = torch.tensor(order[start : start + per_batch])
        videos = ids // VIEWS
        chosen = (
            {t: v[videos] for t, v in labels.items()}
            if isinstance(labels, dict)
            else labels[videos]
        )
        yield Batch([clips[ids]], chosen, ids, torch.zeros(len(ids), 2), {})


def plain(model, combine):
    """Video by video, view by view."""
    model.eval()
    rows = []
    with torch.no_grad():
        for views in clips_of_all_views():
            scores = [model([view[None]]).softmax(1)[0].double() for view in views]
            rows.append(combine(torch.stack(scores)))
    return torch.stack(rows).numpy()


COMBINE = {"sum": lambda s: s.sum(0) / VIEWS, "max": lambda s: s.max(0).values}


@pytest.mark.parametrize("method", ["sum", "max"])
@pytest.mark.parametrize(("per_batch", "max_clips"), [(VIEWS, None), (12, 5), (42, 1), (4, 4)])
def test_equals_a_plain_loop_over_views(tiny, method, per_batch, max_clips):
    predictions = evaluate(
        tiny,
        loader(list(range(VIDEOS * VIEWS)), per_batch),
        num_views=VIEWS,
        method=method,
        max_clips_per_forward=max_clips,
        names=NAMES,
    )
    np.testing.assert_allclose(
        predictions.scores["action"], plain(tiny, COMBINE[method]), rtol=2e-5, atol=1e-7
    )
    assert predictions.labels["action"].tolist() == LABELS.tolist()
    assert predictions.names == NAMES


def test_views_in_any_order(tiny):
    order = torch.randperm(VIDEOS * VIEWS).tolist()
    predictions = evaluate(tiny, loader(order, 5), num_views=VIEWS)
    np.testing.assert_allclose(
        predictions.scores["action"], plain(tiny, COMBINE["sum"]), rtol=2e-5, atol=1e-7
    )


def test_refuses_to_report_when_a_view_is_missing(tiny):
    order = [i for i in range(VIDEOS * VIEWS) if i not in (8, 9, 40)]
    with pytest.raises(
        MissingViews, match=r"2 of 7 videos.*1\.mp4 \(id 1: 4 of 6 views\), 6\.mp4 \(id 6: 5 of"
    ):
        evaluate(tiny, loader(order, 6), num_views=VIEWS, names=NAMES)
    first = [i for i in range(VIDEOS * VIEWS) if i < 36]  # the last video never comes
    with pytest.raises(MissingViews, match=r"6\.mp4 \(id 6: 0 of 6"):
        evaluate(tiny, loader(first, 6), num_views=VIEWS, names=NAMES)


def test_a_view_that_comes_twice(tiny):
    with pytest.raises(ValueError, match="video 0 came twice"):
        evaluate(tiny, loader([*range(VIDEOS * VIEWS), 0], 6), num_views=VIEWS)


def test_scores_that_are_not_numbers(tiny):
    nn.init.constant_(tiny.classifiers["action"].weight, float("nan"))
    with pytest.raises(ValueError, match="not finite"):
        evaluate(tiny, loader(list(range(42)), 6), num_views=VIEWS)


def test_one_label_per_video(tiny):
    def whole_videos():
        for batch in loader(list(range(42)), 12):
            yield batch._replace(labels=batch.labels[::VIEWS])

    predictions = evaluate(tiny, whole_videos(), num_views=VIEWS, max_clips_per_forward=5)
    assert predictions.labels["action"].tolist() == LABELS.tolist()


def test_modes_and_random_numbers_are_put_back(tiny):
    tiny.train()
    tiny.features[1].eval()  # a frozen batch norm stays frozen
    before = {name: value.clone() for name, value in tiny.state_dict().items()}
    state = torch.get_rng_state()
    evaluate(tiny, loader(list(range(42)), 6), num_views=VIEWS)
    assert tiny.training
    assert not tiny.features[1].training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in tiny.state_dict().items())


def test_loss_is_the_mean_over_clips(tiny):
    criterion = nn.CrossEntropyLoss()
    predictions = evaluate(tiny, loader(list(range(42)), 5), num_views=VIEWS, criterion=criterion)
    with torch.no_grad():
        logits = tiny.eval()([clips_of_all_views().flatten(0, 1)])
    expected = criterion(logits, LABELS.repeat_interleave(VIEWS))
    assert predictions.loss == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(
        predictions.scores["action"], plain(tiny, COMBINE["sum"]), rtol=2e-5, atol=1e-7
    )


def test_batches_are_prepared(tiny):
    seen = []

    def transform(batch, generator):
        seen.append((len(batch.clips[0]), generator))
        return batch

    evaluate(
        tiny, loader(list(range(42)), 12), prepare=BatchPreparation("cpu", transform),
        num_views=VIEWS, max_clips_per_forward=8,
    )  # fmt: skip
    assert seen == [(8, None), (4, None)] * 3 + [(6, None)]


TASK_LABELS = {"verb": LABELS, "noun": LABELS % 3}


def test_several_tasks():
    """The action is the pair of verb and noun: ranked here by listing every product."""
    model = TinyNet(num_classes={"verb": 4, "noun": 3})
    predictions = evaluate(model, loader(list(range(42)), 6, TASK_LABELS), num_views=VIEWS)
    metrics = predictions.metrics((1, 5))
    verbs, nouns = (predictions.scores[task].astype(float) for task in ("verb", "noun"))
    for k in (1, 5):
        hits = []
        for verb, noun, v, n in zip(verbs, nouns, *TASK_LABELS.values(), strict=True):
            products = np.outer(verb, noun)
            hits.append((products > products[v, n]).sum() < k)
        assert metrics[f"action_top{k}_acc"] == pytest.approx(100 * np.mean(hits))
        assert metrics[f"top{k}_err"] == pytest.approx(100 - metrics[f"action_top{k}_acc"])
    assert metrics["noun_top5_acc"] == 100.0
    assert metrics["verb_top1_err"] == pytest.approx(100 - metrics["verb_top1_acc"])


def test_a_task_called_action_is_the_action():
    model = TinyNet(num_classes={"action": 4, "verb": 3})
    labels = {"action": LABELS, "verb": LABELS % 3}
    predictions = evaluate(model, loader(list(range(42)), 6, labels), num_views=VIEWS)
    right = predictions.scores["action"].argmax(1) == predictions.labels["action"]
    metrics = predictions.metrics()
    assert metrics["action_top1_acc"] == metrics["top1_acc"] == pytest.approx(100 * right.mean())
    assert "action_mean_class_f1" in metrics


def test_every_task_has_its_loss():
    model = TinyNet(num_classes={"verb": 4, "noun": 3})
    criterion = nn.CrossEntropyLoss()
    predictions = evaluate(
        model, loader(list(range(42)), 5, TASK_LABELS), num_views=VIEWS, criterion=criterion
    )
    with torch.no_grad():
        logits = model.eval()([clips_of_all_views().flatten(0, 1)])
    expected = {
        task: criterion(logits[task], labels.repeat_interleave(VIEWS)).item()
        for task, labels in TASK_LABELS.items()
    }
    metrics = predictions.metrics()
    assert metrics["loss_verb"] == pytest.approx(expected["verb"], rel=1e-5)
    assert metrics["loss_noun"] == pytest.approx(expected["noun"], rel=1e-5)
    assert metrics["loss"] == pytest.approx(sum(expected.values()) / 2, rel=1e-5)


@pytest.mark.parametrize("tasks", [None, ("verb", "noun")])
def test_videos_without_labels_are_scored_and_not_judged(tiny, tasks, tmp_path):
    unknown = torch.full_like(LABELS, UNLABELLED)
    labels = dict.fromkeys(tasks, unknown) if tasks else unknown
    model = TinyNet(num_classes=dict.fromkeys(tasks, 4)) if tasks else tiny
    predictions = evaluate(
        model, loader(list(range(42)), 6, labels), num_views=VIEWS,
        criterion=nn.CrossEntropyLoss(), names=NAMES,
    )  # fmt: skip
    assert predictions.labels == {}
    assert predictions.metrics() == {}
    files = predictions.save(tmp_path / "preds")
    loaded = load_predictions(files[0])
    assert loaded.labels == {}
    for task, scores in predictions.scores.items():
        np.testing.assert_array_equal(loaded.scores[task], scores)
    assert json.loads(files[1].read_text())["per_class"] == {}


@pytest.mark.parametrize("method", ["sum", "max"])
@pytest.mark.parametrize("act", ["softmax", "sigmoid", "none"])
def test_log_probabilities_rank_as_the_scores_do(tiny, act, method):
    tiny.head_act = act
    predictions = evaluate(tiny, loader(list(range(42)), 6), num_views=VIEWS, method=method)
    logs, scores = predictions.log_probabilities("action"), predictions.scores["action"]
    np.testing.assert_allclose(np.exp(logs).sum(1), 1)
    assert (logs.argsort(1) == scores.argsort(1)).all()
    ratios = scores if act == "none" else np.log(scores.astype(float))
    np.testing.assert_allclose(logs - logs[:, :1], ratios - ratios[:, :1], atol=1e-6)


def test_probabilities_that_float32_rounds_to_zero_stay_finite():
    scores = np.array([[1.0, 0.0, 0.0]], np.float32)
    predictions = Predictions({"action": scores}, {}, ["a"])
    assert np.isfinite(predictions.log_probabilities("action")).all()


def test_multi_label(tiny):
    targets = nn.functional.one_hot(LABELS, CLASSES).float()
    tiny.head_act = "sigmoid"
    predictions = evaluate(tiny, loader(list(range(42)), 6, targets), num_views=VIEWS)
    assert set(predictions.metrics()) == {"map"}
    assert predictions.labels["action"].shape == (VIDEOS, CLASSES)


@pytest.fixture
def predictions():
    scores = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.5, 0.1, 0.4]], np.float32)
    return Predictions(
        {"action": scores},
        {"action": np.array([0, 1, 2])},
        ["a b.mp4", "ü.mp4", "c.mp4"],
        30,
        {"action": ["take", "put", "check"]},
    )


def test_damaged_and_foreign_files_are_named(predictions, tmp_path):
    npz, _ = predictions.save(tmp_path / "preds.npz")
    whole = npz.read_bytes()
    middle = len(whole) // 3
    for damaged in (b"", whole[:100], whole[:middle] + b"damage" + whole[middle + 6 :]):
        npz.write_bytes(damaged)
        with pytest.raises(PredictionsError, match=r"preds\.npz: cannot be read .*give an \.npz"):
            load_predictions(npz)
    with pytest.raises(PredictionsError, match=r"none\.npz: cannot be read"):
        load_predictions(tmp_path / "none.npz")
    for arrays in ({"a": np.zeros(2)}, {"scores_action": np.zeros((1, 2)), "names": np.array("a"),
                                        "num_views": np.zeros(3)}):  # fmt: skip
        np.savez(npz, **arrays)
        with pytest.raises(ForeignArraysError, match=r"preds\.npz: holds"):
            load_predictions(npz)


def test_files_hold_everything_and_no_pickle(predictions, tmp_path):
    npz, text = predictions.save(tmp_path / "results" / "preds.pkl", extra={"checkpoint": "x"})
    assert (npz.name, text.name) == ("preds.npz", "preds.json")
    loaded = load_predictions(npz)
    np.testing.assert_array_equal(loaded.scores["action"], predictions.scores["action"])
    assert loaded.metrics() == predictions.metrics()
    assert (loaded.names, loaded.num_views) == (predictions.names, 30)
    assert loaded.class_names == predictions.class_names
    data = json.loads(text.read_text())
    assert data["metrics"]["top1_acc"] == pytest.approx(200 / 3)
    assert data["checkpoint"] == "x"
    assert data["videos"][2] == {
        "name": "c.mp4",
        "action": {"label": 2, "top": [[0, 0.5], [2, 0.4], [1, 0.1]]},
    }
    assert data["per_class"]["action"][0]["name"] == "take"


def test_confusion_and_metric_names(predictions):
    assert predictions.confusion().tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
    metrics = predictions.metrics((1, 5))
    assert metrics["top5_acc"] == 100.0
    assert metrics["mean_class_recall"] == pytest.approx(200 / 3)
    assert {metric_mode(n) for n in ("top1_err", "loss", "loss_verb", "verb_top5_err")} == {"min"}
    assert {metric_mode(name) for name in ("map", "top1_acc", "mean_class_f1")} == {"max"}


def test_scores_of_a_larger_clip_are_means_over_its_positions():
    """Also where the loss is asked for, which is of the logits."""
    torch.manual_seed(0)
    model = X3D(num_classes=3, depth_factor=1.0, num_frames=2, crop_size=32).eval()
    nn.init.normal_(model.head.projection.weight, std=5.0)
    clips, labels = [torch.randn(2, 3, 2, 64, 64)], torch.tensor([0, 2])
    batch = Batch(clips, labels, torch.arange(2), torch.zeros(2, 2), {})
    criterion = nn.CrossEntropyLoss()
    found = evaluate(model, [batch], criterion=criterion, by_position=True)
    with torch.no_grad():
        scores, logits = model.predict(clips).numpy(), model(clips)
    assert np.abs(scores - logits.softmax(1).numpy()).max() > 1e-3
    np.testing.assert_allclose(found.scores["action"], scores, rtol=1e-5, atol=1e-7)
    assert found.loss == pytest.approx(criterion(logits, labels).item(), rel=1e-5)
    alone = evaluate(model, [batch])
    np.testing.assert_allclose(alone.scores["action"], scores, rtol=1e-5, atol=1e-7)
