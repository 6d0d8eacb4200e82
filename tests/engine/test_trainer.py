from copy import deepcopy

import pytest
import torch
from torch import nn

from slowfast.engine import Hook, Supervised, Trainer
from slowfast.engine.guard import LossGuard
from slowfast.engine.hook import EVENTS
from slowfast.engine.schedule import cosine
from slowfast.models.tiny import TinyNet
from tests.conftest import random_batches


def sgd(module, lr=0.05):
    return torch.optim.SGD(module.parameters(), lr, momentum=0.9)


def supervised(model):
    return Supervised(model, nn.CrossEntropyLoss())


def assert_same_state(ours, theirs):
    for (name, value), other in zip(
        ours.state_dict().items(), theirs.state_dict().values(), strict=True
    ):
        assert torch.equal(value, other), name


class NoNorm(nn.Module):
    """Batch norm would tie a clip's gradient to the batch it came in."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 4)

    def forward(self, clips):
        return self.linear(clips[0].mean(dim=(2, 3, 4)))


def plain_loop(model, batches, epochs, lr_at, clip=None):
    optimizer = sgd(model.train())
    for epoch in range(epochs):
        for i, batch in enumerate(batches):
            optimizer.param_groups[0]["lr"] = lr_at(epoch + i / len(batches))
            loss = nn.functional.cross_entropy(model(batch.clips), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()


@pytest.mark.parametrize("clip", [None, 0.1])
def test_equals_a_plain_loop(tiny, batches, clip):
    """Bit for bit, so that no hook, wrapper or refactoring can change the mathematics."""
    plain = deepcopy(tiny)
    plain_loop(plain, batches, 3, cosine(0.05, 3), clip)
    trainer = Trainer(supervised(tiny), sgd(tiny), cosine(0.05, 3), batches, clip_grad_norm=clip)
    trainer.fit(3)
    assert_same_state(tiny, plain)
    assert (trainer.grad_norm is None) == (clip is None)


def test_dropout_draws_what_a_plain_loop_draws(batches):
    model = TinyNet(num_classes=4, dropout=0.5)
    plain = deepcopy(model)
    torch.manual_seed(1)
    plain_loop(plain, batches, 2, cosine(0.05, 2))
    torch.manual_seed(1)
    Trainer(supervised(model), sgd(model), cosine(0.05, 2), batches).fit(2)
    assert_same_state(model, plain)


def merged(batches):
    clips = torch.cat([batch.clips[0] for batch in batches])
    return batches[0]._replace(clips=[clips], labels=torch.cat([b.labels for b in batches]))


@pytest.mark.parametrize("sizes", [(4, 4, 4, 4), (4, 4, 4, 4, 4), (4, 2, 4, 1, 3)])
def test_accumulating_equals_the_large_batch(sizes):
    """Also for a last, incomplete group and for batches of unequal size."""
    small = [random_batches(size, num_batches=1, seed=i)[0] for i, size in enumerate(sizes)]
    large = [merged(small[i : i + 2]) for i in range(0, len(small), 2)]
    model = NoNorm()
    other = deepcopy(model)
    schedule = cosine(0.05, 2)
    Trainer(supervised(model), sgd(model), schedule, small, accumulate_steps=2).fit(2)

    def at_first_of_group(epoch):  # the rate of a group is that of its first small batch
        group = round((epoch - int(epoch)) * len(large))
        return schedule(int(epoch) + 2 * group / len(small))

    Trainer(supervised(other), sgd(other), at_first_of_group, large).fit(2)
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_gradient_entries_are_clipped(tiny, batches):
    class Largest(Hook):
        def after_step(self, trainer, batch, output):
            grads = [p.grad for g in trainer.optimizer.param_groups for p in g["params"]]
            self.value = max(grad.abs().max().item() for grad in grads)

    hook = Largest()
    trainer = Trainer(supervised(tiny), sgd(tiny), cosine(0.05, 1), batches, hooks=[hook])
    trainer.fit(1)
    assert hook.value > 1e-3
    trainer.clip_grad_value = 1e-3
    trainer.fit(1)
    assert hook.value == pytest.approx(1e-3)


def recorder(calls):
    def record(event):
        return lambda self, trainer, *args: calls.append(event)

    return type("Recorder", (Hook,), {event: record(event) for event in EVENTS})()


def test_hooks_run_in_order(tiny, batches):
    calls = []
    hooks = [recorder(calls)]
    Trainer(supervised(tiny), sgd(tiny), cosine(0.05, 1), batches[:2], hooks=hooks).fit(1)
    step = ["after_backward", "after_step", "after_batch", "between_steps"]
    assert calls == [
        "before_train", "before_epoch", *step, *step, "after_epoch", "end_epoch", "after_train",
    ]  # fmt: skip


def test_a_step_hook_runs_once_per_group(tiny, batches):
    calls = []
    trainer = Trainer(
        supervised(tiny), sgd(tiny), cosine(0.05, 1), batches[:3], hooks=[recorder(calls)],
        accumulate_steps=2,
    )  # fmt: skip
    trainer.fit(1)
    assert calls.count("after_batch") == 3
    assert calls.count("after_step") == calls.count("after_backward") == 2


def test_hooks_can_stop(tiny, batches):
    class Stop(Hook):
        def after_epoch(self, trainer):
            trainer.should_stop = trainer.epoch == 1
            assert trainer.is_due(100) == (trainer.epoch == 1)

    trainer = Trainer(supervised(tiny), sgd(tiny), cosine(0.05, 9), batches, hooks=[Stop()])
    trainer.fit(9)
    assert trainer.epoch == 1
    assert trainer.step == 2 * len(batches) - 1


def test_stops_on_a_loss_that_is_not_finite(tiny, batches):
    objective = Supervised(tiny, lambda preds, labels: preds.sum() * float("nan"))
    with pytest.raises(FloatingPointError, match=r"nan at step 0 with lr 0\.05, on video0\.mp4"):
        Trainer(objective, sgd(tiny), cosine(0.05, 1), batches).fit(1)


def test_stops_on_a_loss_that_explodes(tiny, batches):
    losses = iter([1.0, 1.1, 50.0, 1.0])
    objective = Supervised(tiny, lambda preds, labels: preds.sum() * 0 + next(losses))
    guard = LossGuard(explosion_factor=10)
    trainer = Trainer(objective, sgd(tiny), cosine(0.05, 1), batches, guard=guard)
    with pytest.raises(FloatingPointError, match=r"loss is 50\.0 at step 2"):
        trainer.fit(1)


def test_an_empty_loader_is_an_error(tiny):
    with pytest.raises(ValueError, match=r"TRAIN\.BATCH_SIZE"):
        Trainer(supervised(tiny), sgd(tiny), cosine(0.05, 1), []).fit(1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_learns(tiny, batches, dtype):
    trainer = Trainer(supervised(tiny), sgd(tiny), cosine(0.05, 4), batches, amp_dtype=dtype)
    losses = []

    class Collect(Hook):
        def after_batch(self, trainer, batch, output):
            losses.append(output.loss.item())

    trainer.hooks.append(Collect())
    trainer.fit(4)
    assert trainer.scaler.is_enabled() == (dtype is torch.float16)
    assert losses[-1] < losses[0]


def test_randomness_of_the_batch_transform(tiny, batches):
    """A function of seed, epoch and step: not of what ran before."""
    seen = []

    def transform(batch, generator):
        seen.append(torch.rand((), generator=generator).item())
        return batch

    def run(start, stop, seed=0):
        seen.clear()
        Trainer(
            supervised(deepcopy(tiny)), sgd(tiny), cosine(0.05, 2), batches,
            batch_transform=transform, seed=seed,
        ).fit(stop, start)  # fmt: skip
        return list(seen)

    whole = run(0, 2)
    assert len(set(whole)) == 2 * len(batches)
    assert run(1, 2) == whole[len(batches) :]
    assert not set(run(0, 2, seed=1)) & set(whole)


def test_the_loader_is_told_the_epoch(tiny, batches):
    epochs = []

    class Loader(list):
        def set_epoch(self, epoch):
            epochs.append(epoch)

    loader = Loader(batches)
    Trainer(supervised(tiny), sgd(tiny), cosine(0.05, 5), loader).fit(5, 3)
    assert epochs == [3, 4]


@pytest.mark.parametrize("known", [True, False])
def test_what_the_epoch_trained_is_missed_in_older_states(tiny, known, caplog):
    trainer = Trainer(supervised(tiny), sgd(tiny), lambda _: 0.05, random_batches())
    state = trainer.state_dict()
    if not known:
        del state["taken"]
    trainer.load_state_dict(state)
    assert ("it begins anew" in caplog.text) is not known
    assert trainer.first_iteration == 0
