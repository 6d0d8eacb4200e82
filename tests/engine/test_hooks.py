import json
import logging
from copy import deepcopy

import pytest
import torch
from torch import nn

from slowfast.checkpoint.io import best_path, list_checkpoints, read_checkpoint
from slowfast.engine import Hook, Supervised, Trainer
from slowfast.engine.hooks import (
    EMA,
    EarlyStopping,
    Evaluate,
    FrozenBN,
    JsonLog,
    LogStats,
    PreciseBN,
    ProgressBar,
    SaveCheckpoint,
    TensorBoard,
)
from slowfast.engine.hooks.weights import training_clips
from slowfast.engine.precise_bn import update_bn_stats
from slowfast.engine.schedule import cosine
from slowfast.utils.progress import Progress
from tests.conftest import random_batches


def build(model, batches, *hooks, epochs=4, **options):
    objective = Supervised(model, nn.CrossEntropyLoss())
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    return Trainer(objective, optimizer, cosine(0.05, epochs), batches, hooks=hooks, **options)


def scripted(values, name="top1_err"):
    """An evaluation that gives these values, one after the other."""
    values = iter(values)
    return lambda: (None, {name: next(values)})


# --- numbers


def test_json_stats_are_pyslowfasts(tiny, batches, tmp_path, caplog):
    path = tmp_path / "json_stats.log"
    caplog.set_level(logging.INFO)
    evaluate = Evaluate(scripted([50.0, 40.0]))
    build(tiny, batches, JsonLog(path), LogStats(2), evaluate).fit(2)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["_type"] for line in lines] == [
        "train_iter_", "train_iter_", "train_epoch", "val_epoch",
    ] * 2  # fmt: skip
    first, epoch, val = lines[0], lines[2], lines[-1]
    assert (first["epoch"], first["iter"], epoch["epoch"]) == ("1/2", "2/4", "1/2")
    for key in ("dt", "dt_data", "dt_net", "eta", "loss", "lr", "top1_err", "top5_err", "gpu_mem"):
        assert key in first, key
        assert key in epoch, key
    assert epoch["RAM"].endswith("G")
    assert val["min_top1_err"] == 40.0
    assert caplog.text.count("json_stats: {") == len(lines)
    build(tiny, batches, JsonLog(path), LogStats(4)).fit(1)  # a resumed run appends
    assert len(path.read_text().splitlines()) == len(lines) + 2


def test_window_medians_and_epoch_means(tiny):
    batches = random_batches(num_batches=3)
    losses, errors = [], []

    class Collect(Hook):
        stats = None

        def after_batch(self, trainer, batch, output):
            losses.append(output.loss.item())
            wrong = (output.preds.argmax(1) != batch.labels).double()
            errors.append(100 * wrong.mean().item())

        def on_stats(self, trainer, stats):
            self.stats = {**(self.stats or {}), stats["_type"]: stats}

    collect = Collect()
    build(tiny, batches, collect, LogStats(3)).fit(1)
    window, epoch = collect.stats["train_iter_"], collect.stats["train_epoch"]
    assert window["loss"] == pytest.approx(sorted(losses)[1])
    assert window["top1_err"] == pytest.approx(sorted(errors)[1])
    assert epoch["loss"] == pytest.approx(sum(losses) / 3)
    assert epoch["top1_err"] == pytest.approx(sum(errors) / 3)


def test_progress_bars_open_and_close(tiny, batches):
    bars = []

    def open_bar(total, description):
        bars.append(Progress(total, description))
        return bars[-1]

    build(tiny, batches, ProgressBar(open_bar)).fit(2)
    assert [(bar.done, bar.total, bar.description) for bar in bars] == [
        (4, 4, "train 1/2"), (4, 4, "train 2/2"),
    ]  # fmt: skip


