"""Which checkpoint a run begins with."""

import json
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from slowfast.checkpoint.io import CheckpointError, best_path, last_checkpoint, read_checkpoint
from slowfast.engine import load_predictions
from slowfast.engine.run import build_testing, build_training, run
from slowfast.engine.weights import ConfigMismatchError, build_test_path
from slowfast.models.layers.image_resnet import ImageResNet
from slowfast.models.layers.resnet2d import PretrainedError
from tests.engine import runs


@pytest.fixture(autouse=True)
def little_data(monkeypatch):
    kwargs = runs.dummy.DummyVideos.__init__.__kwdefaults__
    monkeypatch.setitem(kwargs, "num_videos", 18)


@pytest.fixture
def trained(tmp_path):
    build_training(runs.config(tmp_path / "old", SOLVER__MAX_EPOCH=1)).run()
    return last_checkpoint(tmp_path / "old")


def weight(model):
    return model.state_dict()["features.0.weight"]


def test_start_from_weights_is_not_resume(trained, tmp_path, caplog):
    caplog.set_level("INFO")
    cfg = runs.config(tmp_path / "new", TRAIN__CHECKPOINT_FILE_PATH=trained, MODEL__NUM_CLASSES=7)
    training = build_training(cfg)
    assert training.start_epoch == 0
    assert not training.trainer.optimizer.state
    loaded = weight(training.trainer.objective.model)
    assert torch.equal(loaded, read_checkpoint(trained)["model_state"]["features.0.weight"])
    assert f"starting from {trained}" in caplog.text


def test_resume_goes_before_start_from_weights(trained, tmp_path):
    build_training(runs.config(tmp_path / "new", RNG_SEED=9, SOLVER__MAX_EPOCH=1)).run()
    expected = read_checkpoint(last_checkpoint(tmp_path / "new"))
    cfg = runs.config(tmp_path / "new", RNG_SEED=9, TRAIN__CHECKPOINT_FILE_PATH=trained)
    training = build_training(cfg)
    assert training.start_epoch == 1
    found = weight(training.trainer.objective.model)
    assert torch.equal(found, expected["model_state"]["features.0.weight"])


def test_weights_of_another_network_do_not_start_a_training(trained, tmp_path):
    cfg = runs.config(tmp_path / "new", TRAIN__CHECKPOINT_FILE_PATH=trained, TINY__WIDTH=16)
    with pytest.raises(CheckpointError, match="features"):
        build_training(cfg)


def test_start_from_weights_that_saw_something_else(trained, tmp_path, caplog):
    cfg = runs.config(tmp_path / "new", TRAIN__CHECKPOINT_FILE_PATH=trained, DATA__SAMPLING_RATE=4)
    build_training(cfg)
    assert "DATA.SAMPLING_RATE: 8 in the checkpoint, 4 now" in caplog.text


