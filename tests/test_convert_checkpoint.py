"""tools/convert_checkpoint.py end to end: what it writes is tested by run_net --eval."""

import json
import runpy
from pathlib import Path

import pytest
import torch
from torch import nn

from slowfast.config import load_cfg
from slowfast.datasets.dummy import DummyVideos
from slowfast.engine import load_predictions
from slowfast.models import build_model

REPO = Path(__file__).parents[1]
COMMON = """
DATA: {DUMMY_LOAD: True, NUM_FRAMES: 8, TRAIN_CROP_SIZE: 32, TEST_CROP_SIZE: 32,
       TRAIN_JITTER_SCALES: [32, 36]}
TEST: {BATCH_SIZE: 4, NUM_ENSEMBLE_VIEWS: 1, NUM_SPATIAL_CROPS: 1, SAVE_RESULTS_PATH: preds}
DATA_LOADER: {NUM_WORKERS: 0}
NUM_GPUS: 0
PROGRESS: none
"""
MODELS = {
    "slowfast": "MODEL: {ARCH: slowfast, MODEL_NAME: SlowFast, NUM_CLASSES: 5}\n"
    "RESNET: {WIDTH_PER_GROUP: 16}\nSLOWFAST: {ALPHA: 4}",
    "x3d": "MODEL: {ARCH: x3d, MODEL_NAME: X3D, NUM_CLASSES: 5}\nRESNET: "
    "{TRANS_FUNC: x3d_transform}\nX3D: {WIDTH_FACTOR: 2.0, BOTTLENECK_FACTOR: 2.25}",
    "i3d": "MODEL: {ARCH: i3d, MODEL_NAME: ResNet, NUM_CLASSES: 5}\nRESNET: {WIDTH_PER_GROUP: 8}",
    "mobilenetv3": "MODEL: {ARCH: s3d_mobilenetv3, MODEL_NAME: MobileNetV3, NUM_CLASSES: 5, "
    "WIDTH_MULT: 0.35}",
    "lstm": "MODEL: {ARCH: resnet_lstm, MODEL_NAME: ResNetLSTM, NUM_CLASSES: [5, 4], "
    "TASKS: [verb, noun]}\nRESNET: {DEPTH: 18}\nLSTM: {HIDDEN_SIZE: 8}",
    "csn": "MODEL: {ARCH: csn, MODEL_NAME: PTVCSN, NUM_CLASSES: 5}\nRESNET: {WIDTH_PER_GROUP: 8}",
}


def tool(name):
    return runpy.run_path(str(REPO / "tools" / name))["main"]


@pytest.fixture(autouse=True)
def little_data(monkeypatch):
    monkeypatch.setitem(DummyVideos.__init__.__kwdefaults__, "num_videos", 6)


@pytest.fixture
def setup(tmp_path):
    """Family -> its config and a checkpoint of random weights."""

    def make(name):
        if name == "csn":
            pytest.importorskip("pytorchvideo")
        path = tmp_path / f"{name}.yaml"
        path.write_text(f"{MODELS[name]}\n{COMMON}")
        torch.manual_seed(0)
        cfg = load_cfg(path)
        model = build_model(cfg)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
                nn.init.uniform_(module.weight, 0.5, 1.0)
                nn.init.normal_(module.bias, std=0.1)
        ours = tmp_path / "ours.pyth"
        torch.save({"model_state": model.state_dict(), "cfg": cfg.dump(), "epoch": 1}, ours)
        return path, ours

    return make


def scores(cfg, checkpoint, out, *words):
    """What run_net --eval predicts with a file."""
    argv = ["--cfg", cfg, "--eval", "OUTPUT_DIR", out, "TEST.CHECKPOINT_FILE_PATH", checkpoint]
    tool("run_net.py")([*map(str, argv), *words])
    return {task: torch.tensor(s) for task, s in load_predictions(out / "preds.npz").scores.items()}


def convert(*words):
    tool("convert_checkpoint.py")([str(word) for word in words])


def assert_close(found, expected):
    assert set(found) == set(expected)
    for task, value in expected.items():
        torch.testing.assert_close(found[task], value, rtol=0, atol=1e-5)


