"""Asked to stop at any step, a run saves, ends with its status, and goes on as if never stopped."""

import os
import signal

import pytest

from slowfast.checkpoint.io import list_states, read_last_checkpoint
from slowfast.engine import Hook
from slowfast.engine.hooks.preemption import StopRequest
from slowfast.engine.run import build_training
from slowfast.utils.signals import PREEMPTED_STATUS, SIGNALS, Preempted
from tests.engine import runs
from tests.engine.test_resume import differences, final_state


@pytest.fixture(autouse=True)
def little_data(monkeypatch):
    kwargs = runs.dummy.DummyVideos.__init__.__kwdefaults__
    monkeypatch.setitem(kwargs, "num_videos", 18)


class Signal(Hook):
    """Signals its own process while it is at ``step``."""

    def __init__(self, step, signum=signal.SIGUSR1):
        self.step, self.signum = step, signum

    def after_backward(self, trainer):
        if trainer.step == self.step:
            os.kill(os.getpid(), self.signum)


def preempt(config, step, signum=signal.SIGUSR1):
    training = build_training(config, hooks=[Signal(step, signum)])
    with pytest.raises(Preempted) as stop:
        training.run()
    assert stop.value.code == PREEMPTED_STATUS
    return training


ADAM = {
    "SOLVER__OPTIMIZING_METHOD": "adamw",
    "TRAIN__MIXED_PRECISION": True,
    "TRAIN__AMP_DTYPE": "fp16",
}


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({}, (0, 3, 5)),  # the first batch; the last of an epoch; in the middle of one
        (runs.everything() | {"TRAIN__SAMPLE_FILTER__ENABLE": True}, (1, 9)),  # two batches a step
        ({**ADAM, "DATA_LOADER__NUM_WORKERS": 2}, (6,)),
    ],
    ids=["plain", "everything", "workers"],
)
def test_preempted_and_resumed_equals_uninterrupted(tmp_path, options, steps):
    metrics = build_training(runs.config(tmp_path / "whole", **options)).run()
    cfg = runs.config(tmp_path / "parts", **options)
    before = [signal.getsignal(signum) for signum in SIGNALS]
    for step, signum in zip(steps, SIGNALS, strict=False):
        preempt(cfg, step, signum)
        done, within = divmod(step + 1, 4)
        if not within:  # the epoch's end is still to come
            done, within = done - 1, 4
        found = [path.name for path in list_states(tmp_path / "parts")]
        assert found[-1] == f"checkpoint_epoch_{done:05d}_iter_{within:05d}.pyth"
    assert [signal.getsignal(signum) for signum in SIGNALS] == before
    training = build_training(cfg)
    assert (training.start_epoch, training.trainer.first_iteration) == (done, within)
    assert training.run() == metrics
    assert differences(final_state(tmp_path / "whole"), final_state(tmp_path / "parts")) == []
    assert not [path for path in list_states(tmp_path / "parts") if "_iter_" in path.name]


def test_the_log_of_an_epoch_in_two_parts_is_that_of_one(tmp_path):
    build_training(runs.config(tmp_path / "whole", LOG_PERIOD=3)).run()
    cfg = runs.config(tmp_path / "parts", LOG_PERIOD=3)
    preempt(cfg, 5)
    build_training(cfg).run()
    names = ("_type", "epoch", "iter", "loss", "top1_err", "lr")

    def lines(name):
        stats = runs.read_stats(tmp_path / name)
        return [{key: line.get(key) for key in names} for line in stats]

    assert lines("parts") == lines("whole")
    assert len(lines("parts")) == 3 * 3  # a window, an epoch, a validation


def test_checkpoints_within_an_epoch(tmp_path):
    cfg = runs.config(tmp_path, TRAIN__CHECKPOINT_STEPS=1, SOLVER__MAX_EPOCH=1)
    training = build_training(cfg, hooks=[Stop(at=3)])
    with pytest.raises(KeyboardInterrupt):
        training.run()
    names = [path.name for path in list_states(tmp_path)]
    assert names == [f"checkpoint_epoch_00000_iter_{n:05d}.pyth" for n in (2, 3)]  # two stay
    list_states(tmp_path)[-1].write_bytes(b"damaged")
    path, state = read_last_checkpoint(tmp_path)
    assert (path.name, state["epoch"]) == (names[0], -1)
    build_training(cfg).run()
    assert [path.name for path in list_states(tmp_path)] == ["checkpoint_epoch_00001.pyth"]


class Stop(Hook):
    def __init__(self, at):
        self.at = at

    def after_backward(self, trainer):
        if trainer.iteration == self.at:
            raise KeyboardInterrupt


def test_fewer_batches_per_epoch_go_on_at_the_same_clip(tmp_path):
    """As with other processes: each batch then has another size."""
    preempt(runs.config(tmp_path, TRAIN__BATCH_SIZE=2), 5)  # 6 of 9 batches
    training = build_training(runs.config(tmp_path, TRAIN__BATCH_SIZE=6))
    assert training.trainer.first_iteration == 2  # of 3
    training.run()


def test_a_loader_that_cannot_skip(tmp_path, batches, tiny):
    import torch
    from torch import nn

    from slowfast.engine import Supervised, Trainer

    seen = []

    class Seen(Hook):
        def after_batch(self, trainer, batch, output):
            seen.append((trainer.epoch, int(batch.clip_ids[0]) // 8))

    optimizer = torch.optim.SGD(tiny.parameters(), 0.01)
    objective = Supervised(tiny, nn.CrossEntropyLoss())
    trainer = Trainer(objective, optimizer, lambda _: 0.01, batches, hooks=[Seen()])
    trainer.first_iteration = 3
    trainer.fit(2)
    assert seen == [(0, 3), (1, 0), (1, 1), (1, 2), (1, 3)]


def test_hands_the_signal_on():
    """submitit asks for the job anew in its own handler of SIGUSR2."""
    told = []
    old = signal.signal(signal.SIGUSR2, lambda signum, frame: told.append(signum))
    try:
        request = StopRequest()
        request.listen()
        assert not request.heard()
        os.kill(os.getpid(), signal.SIGUSR2)
        os.kill(os.getpid(), signal.SIGTERM)  # the first one counts
        assert request.heard() == signal.SIGUSR2
        assert told == []
        request.hand_on(signal.SIGUSR2)
        assert told == [signal.SIGUSR2]
    finally:
        signal.signal(signal.SIGUSR2, old)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
