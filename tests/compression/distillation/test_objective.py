"""The teacher-student objective: what it must equal, and what it must leave alone."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from slowfast.compression.distillation.activations import find_last_map
from slowfast.compression.distillation.losses import LOSSES, dist, kd
from slowfast.compression.distillation.objective import (
    Distillation,
    DistillationError,
    Teacher,
)
from slowfast.engine.objective import Supervised
from slowfast.engine.trainer import Trainer
from slowfast.models.resnet_lstm import ResNetLSTM
from slowfast.models.slowfast import SlowFast
from slowfast.models.tiny import TinyNet
from slowfast.utils.errors import UserError
from tests.conftest import random_batches


def same_clips(batch):
    return batch.clips


def teacher(width=12, **options):
    torch.manual_seed(1)
    options = {"num_classes": 4} | options
    return Teacher(TinyNet(width=width, **options), same_clips)


def distillation(student, *teachers, **options):
    return Distillation(student, teachers or [teacher()], F.cross_entropy, **options)


def train(objective, hooks=()):
    optimizer = torch.optim.SGD(objective.trainable.parameters(), lr=0.05, momentum=0.9)
    torch.manual_seed(2)  # dropout
    trainer = Trainer(objective, optimizer, lambda epoch: 0.05, random_batches(), hooks=hooks)
    trainer.fit(2)
    return trainer


def test_alone_it_is_supervised_training_bit_for_bit():
    first = TinyNet(num_classes=4, dropout=0.5)
    second = copy.deepcopy(first)
    train(Supervised(first, F.cross_entropy))
    train(distillation(second, alpha=1.0, losses={"dist": 1.0, "dkd": 1.0}))
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


@pytest.mark.parametrize("alpha", [1.0, 0.5])
@pytest.mark.parametrize("losses", [{"kd": 1.0}, {"feature": 1.0}])
def test_what_trains_may_be_wrapped(tiny, alpha, losses):
    """As DDP does, which passes calls on but no attributes."""

    class Wrapper(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

        def forward(self, clips):
            return self.module(clips)

    objective = distillation(tiny, alpha=alpha, losses=losses)
    (batch,) = random_batches(num_batches=1)
    expected = objective(batch).loss
    objective.trainable = Wrapper(objective.trainable)
    assert torch.equal(objective(batch).loss, expected)


@pytest.mark.parametrize("name", LOSSES)
def test_the_teacher_stays_as_it_is(name, tiny):
    tutor = teacher()
    before = copy.deepcopy(tutor.model.state_dict())
    (example,) = random_batches(num_batches=1)
    objective = distillation(tiny, tutor, losses={name: 1.0}, example=example)
    weights = copy.deepcopy(tiny.state_dict())
    train(objective)
    for key, value in tutor.model.state_dict().items():
        assert torch.equal(value, before[key]), key
    assert all(p.grad is None for p in tutor.model.parameters())
    assert not torch.equal(tiny.state_dict()["features.0.weight"], weights["features.0.weight"])
    assert all(not module.training for module in tutor.model.modules())


def test_the_sum(tiny):
    tutor = teacher()
    (batch,) = random_batches(num_batches=1)
    objective = distillation(
        tiny, tutor, alpha=0.3, temperature=2.0, losses={"kd": 0.5, "dist": 2.0}, warmup_epochs=2
    )
    objective.epoch = 0.5
    output = objective(batch)
    ours = output.preds
    theirs = tutor.model.eval()(batch.clips)
    taught = 0.5 * kd(ours, theirs, temperature=2.0) + 2 * dist(ours, theirs, temperature=2.0)
    expected = 0.3 * F.cross_entropy(ours, batch.labels) + 0.7 * 0.25 * taught
    torch.testing.assert_close(output.loss.detach(), expected.detach())
    assert set(output.parts) == {"loss_label", "loss_kd", "loss_dist"}


def test_several_teachers_give_the_mean_of_their_logits(tiny):
    tutors = [teacher(8), teacher(6)]
    (batch,) = random_batches(num_batches=1)
    output = distillation(tiny, *tutors, alpha=0.0, losses={"kd": 1.0})(batch)
    mean = sum(tutor.model(batch.clips) for tutor in tutors) / 2
    torch.testing.assert_close(output.loss, kd(output.preds, mean))


def test_tasks_are_taught_one_by_one():
    student = TinyNet(num_classes={"verb": 4, "noun": 7})
    tutor = teacher(num_classes={"verb": 4, "noun": 7})
    (batch,) = random_batches(num_batches=1, tasks=("verb", "noun"))
    output = distillation(student, tutor, alpha=0.0, losses={"dkd": 1.0, "dist": 1.0})(batch)
    alone = [
        distillation(student, tutor, alpha=0.0, losses={name: 1.0})(batch).loss
        for name in ("dkd", "dist")
    ]
    torch.testing.assert_close(output.loss, sum(alone))
    theirs = tutor.model(batch.clips)
    each = [dist(output.preds[task], theirs[task]) for task in ("verb", "noun")]
    torch.testing.assert_close(alone[1], sum(each) / 2)


def test_a_projector_is_trained_with_the_student(tiny):
    tutors = [teacher(8), teacher(6)]
    objective = distillation(tiny, *tutors, losses={"feature": 1.0})
    (batch,) = random_batches(num_batches=1)
    objective(batch).loss.backward()
    assert objective.trainable.projector.out_features == 16 + 12
    assert all(p.grad is not None for p in objective.trainable.parameters())


def test_attention_compares_pathways(tiny):
    (batch,) = random_batches(num_batches=1, num_frames=8, size=64, batch_size=2)
    student = SlowFast(num_classes=4, depth=18, branch="basic", width=16, alpha=4, num_frames=8)
    two = batch._replace(clips=[batch.clips[0][:, :, ::4], batch.clips[0]])
    assert find_last_map(student, two.clips) == "s5"
    tutor = Teacher(TinyNet(num_classes=4), lambda b: b.clips[-1:])
    objective = distillation(
        student, tutor, losses={"attention": 1.0}, example=two, alpha=0.0
    )  # fmt: skip
    output = objective(two)
    assert 0 < output.loss < 2
    modes = {module.training for module in student.modules()}
    find_last_map(student, two.clips)
    assert {module.training for module in student.modules()} == modes


def test_an_image_network_has_no_attention_in_time():
    (batch,) = random_batches(num_batches=1, num_frames=2, size=32, batch_size=1)
    with pytest.raises(UserError, match="another distillation loss than attention"):
        find_last_map(ResNetLSTM(num_classes=4, depth=18, hidden_size=8), batch.clips)


def test_refusals(tiny):
    with pytest.raises(DistillationError, match=r"student predicts .*4.*teacher .*7.*NUM_CLASSES"):
        distillation(tiny, teacher(num_classes=7))
    with pytest.raises(DistillationError, match=r"no distillation loss \['kl'\]; known: kd, "):
        distillation(tiny, losses={"kl": 1.0})
    with pytest.raises(DistillationError, match="at least one teacher"):
        Distillation(tiny, [], F.cross_entropy)


def test_warm_up(tiny):
    objective = distillation(tiny, warmup_epochs=1.5)
    seen = []
    objective.register_forward_hook(lambda *_: seen.append(objective.ramp))
    train(objective)
    expected = [min(batch / 4 / 1.5, 1.0) for batch in range(8)]  # four batches an epoch
    assert seen == pytest.approx(expected)
    assert distillation(tiny).ramp == 1
