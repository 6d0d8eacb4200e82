"""The commands of docs/templates.md, run as programs: from videos to an exported model."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from slowfast.checkpoint.io import read_checkpoint
from slowfast.checkpoint.mobilenetv3_ote import to_ote
from slowfast.datasets.synthetic.encode import write_video
from slowfast.models.mobilenetv3 import MobileNetV3

REPO = Path(__file__).parents[2]
TEMPLATE = REPO / "tools/model_templates/custom-action-recognition/s3d-rgb-mobilenet-v3"
SMALL = """--opts DATA.TRAIN_CROP_SIZE 32 DATA.TEST_CROP_SIZE 32 DATA.TRAIN_JITTER_SCALES [32,40]
    DATA_LOADER.NUM_WORKERS 0 MODEL.WIDTH_MULT 0.25 DATA.NUM_FRAMES 4 PROGRESS none"""
LABELS = {"train": [0, 1, 2] * 2, "val": [0, 0, 0, 1, 2]}
DEPLOY = ("onnx", "onnxscript", "onnxruntime", "openvino")
NAMES = {
    "size": "Size", "complexity": "Complexity", "macs": "Multiply-accumulates",
    "accuracy": "Top-1 accuracy", "mean_class_accuracy": "Mean class accuracy",
}  # fmt: skip


def write_videos(data):
    """Twelve frames each; the brightest channel is the class."""
    rng = np.random.default_rng(0)
    (data / "videos").mkdir(parents=True)
    for split, labels in LABELS.items():
        lines = []
        for i, label in enumerate(labels):
            frames = rng.integers(0, 80, (12, 40, 56, 3), dtype=np.uint8)
            frames[..., label] += 120
            write_video(data / "videos" / f"{split}_{i}.mp4", frames)
            lines.append(f"{split}_{i}.mp4 {label}\n")
        (data / f"{split}.txt").write_text("".join(lines))


def program(folder, file, words):
    """Run a command line as a shell would; its flags are separated by blanks."""
    command = [sys.executable, str(file), *words.split()]
    environment = os.environ | {"PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def write_snapshot(path):
    """Weights of 700 other classes in the layout of the published ones."""
    model = MobileNetV3(num_classes=700, width_mult=0.25)
    state = to_ote(model.state_dict())
    torch.save({"state_dict": state, "meta": {}}, path)
    return model.backbone.stem.conv.weight


@pytest.mark.slow
def test_from_videos_to_an_exported_model(tmp_path):
    work = tmp_path / "my_model"
    program(tmp_path, REPO / "tools/instantiate_template.py", f"{TEMPLATE}/template.yaml {work}")
    write_videos(work / "data")
    lists = "--annotation data/train.txt data/val.txt --output_dir data --workers 1"
    program(work, REPO / "tools/dump_frames.py", f"--videos_dir data/videos {lists}")
    stem = write_snapshot(work / "snapshot.pth")
    said = program(work, "train.py", f"""
        --load-weights snapshot.pth --save-checkpoints-to outputs --tensorboard-dir board
        --train-ann-files train.txt --train-data-roots data
        --val-ann-files val.txt --val-data-roots data
        --epochs 2 --batch-size 3 --gpu-num 0 --base-learning-rate 1e-9 {SMALL}""")  # fmt: skip
    assert "700 classes in the file, 3 here" in said
    latest = read_checkpoint(work / "outputs/latest.pth")
    assert latest["epoch"] == 1
    trained = latest["model_state"]["backbone.stem.conv.weight"]
    torch.testing.assert_close(trained, stem.detach(), rtol=0, atol=1e-5)
    assert list((work / "board").rglob("events.*"))

    check_metrics(work, "outputs/latest.pth")
    if all(importlib.util.find_spec(library) for library in DEPLOY):
        program(work, "export.py", "--load-weights outputs/latest.pth --save-model-to export")
        names = {path.name for path in (work / "export").iterdir()}
        assert {"model.onnx", "model.xml", "model.bin"} <= names


def check_metrics(work, weights):
    """Compare metrics.yaml with the scores of every video."""
    program(work, "eval.py", f"""
        --load-weights {weights} --test-ann-files val.txt --test-data-roots data
        --save-metrics-to metrics.yaml --save-output-to scores""")  # fmt: skip
    entries = yaml.safe_load((work / "metrics.yaml").read_text())["metrics"]
    assert {entry["key"]: entry["display_name"] for entry in entries} == NAMES
    values = {entry["key"]: entry["value"] for entry in entries}
    saved = np.load(work / "scores/predictions.npz")
    scores, labels = saved["scores_action"], saved["labels_action"]
    right = scores.argmax(1) == labels
    by_class = [right[labels == label].mean() for label in range(3)]
    assert values["accuracy"] == pytest.approx(100 * right.mean(), abs=1e-3)
    assert values["mean_class_accuracy"] == pytest.approx(100 * np.mean(by_class), abs=1e-3)