def test_order_of_test_checkpoints(trained, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(FileNotFoundError, match=r"nothing to test.*TEST\.CHECKPOINT_FILE_PATH"):
        build_test_path(runs.config(out), out)
    cfg = runs.config(out, TRAIN__CHECKPOINT_FILE_PATH=trained)
    assert build_test_path(cfg, out) == trained
    build_training(runs.config(out, SOLVER__MAX_EPOCH=2)).run()
    assert build_test_path(cfg, out) == best_path(out)
    best_path(out).unlink()
    assert build_test_path(cfg, out) == last_checkpoint(out)
    named = runs.config(out, TEST__CHECKPOINT_FILE_PATH="/nowhere.pyth")
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at /nowhere\.pyth"):
        build_testing(named)


def test_another_network_is_not_tested(trained, tmp_path):
    options = {"TEST__CHECKPOINT_FILE_PATH": trained}
    with pytest.raises(ConfigMismatchError, match=r"DATA\.NUM_FRAMES: 2 in the checkpoint, 4 now"):
        build_testing(runs.config(tmp_path, DATA__NUM_FRAMES=4, **options))
    with pytest.raises(CheckpointError, match=r"classes: set MODEL\.NUM_CLASSES"):
        build_testing(runs.config(tmp_path, MODEL__NUM_CLASSES=5, **options))


def test_train_then_test(tmp_path):
    cfg = runs.config(
        tmp_path, SOLVER__MAX_EPOCH=1, TEST__SAVE_RESULTS_PATH="preds.pkl", TEST__BATCH_SIZE=4
    )
    metrics = run(cfg)
    assert {"top1_acc", "top5_acc", "mean_class_f1", "val_top1_err", "val_best_epoch"} <= set(
        metrics
    )
    predictions = load_predictions(tmp_path / "preds.npz")
    assert predictions.num_views == 2 * 3
    assert len(predictions) == 18
    assert predictions.metrics()["top1_acc"] == metrics["top1_acc"]
    lines = (tmp_path / "json_stats.log").read_text().splitlines()
    final = json.loads(lines[-1])
    assert (final["_type"], final["num_videos"]) == ("test_final", 18)


def test_several_numbers_of_views(tmp_path):
    cfg = runs.config(
        tmp_path, SOLVER__MAX_EPOCH=1, TEST__SAVE_RESULTS_PATH="preds",
        TEST__NUM_TEMPORAL_CLIPS="[1, 3]", TEST__NUM_SPATIAL_CROPS=1,
    )  # fmt: skip
    run(cfg)
    saved = sorted(path.name for path in tmp_path.glob("preds*.npz"))
    assert saved == ["preds_1views.npz", "preds_3views.npz"]


def test_the_whole_network_of_tasks(tmp_path):
    cfg = runs.config(
        tmp_path, SOLVER__MAX_EPOCH=1, MODEL__NUM_CLASSES="[3, 5]", MODEL__TASKS="[verb, noun]",
        TRAIN__EMA__ENABLE=True, MODEL__FROZEN_BN=True, TENSORBOARD__ENABLE=True,
    )  # fmt: skip
    metrics = run(cfg)
    assert {"verb_top1_err", "noun_top5_acc", "top1_acc", "val_loss"} <= set(metrics)
    assert list((tmp_path / "runs-kinetics").iterdir())


LSTM = {
    "MODEL__MODEL_NAME": "ResNetLSTM", "MODEL__ARCH": "resnet_lstm", "RESNET__DEPTH": 18,
    "LSTM__HIDDEN_SIZE": 4, "LSTM__NUM_LAYERS": 1, "SOLVER__MAX_EPOCH": 1,
}  # fmt: skip


@pytest.fixture
def image_weights(tmp_path):
    """A file of ResNet-18 weights, told from fresh ones by their values."""
    state = ImageResNet(18).state_dict()
    state["conv1.weight"] = torch.full_like(state["conv1.weight"], 0.25)
    torch.save(state, tmp_path / "resnet18.pth")
    return tmp_path / "resnet18.pth"


@pytest.fixture
def url(image_weights):
    """The same over http."""
    handler = partial(QuietHandler, directory=str(image_weights.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/{image_weights.name}"
        server.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.mark.parametrize("where", ["file", "url"])
def test_image_weights_are_loaded_before_training(
    image_weights, url, tmp_path, caplog, monkeypatch, where
):
    caplog.set_level("INFO")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    source = url if where == "url" else str(image_weights)
    training = build_training(runs.config(tmp_path / "new", MODEL__PRETRAINED=source, **LSTM))
    model = training.trainer.objective.model
    assert (model.backbone.conv1.weight == 0.25).all()
    assert f"image weights: {source}" in caplog.text
    kept = list((tmp_path / "hub").rglob("*.pth"))
    assert len(kept) == (where == "url")


def test_a_resumed_training_needs_no_image_weights(image_weights, tmp_path):
    cfg = runs.config(tmp_path / "new", MODEL__PRETRAINED=str(image_weights), **LSTM)
    build_training(cfg).run()
    image_weights.unlink()
    more = runs.config(
        tmp_path / "new", MODEL__PRETRAINED=str(image_weights), **LSTM | {"SOLVER__MAX_EPOCH": 2}
    )
    training = build_training(more)
    assert training.start_epoch == 1
    training.run()


def test_a_checkpoint_takes_the_place_of_image_weights(image_weights, tmp_path):
    build_training(runs.config(tmp_path / "old", **LSTM)).run()
    checkpoint = last_checkpoint(tmp_path / "old")
    missing = str(tmp_path / "missing.pth")
    cfg = runs.config(
        tmp_path / "new",
        MODEL__PRETRAINED=missing,
        TRAIN__CHECKPOINT_FILE_PATH=checkpoint,
        **LSTM,
    )
    assert not build_training(cfg).trainer.objective.model.pending
    with pytest.raises(PretrainedError, match=r"missing.pth: no such file"):
        build_training(runs.config(tmp_path / "other", MODEL__PRETRAINED=missing, **LSTM))
