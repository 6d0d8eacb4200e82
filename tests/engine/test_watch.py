"""Metrics that choose and end trainings, for one task, several, and several labels."""

import pytest

from slowfast.config import ConfigError
from slowfast.engine.run import build_training
from slowfast.engine.watch import build_early_stopping, build_metric_name
from tests.engine import runs

VERB_NOUN = {"MODEL__NUM_CLASSES": "[3, 5]", "MODEL__TASKS": "[verb, noun]"}


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "top1_err"),
        (VERB_NOUN, "action_top1_err"),
        ({"MODEL__NUM_CLASSES": "[3, 5]", "MODEL__TASKS": "[verb, noun]", "TEST__TOPK": "[1]"},
         "action_top1_err"),
        ({"MODEL__TASKS": "[verb]"}, "top1_err"),
        ({"DATA__MULTI_LABEL": True, "MODEL__LOSS_FUNC": "bce_logit",
          "MODEL__HEAD_ACT": "sigmoid"}, "map"),
    ],
)  # fmt: skip
def test_what_the_default_means(tmp_path, options, name):
    cfg = runs.config(tmp_path, **options)
    assert build_metric_name(cfg, cfg.TRAIN.BEST_METRIC) == name
    assert build_early_stopping(cfg).metric == name
    assert build_metric_name(cfg, "verb_top1_acc") == "verb_top1_acc"


@pytest.mark.parametrize(
    ("metric", "sign"), [("verb_top1_acc", 1), ("noun_mean_class_f1", 1), ("loss_verb", -1)]
)
def test_the_metric_knows_its_direction(tmp_path, metric, sign):
    named = {"SOLVER__EARLY_STOPPING__METRIC": metric}
    cfg = runs.config(tmp_path, **VERB_NOUN, **named)
    assert build_early_stopping(cfg).sign == sign
    wrong = "min" if sign > 0 else "max"
    with pytest.raises(ConfigError, match=rf"MODE {wrong} would stop.*METRIC {metric} improves"):
        build_early_stopping(
            runs.config(tmp_path, **VERB_NOUN, **named, SOLVER__EARLY_STOPPING__MODE=wrong)
        )


@pytest.mark.parametrize("metric", ["top1_err", "verb_top1_acc", "noun_top5_err", "loss_noun"])
def test_a_training_follows_it(tmp_path, monkeypatch, metric):
    monkeypatch.setitem(runs.dummy.DummyVideos.__init__.__kwdefaults__, "num_videos", 10)
    cfg = runs.config(
        tmp_path, **VERB_NOUN, SOLVER__MAX_EPOCH=2, TRAIN__BEST_METRIC=metric,
        SOLVER__EARLY_STOPPING__ENABLE=True, SOLVER__EARLY_STOPPING__METRIC=metric,
    )  # fmt: skip
    found = build_training(cfg).run()
    name = "action_top1_err" if metric == "top1_err" else metric
    assert {f"best_{name}", "best_epoch", "action_top5_acc", "loss_verb"} <= set(found)
    assert (tmp_path / "checkpoints/best.pyth").exists()
