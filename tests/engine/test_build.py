"""What the config asks for is what gets built."""

import pytest
import torch

from slowfast.engine.build import (
    MEMORY_FORMATS,
    build_criterion,
    build_objective,
    build_optimizer,
    build_placed_model,
    build_placement,
    build_trainer,
)
from slowfast.engine.run import build_training, build_view_counts
from slowfast.engine.schedule import build_schedule
from tests.engine import runs


def test_schedules(tmp_path):
    cosine = runs.config(tmp_path, SOLVER__BASE_LR=0.1, SOLVER__MAX_EPOCH=196,
                         SOLVER__WARMUP_EPOCHS=34.0)  # fmt: skip
    assert build_schedule(cosine)(100) == pytest.approx(0.0483974, rel=1e-5)
    assert build_schedule(cosine)(17) == pytest.approx(0.0513786, rel=1e-5)
    steps = runs.config(
        tmp_path, SOLVER__LR_POLICY="steps_with_relative_lrs", SOLVER__STEPS="[0, 20, 25]",
        SOLVER__LRS="[1, 0.1, 0.01]", SOLVER__BASE_LR=0.01, SOLVER__MAX_EPOCH=30,
    )  # fmt: skip
    assert [build_schedule(steps)(e) for e in (0, 20, 29)] == pytest.approx([0.01, 0.001, 0.0001])
    scaled = runs.config(tmp_path, SOLVER__BASE_LR_SCALE_NUM_SHARDS=True, NUM_SHARDS=4)
    assert build_schedule(scaled)(0) == pytest.approx(4 * 0.05)


def test_schedule_of_the_head_warmup(tmp_path):
    """The recipe of x3d-rgb-mobilenet-v3-lgd-gc."""
    cfg = runs.config(
        tmp_path, SOLVER__BASE_LR=1e-3, SOLVER__MAX_EPOCH=65, SOLVER__HEAD_WARMUP_EPOCHS=5,
        SOLVER__HEAD_WARMUP_LR_MULT=10, SOLVER__WARMUP_EPOCHS=5, SOLVER__WARMUP_CURVE="cosine",
        SOLVER__WARMUP_START_LR=1e-5, SOLVER__COSINE_AFTER_WARMUP=True, SOLVER__COSINE_POWER=1.5,
        SOLVER__COSINE_END_LR=1e-5,
    )  # fmt: skip
    lr_at = build_schedule(cfg)
    assert [lr_at(e) for e in (0, 4.9, 5, 10, 65)] == pytest.approx([1e-2, 1e-2, 1e-5, 1e-3, 1e-5])
    short = runs.config(tmp_path, SOLVER__MAX_EPOCH=5, SOLVER__HEAD_WARMUP_EPOCHS=5)
    with pytest.raises(ValueError, match=r"MAX_EPOCH 5 must exceed .*HEAD_WARMUP_EPOCHS"):
        build_schedule(short)


def test_optimizer_takes_every_key(tmp_path):
    cfg = runs.config(
        tmp_path, SOLVER__MOMENTUM=0.8, SOLVER__NESTEROV=False, SOLVER__DAMPENING=0.3,
        SOLVER__WEIGHT_DECAY=0.02, BN__WEIGHT_DECAY=0.01, SOLVER__ZERO_WD_1D_PARAM=True,
    )  # fmt: skip
    model = build_placed_model(cfg, build_placement(cfg))
    groups = build_optimizer(cfg, model).param_groups
    assert [g["weight_decay"] for g in groups] == [0.01, 0.02, 0.0]
    assert (groups[0]["momentum"], groups[0]["dampening"]) == (0.8, 0.3)
    assert not groups[0]["nesterov"]


@pytest.mark.parametrize("layout", ["contiguous", "channels_last_3d"])
def test_memory_layout_of_weights_and_clips(tmp_path, layout):
    cfg = runs.config(tmp_path, MODEL__MEMORY_FORMAT=layout)
    placement = build_placement(cfg)
    model = build_placed_model(cfg, placement)
    trainer = build_trainer(cfg, build_objective(cfg, model), placement)
    batch = trainer.prepare(next(iter(trainer.loader)))
    assert batch.clips[0].is_contiguous(memory_format=placement.memory_format)
    weight = model.features[3].weight
    assert weight.is_contiguous(memory_format=placement.memory_format)
    assert placement.memory_format is MEMORY_FORMATS[layout]


def test_trainer_takes_every_key(tmp_path):
    cfg = runs.config(
        tmp_path, SOLVER__CLIP_GRAD_L2NORM=2.0, SOLVER__CLIP_GRAD_VAL=3.0, RNG_SEED=5,
        SOLVER__ACCUMULATE_STEPS=4, TRAIN__MIXED_PRECISION=True, TRAIN__AMP_DTYPE="fp16",
    )  # fmt: skip
    trainer = build_training(cfg).trainer
    assert (trainer.clip_grad_norm, trainer.clip_grad_value) == (2.0, 3.0)
    assert (trainer.accumulate_steps, trainer.seed) == (4, 5)
    assert trainer.scaler.is_enabled()


def test_evaluation_does_not_smooth_labels(tmp_path):
    cfg = runs.config(tmp_path, MODEL__LABEL_SMOOTHING=0.2)
    logits, labels = torch.tensor([[9.0, 0.0]]), torch.tensor([0])
    assert build_criterion(cfg)(logits, labels) > 0.5
    assert build_criterion(cfg, train=False)(logits, labels) < 0.01


def test_numbers_of_views(tmp_path):
    counts = build_view_counts(runs.config(tmp_path, TEST__NUM_TEMPORAL_CLIPS="[1, 3]"))
    assert [cfg.TEST.NUM_ENSEMBLE_VIEWS for cfg in counts] == [1, 3]
    single = runs.config(tmp_path, TEST__NUM_ENSEMBLE_VIEWS=4)
    assert build_view_counts(single) == [single]
    every = runs.config(tmp_path, TEST__NUM_ENSEMBLE_VIEWS=-1)
    assert [c.TEST.NUM_ENSEMBLE_VIEWS for c in build_view_counts(every)] == [1, 3, 5, 7, 10]


@pytest.mark.slow
def test_compiled_training_learns_the_same(tmp_path, monkeypatch):
    kwargs = runs.dummy.DummyVideos.__init__.__kwdefaults__
    monkeypatch.setitem(kwargs, "num_videos", 18)
    weights = []
    for name in ("True", "False"):
        cfg = runs.config(tmp_path / name, MODEL__COMPILE=name, SOLVER__MAX_EPOCH=1,
                          MODEL__DROPOUT_RATE=0.0)  # fmt: skip
        training = build_training(cfg)
        training.run()
        weights.append(training.trainer.objective.model.state_dict())
    assert list(weights[0]) == list(weights[1])  # no prefix of the compiler's
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-3, atol=1e-4)
