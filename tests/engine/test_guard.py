"""Losses and weights that are no numbers: what is left out, what stops, what is told."""

import json

import pytest
import torch
from torch import nn

from slowfast.checkpoint.io import list_checkpoints
from slowfast.engine import Hook, Supervised, Trainer
from slowfast.engine.guard import LossError, LossGuard
from slowfast.engine.hooks.checkpoints import SaveCheckpoint
from slowfast.engine.hooks.logs import JsonLog
from slowfast.models.tiny import TinyNet
from tests.conftest import random_batches


def fit(batches, *, guard=None, hooks=(), accumulate=1, epochs=1):
    """The network after a training at a constant rate."""
    trainer = make_trainer(batches, guard=guard, hooks=hooks, accumulate_steps=accumulate)
    trainer.fit(epochs)
    return trainer.objective.model


def make_trainer(batches, **options):
    torch.manual_seed(0)
    model = TinyNet(num_classes=4)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    objective = Supervised(model, nn.CrossEntropyLoss())
    return Trainer(objective, optimizer, lambda _: 0.05, batches, **options)


def spoiled(batches, *places):
    """The batches, those at ``places`` with a pixel that is no number."""
    found = list(batches)
    for place in places:
        clips = found[place].clips[0].clone()
        clips[0, 0, 0, 0, 0] = float("nan")
        found[place] = found[place]._replace(clips=[clips])
    return found


@pytest.mark.parametrize(("accumulate", "lost"), [(1, [1]), (2, [0, 1])])
def test_a_batch_left_out_is_as_if_it_had_not_been_there(accumulate, lost):
    """Weights, momentum and the running statistics of batch norms; of a group of batches, all."""
    batches = random_batches(num_batches=6)
    guard = LossGuard(max_skipped=1)
    model = fit(spoiled(batches, 1), guard=guard, accumulate=accumulate)
    kept = [batch for place, batch in enumerate(batches) if place not in lost]
    expected = fit(kept, accumulate=accumulate)
    for name, value in expected.state_dict().items():
        if accumulate == 1 or ("running" not in name and "tracked" not in name):
            assert torch.equal(model.state_dict()[name], value), name
    assert guard.skipped == 1


def test_every_bad_loss_is_told_with_its_clips(tmp_path):
    log = tmp_path / "json_stats.log"
    batches = spoiled(random_batches(num_batches=4), 1, 3)
    fit(batches, guard=LossGuard(max_skipped=2), hooks=[JsonLog(log)])
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert [r["clip_ids"] for r in records] == [batches[i].clip_ids.tolist() for i in (1, 3)]
    assert [(r["_type"], r["step"], r["loss"]) for r in records] == [
        ("bad_loss", 1, "nan"),
        ("bad_loss", 3, "nan"),
    ]
    assert records[0]["names"][0] == "video8.mp4"
    assert records[1]["skipped"] == 2


def test_too_many_stop(tmp_path):
    log = tmp_path / "json_stats.log"
    with pytest.raises(
        LossError, match=r"2 bad losses, TRAIN\.MAX_SKIPPED_LOSSES allows 1.*step 2"
    ):
        fit(spoiled(random_batches(), 0, 2), guard=LossGuard(max_skipped=1), hooks=[JsonLog(log)])
    assert len(log.read_text().splitlines()) == 2


def test_a_resumed_training_has_no_more_of_them():
    first = make_trainer(spoiled(random_batches(), 1), guard=LossGuard(max_skipped=1))
    first.fit(1)
    second = make_trainer(spoiled(random_batches(), 0), guard=LossGuard(max_skipped=1))
    second.load_state_dict(first.state_dict())
    with pytest.raises(LossError, match=r"2 bad losses"):
        second.fit(2, start_epoch=1)


def test_the_one_that_stops_is_told_too(tmp_path):
    log = tmp_path / "json_stats.log"
    with pytest.raises(LossError, match=r"loss is nan at step 2 with lr 0\.05, on video16\.mp4"):
        fit(spoiled(random_batches(), 2), hooks=[JsonLog(log)])
    assert json.loads(log.read_text())["clip_ids"] == [*range(16, 24)]


class Overflow(Hook):
    """As a gradient does that is too large for a loss that is fine."""

    def after_step(self, trainer, batch, output):
        if trainer.step == 7:
            with torch.no_grad():
                next(trainer.objective.model.parameters())[0] = float("inf")


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    hooks = [Overflow(), SaveCheckpoint(tmp_path, "")]
    with pytest.raises(LossError, match=r"not finite: features\.0\.weight\. They are not saved"):
        fit(random_batches(), hooks=hooks, epochs=3)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["checkpoint_epoch_00001.pyth"]
