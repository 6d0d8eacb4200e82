"""Predictions judge the frames they saw."""

import logging

import pytest
import torch

from slowfast.datasets.frame_weights import FrameWeights
from slowfast.engine import Hook
from slowfast.engine.hooks.sample_filter import SampleFilter, judge
from slowfast.engine.run import build_training
from slowfast.utils import distributed
from slowfast.utils.distributed import LaunchPlan, launch
from tests.engine import runs

PREDS = torch.tensor([[0.9, 0.1], [0.3, 0.2], [0.4, 0.6]])


def test_confidence_is_signed_by_being_right():
    labels = torch.tensor([0, 1, 1])
    values = judge(PREDS, labels, cosines=True)
    torch.testing.assert_close(values, torch.tensor([0.9, -0.3, 0.6]))
    logits = judge(PREDS, labels, cosines=False)
    torch.testing.assert_close(logits.abs(), PREDS.softmax(1).amax(1))


def test_with_several_tasks_all_must_be_right():
    preds = {"verb": PREDS, "noun": 0.5 * PREDS}
    labels = {"verb": torch.tensor([0, 0, 1]), "noun": torch.tensor([0, 1, 1])}
    torch.testing.assert_close(
        judge(preds, labels, cosines=True), torch.tensor([0.675, -0.225, 0.45])
    )


class Collect(Hook):
    """What the trainer saw, as a plain list."""

    def __init__(self):
        self.seen = []

    def after_batch(self, trainer, batch, output):
        best = output.preds.softmax(1).max(1)
        rows = zip(batch.clip_ids.tolist(), batch.meta["spans"], best.indices.tolist(),
                   best.values.tolist(), batch.labels.tolist(), strict=True)  # fmt: skip
        self.seen += [(trainer.epoch, *row) for row in rows]


@pytest.fixture
def little_data(monkeypatch):
    kwargs = runs.dummy.DummyVideos.__init__.__kwdefaults__
    monkeypatch.setitem(kwargs, "num_videos", 8)


def test_sums_of_a_whole_training(tmp_path, little_data, caplog):
    caplog.set_level(logging.INFO)
    cfg = runs.config(tmp_path, TRAIN__SAMPLE_FILTER__ENABLE=True, SOLVER__MAX_EPOCH=5,
                      TRAIN__SAMPLE_FILTER__COVERAGE=0.1)  # fmt: skip
    training = build_training(cfg)
    collect = Collect()
    training.trainer.hooks.append(collect)
    training.run()
    (found,) = [h.weights for h in training.trainer.hooks if isinstance(h, SampleFilter)]
    expected = {video: torch.zeros(300) for video in range(8)}
    covered = {video: torch.zeros(300, dtype=torch.bool) for video in range(8)}
    for epoch, video, (first, stop, total), best, value, label in collect.seen:
        assert total == 300
        if epoch >= 1:
            expected[video][first:stop] += value if best == label else -value
            covered[video][first:stop] = True
    judged = [v for v in range(8) if covered[v].float().mean() > 0.1]
    assert judged
    assert found.num_judged == len(judged)
    for video in judged:
        weights = torch.from_numpy(found.get(video))
        sums = expected[video]
        torch.testing.assert_close(weights, torch.where(sums >= 0, 1 + sums, 0.0))
    assert f"sample filter: {len(judged)} videos" in caplog.text


def test_other_loaders_are_refused():
    class Fake:
        loader = ()

    with pytest.raises(TypeError, match="tuple cannot draw clips by frame weights"):
        SampleFilter(FrameWeights()).before_train(Fake())


def in_two_processes(folder):
    torch.set_num_threads(1)
    runs.few_videos(8)
    cfg = runs.config(folder, TRAIN__SAMPLE_FILTER__ENABLE=True,
                      TRAIN__SAMPLE_FILTER__COVERAGE=0.05)  # fmt: skip
    training = build_training(cfg)
    training.run()
    (hook,) = [h for h in training.trainer.hooks if isinstance(h, SampleFilter)]
    states = distributed.gather_objects(hook.weights.state_dict())
    if distributed.is_main():
        first, second = states
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert first["videos"].tolist() == list(range(8))


@pytest.mark.slow
def test_every_process_ends_with_the_weights_of_all(tmp_path):
    launch(in_two_processes, (tmp_path,), LaunchPlan(processes=2, device="cpu"))