def test_tensorboard(tiny, batches, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    drawn = []
    board = TensorBoard(
        tmp_path,
        draw=[lambda writer, predictions, step: drawn.append(step)],
        draw_batch=[lambda writer, batch, step: drawn.append(len(batch.clips[0]))],
    )
    evaluate = Evaluate(lambda: ("predictions", {"top1_err": 25.0}))
    build(tiny, batches, board, LogStats(2), evaluate).fit(1)
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert {"Train/loss", "Train/lr", "Train/Top1_err", "Val/Top1_err"} <= set(
        events.Tags()["scalars"]
    )
    assert [event.step for event in events.Scalars("Train/loss")] == [2, 4]
    assert drawn == [8, 4]


# --- evaluation


def test_evaluates_every_period_and_at_the_end(tiny, batches):
    epochs = []

    class Seen(Hook):
        def after_evaluate(self, trainer, predictions):
            epochs.append(trainer.epoch)

    build(tiny, batches, Evaluate(scripted([1.0] * 9), 2), Seen(), epochs=5).fit(5)
    assert epochs == [1, 3, 4]


@pytest.mark.parametrize(
    ("values", "options", "stops_after"),
    [
        ([50, 40, 41, 42, 30], {"patience": 2}, 4),
        ([50, 40, 41, 39, 40, 40], {"patience": 2}, 6),
        ([50, 49.9995, 49.9992, 1], {"patience": 2, "min_delta": 0.001}, 3),
        ([1, 2, 3, 2, 1, 9], {"patience": 2, "mode": "max"}, 5),
        ([5, 4, 3, 2, 1], {"patience": 1}, 5),
    ],
)
def test_early_stopping(tiny, batches, values, options, stops_after):
    stop = EarlyStopping("top1_err", **options)
    trainer = build(tiny, batches[:1], Evaluate(scripted(values)), stop, epochs=len(values))
    trainer.fit(len(values))
    assert trainer.epoch + 1 == stops_after


def test_early_stopping_counts_evaluations_not_epochs(tiny, batches):
    hooks = (Evaluate(scripted([5, 5, 5, 5]), 3), EarlyStopping("top1_err", 2))
    trainer = build(tiny, batches[:1], *hooks, epochs=20)
    trainer.fit(20)
    assert trainer.epoch + 1 == 9


def test_a_stopped_training_stays_stopped(tiny, batches):
    stop = EarlyStopping("top1_err", 1)
    build(tiny, batches[:1], Evaluate(scripted([5, 6])), stop, epochs=9).fit(9)
    again = EarlyStopping("top1_err", 1)
    again.load_state_dict(stop.state_dict())
    trainer = build(tiny, batches[:1], again, epochs=9)
    trainer.fit(9, 2)
    assert trainer.step == 0


def test_a_metric_that_does_not_exist(tiny, batches):
    hooks = (Evaluate(scripted([5])), EarlyStopping("accuracy", 2))
    with pytest.raises(ValueError, match=r"METRIC is 'accuracy', but evaluation gives top1_err"):
        build(tiny, batches, *hooks).fit(1)


# --- files


def test_saves_every_period_the_last_and_the_best(tiny, batches, tmp_path):
    save = SaveCheckpoint(tmp_path, "{}", period=2, best_metric="top1_err")
    build(tiny, batches[:1], Evaluate(scripted([5, 3, 4, 3, 9])), save, epochs=5).fit(5)
    names = [path.name[-10:-5] for path in list_checkpoints(tmp_path)]
    assert names == ["00002", "00004", "00005"]
    best = read_checkpoint(best_path(tmp_path))
    assert (best["epoch"], best["metrics"]) == (1, {"top1_err": 3})
    assert "optimizer_state" not in best
    state = read_checkpoint(list_checkpoints(tmp_path)[-1])["trainer_state"]
    assert state["hooks"]["SaveCheckpoint"] == {"best": 3, "best_epoch": 1}


def test_an_early_stop_is_saved(tiny, batches, tmp_path):
    hooks = (
        Evaluate(scripted([5, 6, 7])),
        EarlyStopping("top1_err", 2),
        SaveCheckpoint(tmp_path, "{}", period=100),
    )
    build(tiny, batches[:1], *hooks, epochs=50).fit(50)
    (path,) = list_checkpoints(tmp_path)
    assert read_checkpoint(path)["epoch"] == 2


def test_keeps_the_newest(tiny, batches, tmp_path):
    save = SaveCheckpoint(tmp_path, "{}", keep=2, best_metric="top1_err")
    build(tiny, batches[:1], Evaluate(scripted([1, 2, 3, 4])), save).fit(4)
    assert [read_checkpoint(p)["epoch"] for p in list_checkpoints(tmp_path)] == [2, 3]
    assert read_checkpoint(best_path(tmp_path))["epoch"] == 0


# --- weights


def test_frozen_bn(tiny, batches):
    before = deepcopy(tiny.state_dict())
    build(tiny, batches, FrozenBN()).fit(2)
    for name, value in tiny.state_dict().items():
        assert torch.equal(value, before[name]) == ("running" in name or "tracked" in name), name


def test_precise_bn_is_the_statistic_of_the_population(tiny):
    """Of unequal batches, too: that of all their clips' activations at once."""
    batches = random_batches(8, num_batches=2) + random_batches(3, num_batches=1, seed=9)
    clips = [batch.clips for batch in batches]
    first = tiny.features[0]
    with torch.no_grad():
        x = torch.cat([first(c[0]) for c in clips]).transpose(0, 1).flatten(1)
    tiny.train()
    rng = torch.get_rng_state()
    momentum = tiny.features[1].momentum
    assert update_bn_stats(tiny, clips, 200) == 3
    torch.testing.assert_close(tiny.features[1].running_mean, x.mean(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(tiny.features[1].running_var, x.var(1), rtol=1e-4, atol=1e-5)
    assert torch.equal(rng, torch.get_rng_state())
    assert tiny.features[1].momentum == momentum


def test_precise_bn_leaves_frozen_layers_and_uses_few_batches(tiny):
    tiny.train()
    tiny.features[1].eval()
    before = tiny.features[1].running_mean.clone()
    clips = iter([batch.clips for batch in random_batches(num_batches=4)])
    assert update_bn_stats(tiny, clips, 2) == 2
    assert len(list(clips)) == 2
    assert torch.equal(tiny.features[1].running_mean, before)
    assert update_bn_stats(tiny.eval(), iter([]), 2) == 0
    with pytest.raises(ValueError, match="no batch"):
        update_bn_stats(tiny.train(), iter([]), 2)


def test_precise_bn_runs_when_something_needs_it(tiny, batches):
    used = []

    def clips(trainer):
        used.append(trainer.epoch)
        return training_clips(trainer)

    build(tiny, batches, PreciseBN(clips, 2, (2, 3)), epochs=5).fit(5)
    assert used == [1, 2, 3, 4]


def test_ema_by_its_formula(tiny, batches):
    """And what is trained does not notice it."""
    plain, average, count = deepcopy(tiny), deepcopy(tiny.state_dict()), 0

    class Average(Hook):
        def after_step(self, trainer, batch, output):
            nonlocal count
            count += 1
            decay = min(0.5, (1 + count) / (10 + count))
            for name, value in plain.state_dict().items():
                if value.is_floating_point():
                    average[name] = decay * average[name] + (1 - decay) * value
                else:
                    average[name] = value.clone()

    class Swapped(Hook):
        def after_epoch(self, trainer):
            for name, value in tiny.state_dict().items():
                torch.testing.assert_close(value, average_then[trainer.epoch][name])

        def before_epoch(self, trainer):
            if trainer.epoch:
                trained = trained_then[trainer.epoch - 1]
                assert all(torch.equal(v, trained[n]) for n, v in tiny.state_dict().items())

    average_then, trained_then = [], []

    class Keep(Hook):
        def after_epoch(self, trainer):
            average_then.append(deepcopy(average))
            trained_then.append(deepcopy(plain.state_dict()))

    build(plain, batches, Average(), Keep()).fit(3)
    build(tiny, batches, EMA(tiny, 0.5), Swapped()).fit(3)
    for name, value in tiny.state_dict().items():  # the caller gets the average
        torch.testing.assert_close(value, average_then[-1][name])


def test_checkpoints_hold_the_average_and_the_weights(tiny, batches, tmp_path):
    hooks = (EMA(tiny, 0.5), SaveCheckpoint(tmp_path, "{}"))
    build(tiny, batches, *hooks).fit(1)
    checkpoint = read_checkpoint(list_checkpoints(tmp_path)[-1])
    name = "features.0.weight"
    assert torch.equal(checkpoint["model_state"][name], tiny.state_dict()[name])
    trained = checkpoint["trainer_state"]["hooks"]["EMA"]["weights"][name]
    assert not torch.equal(trained, checkpoint["model_state"][name])