CHAINS = {
    "slowfast": ["caffe2", "pytorchvideo"],
    "x3d": ["pytorchvideo", "caffe2"],
    "i3d": ["pytorchvideo", "caffe2"],
    "mobilenetv3": ["ote"],
    "lstm": ["epic_lstm"],
    "csn": ["pytorchvideo"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHAINS)
def test_every_result_is_evaluated_alike(name, setup, tmp_path, capsys):
    """From layout to layout and back to ours; every file on the way predicts the same."""
    cfg, ours = setup(name)
    expected = scores(cfg, ours, tmp_path / "out_ours")
    last = ours
    for layout in (*CHAINS[name], "pyslowfast"):
        path = tmp_path / f"{layout}{'.pkl' if layout == 'caffe2' else '.pyth'}"
        convert("--input", last, "--output", path, "--to", layout, "--cfg", cfg)
        assert f"wrote {path}" in capsys.readouterr().out
        assert_close(scores(cfg, path, tmp_path / f"out_{layout}"), expected)
        last = path
    assert "MODEL" in torch.load(last, weights_only=True)["cfg"]


@pytest.mark.slow
def test_our_weights_in_pytorchvideos_model(setup, tmp_path):
    pytest.importorskip("pytorchvideo")
    cfg, ours = setup("x3d")
    expected = scores(cfg, ours, tmp_path / "out")
    other = ["MODEL.MODEL_NAME", "PTVX3D"]
    convert("--input", ours, "--output", tmp_path / "ptv.pyth", "--cfg", cfg, *other)
    names = torch.load(tmp_path / "ptv.pyth", weights_only=True)["model_state"]
    assert all(name.startswith("model.blocks.") for name in names)
    assert_close(scores(cfg, tmp_path / "ptv.pyth", tmp_path / "a", *other), expected)
    assert_close(scores(cfg, ours, tmp_path / "b", *other), expected)  # also without conversion
    assert_close(scores(cfg, tmp_path / "ptv.pyth", tmp_path / "c"), expected)


def test_report(setup, tmp_path, capsys):
    cfg, ours = setup("x3d")
    report = tmp_path / "account" / "report.json"
    convert("--input", ours, "--output", tmp_path / "ptv.pyth", "--to", "pytorchvideo",
            "--cfg", cfg, "--report", report)  # fmt: skip
    seen = capsys.readouterr().out
    assert "PySlowFast and this project (pyslowfast) -> PyTorchVideo (pytorchvideo)" in seen
    assert "100.0% of the parameters; 0 missing" in seen
    assert "not weights, left out: epoch" in seen
    found = json.loads(report.read_text())
    assert (found["from"], found["to"], found["problems"]) == ("pyslowfast", "pytorchvideo", [])
    assert found["tensors"]["left out"] == 7
    assert found["model"]["missing"] == []


def fails(capsys, *words):
    with pytest.raises(SystemExit) as stop:
        convert(*words)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_errors_are_one_line_and_write_nothing(setup, tmp_path, capsys):
    cfg, ours = setup("x3d")
    out, report = tmp_path / "out.pyth", tmp_path / "report.json"
    words = ["--input", ours, "--output", out]
    seen = fails(capsys, *words, "--cfg", cfg, "X3D.BN_LIN5", "True", "--report", report)
    assert "4 tensors of the model that are not in the file: head.lin_5_bn.weight" in seen
    assert json.loads(report.read_text())["problems"] != []  # the account is there all the same
    seen = fails(capsys, *words, "--cfg", cfg, "MODEL.NUM_CLASSES", "6")
    assert "the classifier has 5 classes: set MODEL.NUM_CLASSES to that" in seen
    assert "no place for" in fails(capsys, *words, "--to", "imfe")
    assert "not a readable caffe2 .pkl" in fails(capsys, *words, "--from", "caffe2")
    assert "no rule renames" in fails(capsys, *words, "--from", "pytorchvideo")
    assert "no.pyth" in fails(capsys, "--input", tmp_path / "no.pyth", "--output", out)
    assert not out.exists()
    out.write_text("mine")
    assert "exists: give another --output, or --force" in fails(capsys, *words)
    assert out.read_text() == "mine"
    convert(*words, "--force")
    assert set(torch.load(out, weights_only=True)) == {"model_state", "cfg"}


def test_a_config_that_means_another_network(setup, tmp_path, capsys):
    """All shapes fit, but the weights were trained at another frame rate of the pathways."""
    cfg, ours = setup("slowfast")
    seen = fails(capsys, "--input", ours, "--output", tmp_path / "o.pyth", "--cfg", cfg,
                 "SLOWFAST.ALPHA", "8")  # fmt: skip
    assert "SLOWFAST.ALPHA: 4 in the checkpoint, 8 now" in seen
    assert not (tmp_path / "o.pyth").exists()
