"""Model templates: from a template to a trained, scored and exported model."""

import importlib.util
import json
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from slowfast.checkpoint.io import read_checkpoint
from slowfast.config import cfg_from_yaml, load_cfg
from slowfast.learners.templates import evaluate, export, train
from slowfast.learners.templates.arguments import count_classes, split_commas
from slowfast.learners.templates.metrics import metric_entries, write_metrics
from slowfast.learners.templates.template import (
    TemplateError,
    instantiate,
    read_template,
    sha256_of,
)
from slowfast.models.build import build_model
from slowfast.models.cosine import CosineModel
from slowfast.models.profile import Cost, build_cost
from slowfast.utils.errors import UserError

REPO = Path(__file__).parents[2]
ROOT = REPO / "tools" / "model_templates" / "custom-action-recognition"
TEMPLATES = sorted(path.parent.name for path in ROOT.glob("*/template.yaml"))
TINY = [
    "DATA.TRAIN_CROP_SIZE", "32", "DATA.TEST_CROP_SIZE", "32", "DATA.TRAIN_JITTER_SCALES",
    "[32, 40]", "DATA_LOADER.NUM_WORKERS", "0", "MODEL.WIDTH_MULT", "0.25", "PROGRESS", "none",
    "DATA.NUM_FRAMES", "4",
]  # fmt: skip


def write_frames(root, split, count, classes=3):
    """Folders of ten images each; the brightest channel is the class."""
    rng = np.random.default_rng(0)
    lines = []
    for i in range(count):
        folder = root / "custom_dataset" / "rawframes" / f"{split}_{i}"
        folder.mkdir(parents=True)
        for t in range(10):
            image = rng.integers(0, 80, (40, 56, 3), dtype=np.uint8)
            image[..., i % classes] += 120
            Image.fromarray(image).save(folder / f"{t + 1:05d}.jpg")
        lines.append(f"{folder.name} {i % classes}\n")
    (root / "custom_dataset" / f"{split}.txt").write_text("".join(lines))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_frames(root, "train", 6)
    write_frames(root, "val", 3)
    return root


def train_flags(data, output, *more):
    flags = ["--train-ann-files", "train.txt", "--train-data-roots", data,
             "--val-ann-files", "val.txt", "--val-data-roots", data, "--save-checkpoints-to",
             output, "--gpu-num", "0", "--batch-size", "3", *more, "--opts", *TINY]  # fmt: skip
    return [str(flag) for flag in flags]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data):
    """A working directory with one epoch trained."""
    folder = tmp_path_factory.mktemp("work") / "my_model"
    instantiate(ROOT / "x3d-rgb-mobilenet-v3-lgd-gc" / "template.yaml", folder)
    train.main(train_flags(data, folder / "outputs", "--epochs", "1"), folder=folder)
    return folder


# --- templates


def test_there_are_two():
    assert TEMPLATES == ["s3d-rgb-mobilenet-v3", "x3d-rgb-mobilenet-v3-lgd-gc"]


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_working_directory_holds_all_it_needs(tmp_path, name):
    instantiate(ROOT / name, tmp_path / "work")
    template = read_template(tmp_path / "work")
    assert template.name == name
    assert {"train.py", "eval.py", "export.py"} <= {p.name for p in (tmp_path / "work").iterdir()}
    cfg = load_cfg(tmp_path / "work" / template.config)
    assert template.epochs == cfg.SOLVER.MAX_EPOCH
    assert template.base_learning_rate == pytest.approx(cfg.SOLVER.BASE_LR)
    assert template.batch_size * template.gpu_num == cfg.TRAIN.BATCH_SIZE
    with torch.device("meta"):
        assert isinstance(build_model(cfg), CosineModel)


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_a_template_says_of_its_model_is_so(name):
    data = yaml.safe_load((ROOT / name / "template.yaml").read_text())
    values = {entry["key"]: entry["value"] for entry in data["metrics"]}
    source = next(d for d in data["dependencies"] if d["destination"] == data["config"])
    cfg = load_cfg(ROOT / name / source["source"])
    cost = build_cost(cfg)
    centres = cfg.COSINE.EMBEDDING * cfg.MODEL.NUM_CLASSES
    assert values["size"] == pytest.approx((cost.parameters - centres) / 1e6, abs=1e-3)
    assert values["macs"] == pytest.approx(cost.macs_test_crop / 1e9, abs=2e-3)
    assert values["complexity"] == pytest.approx(2 * values["macs"])


def test_nothing_is_overwritten_unasked(tmp_path):
    instantiate(ROOT / TEMPLATES[0], tmp_path)
    with pytest.raises(TemplateError, match=r"is there already .*--force"):
        instantiate(ROOT / TEMPLATES[0], tmp_path)
    assert instantiate(ROOT / TEMPLATES[0], tmp_path, replace=True)
    with pytest.raises(TemplateError, match="the template itself"):
        instantiate(ROOT / TEMPLATES[0], ROOT / TEMPLATES[0])


def edited(folder, **changes):
    """A copy of a template with another content."""
    shutil.copytree(ROOT, folder / "t", dirs_exist_ok=True)
    path = folder / "t" / TEMPLATES[0] / "template.yaml"
    data = yaml.safe_load(path.read_text()) | changes
    path.write_text(yaml.safe_dump(data))
    return path


def test_files_are_compared_with_what_the_template_says(tmp_path):
    file = ROOT / "train.py"
    entry = {"source": "../train.py", "destination": "train.py", "size": file.stat().st_size}
    good = edited(tmp_path, dependencies=[{**entry, "sha256": sha256_of(file)}])
    instantiate(good, tmp_path / "good")
    for wrong, message in (({"sha256": "0" * 64}, "SHA-256"), ({"size": 3}, "bytes, the template")):
        bad = edited(tmp_path, dependencies=[entry | wrong])
        with pytest.raises(TemplateError, match=message):
            instantiate(bad, tmp_path / f"bad_{next(iter(wrong))}")
    missing = edited(tmp_path, dependencies=[{"source": "nowhere", "destination": "x"}])
    with pytest.raises(TemplateError, match="nowhere, which is not there"):
        instantiate(missing, tmp_path / "missing")


def test_downloads_are_checked_before_they_are_put_in_place(tmp_path, monkeypatch):
    def fake(url, folder):
        path = folder / "file"
        path.write_bytes(b"weights")
        return path

    monkeypatch.setattr("slowfast.learners.templates.template.download", fake)
    entry = {"source": "https://example.org/w.pth", "destination": "snapshot.pth"}
    path = edited(tmp_path, dependencies=[entry])
    assert not (tmp_path / "a" / "snapshot.pth").exists()
    instantiate(path, tmp_path / "a", fetch=True)
    assert (tmp_path / "a" / "snapshot.pth").read_bytes() == b"weights"
    path = edited(tmp_path, dependencies=[{**entry, "size": 3}])
    with pytest.raises(TemplateError, match="has 7 bytes"):
        instantiate(path, tmp_path / "b", fetch=True)
    assert not (tmp_path / "b" / "snapshot.pth").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [(None, "there is no template"), ("a: [", "not a template"), ("name: x", "has 'hyper_param")],
)
def test_what_is_no_template(tmp_path, text, message):
    if text is not None:
        (tmp_path / "template.yaml").write_text(text)
    with pytest.raises(TemplateError, match=message):
        read_template(tmp_path)


def test_the_tool(tmp_path, capsys):
    main = runpy.run_path(str(REPO / "tools" / "instantiate_template.py"))["main"]
    words = [str(ROOT / TEMPLATES[0] / "template.yaml"), str(tmp_path / "work"), "-v"]
    main(words)
    assert str(tmp_path / "work" / "train.py") in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2


# --- flags


def test_commas_and_classes(data):
    assert split_commas("a.txt, b.txt,") == ["a.txt", "b.txt"]
    assert count_classes((["train.txt"], [str(data)]), (["val.txt"], [str(data)])) == 3


def parsed(folder, data, *more):
    template = read_template(folder)
    args = train.parse(train_flags(data, folder / "out", *more), template)
    return train.build_train_cfg(args, template, folder)


def test_epochs_and_learning_rate_stretch_the_schedule(tmp_path, data):
    instantiate(ROOT / "s3d-rgb-mobilenet-v3", tmp_path / "s3d")
    cfg = parsed(tmp_path / "s3d", data, "--epochs", "13", "--base-learning-rate", "1e-4")
    solver = cfg.SOLVER
    assert (solver.MAX_EPOCH, solver.HEAD_WARMUP_EPOCHS, solver.WARMUP_EPOCHS) == (13, 1, 1.0)
    assert solver.STEPS == [0.0, 6.0, 10.0]
    rates = [solver.BASE_LR, solver.WARMUP_START_LR]
    assert rates == pytest.approx([1e-4, 1e-6])
    assert cfg.AM_SOFTMAX.SCALE_EPOCHS == 8.0
    assert (cfg.MODEL.NUM_CLASSES, cfg.TRAIN.BATCH_SIZE) == (3, 3)
    same = parsed(tmp_path / "s3d", data).SOLVER
    assert (same.MAX_EPOCH, same.HEAD_WARMUP_EPOCHS, same.STEPS) == (65, 5, [0.0, 30.0, 50.0])


def test_crossnorm_takes_the_list_of_the_data_root(tmp_path, data):
    instantiate(ROOT / "x3d-rgb-mobilenet-v3-lgd-gc", tmp_path / "x3d")
    root = tmp_path / "root"
    shutil.copytree(data, root)
    path = root / "mean_std_list.txt"
    path.write_text("100,100,100 30,30,30\n")
    assert str(path) == parsed(tmp_path / "x3d", root).AUG.CROSSNORM_FILE


def test_weights_that_are_not_there(tmp_path, data):
    instantiate(ROOT / TEMPLATES[0], tmp_path / "work")
    with pytest.raises(UserError, match=r"--load-weights .*snapshot\.pth is not there"):
        parsed(tmp_path / "work", data, "--load-weights", tmp_path / "snapshot.pth")


# --- metrics


def test_metrics_are_merged(tmp_path):
    path = tmp_path / "metrics.yaml"
    old = [{"key": "accuracy", "value": 1.0}, {"key": "fps", "value": 9.0}]
    path.write_text(yaml.safe_dump({"metrics": old, "note": "mine"}))
    entries = metric_entries(
        Cost(1234567, 5, 2_345_678_901), {"top1_acc": 81.23456, "mean_class_acc": 70.0}
    )
    write_metrics(path, [{"name": "a.pth", "size": 3}], entries)
    found = yaml.safe_load(path.read_text())
    assert found["note"] == "mine"
    values = {entry["key"]: (entry["value"], entry.get("unit")) for entry in found["metrics"]}
    assert values == {
        "size": (1.235, "Mp"),
        "complexity": (4.691, "GFLOPs"),
        "macs": (2.346, "GMACs"),
        "accuracy": (81.235, "%"),
        "mean_class_accuracy": (70.0, "%"),
        "fps": (9.0, None),
    }
    names = {entry["key"]: entry.get("display_name") for entry in found["metrics"]}
    assert names["accuracy"] == "Top-1 accuracy"
    assert names["mean_class_accuracy"] == "Mean class accuracy"
    path.write_text("- 3\n")
    with pytest.raises(UserError, match="no metrics file"):
        write_metrics(path, [], entries)


# --- from beginning to end


@pytest.mark.slow
def test_training_leaves_what_the_other_commands_take(trained):
    outputs = trained / "outputs"
    latest = read_checkpoint(outputs / "latest.pth")
    assert latest["epoch"] == 0
    assert cfg_from_yaml(latest["cfg"]).MODEL.NUM_CLASSES == 3
    assert (outputs / "best.pth").is_file()
    assert len((outputs / "mean_std_list.txt").read_text().splitlines()) == 6  # made for CrossNorm
    assert not list(outputs.glob(".*"))


@pytest.mark.slow
def test_evaluation_writes_metrics(trained, data, tmp_path):
    flags = ["--load-weights", trained / "outputs/latest.pth", "--test-ann-files", "val.txt",
             "--test-data-roots", data, "--save-metrics-to", tmp_path / "metrics.yaml",
             "--save-output-to", tmp_path / "out"]  # fmt: skip
    evaluate.main([str(flag) for flag in flags], folder=trained)
    found = yaml.safe_load((tmp_path / "metrics.yaml").read_text())
    values = {entry["key"]: entry["value"] for entry in found["metrics"]}
    state = read_checkpoint(trained / "outputs/latest.pth")
    cfg = cfg_from_yaml(state["cfg"])
    parameters = sum(p.numel() for p in build_model(cfg).parameters())
    assert values["size"] == pytest.approx(parameters / 1e6, abs=1e-3)
    assert values["complexity"] == pytest.approx(2 * values["macs"], abs=2e-3)
    scores = np.load(tmp_path / "out" / "predictions.npz")
    right = scores["scores_action"].argmax(1) == scores["labels_action"]
    assert values["accuracy"] == pytest.approx(100 * right.mean(), abs=1e-3)
    assert values["mean_class_accuracy"] == pytest.approx(values["accuracy"], abs=1e-3)
    (file,) = found["files"]
    assert file["sha256"] == sha256_of(trained / "outputs/latest.pth")


@pytest.mark.slow
def test_training_goes_on_only_when_asked(trained, data, tmp_path, capsys):
    outputs = tmp_path / "outputs"
    shutil.copytree(trained / "outputs", outputs)
    with pytest.raises(SystemExit):
        train.main(train_flags(data, outputs), folder=trained)
    assert "holds a training already" in capsys.readouterr().err
    latest = outputs / "latest.pth"
    train.main(train_flags(data, outputs, "--epochs", "2", "--resume-from", latest), folder=trained)
    assert read_checkpoint(latest)["epoch"] == 1
    old = trained / "outputs/latest.pth"
    with pytest.raises(UserError, match=r"is older than .*00002"):
        train.prepare_output(outputs, old)
    train.prepare_output(tmp_path / "elsewhere", old)
    assert (tmp_path / "elsewhere/checkpoints/checkpoint_epoch_00001.pyth").is_file()


def export_flags(trained, folder, *more):
    flags = ["--load-weights", trained / "outputs/latest.pth", "--save-model-to", folder, *more]
    return [str(flag) for flag in flags]


@pytest.mark.slow
def test_export_names_what_is_not_installed(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)  # as if it were not
    with pytest.raises(SystemExit):
        export.main(export_flags(trained, tmp_path), folder=trained)
    assert "pip install -e '.[deploy]'" in capsys.readouterr().err
    words = export_flags(trained, tmp_path, "--openvino-mo-args=--reverse_input_channels")
    with pytest.raises(SystemExit):
        export.main(words, folder=trained)
    assert "no longer has the model optimizer" in capsys.readouterr().err


@pytest.mark.slow
def test_exported_models_score_as_the_checkpoint(data, tmp_path):
    for library in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(library)
    folder = tmp_path / "s3d"
    instantiate(ROOT / "s3d-rgb-mobilenet-v3", folder)
    train.main(train_flags(data, folder / "outputs", "--epochs", "1"), folder=folder)
    formats = ["--onnx"] + ["--openvino"] * (importlib.util.find_spec("openvino") is not None)
    more = [*formats, "--openvino-input-format", "BGR", "--output", "probabilities"]
    export.main(export_flags(folder, tmp_path, *more), folder=folder)
    info = json.loads((tmp_path / "model.onnx.json").read_text())
    assert (info["kind"], info["channels"]) == ("probabilities", "BGR")
    weights = [folder / "outputs/latest.pth", *tmp_path.glob("*.onnx"), *tmp_path.glob("*.xml")]
    assert len(weights) == 1 + len(formats)
    scores = []
    for path in weights:
        flags = ["--load-weights", path, "--test-ann-files", "val.txt", "--test-data-roots", data]
        flags += ["--save-metrics-to", tmp_path / "m.yaml", "--save-output-to", tmp_path]
        evaluate.main([str(flag) for flag in flags], folder=folder)
        scores.append(np.load(tmp_path / "predictions.npz")["scores_action"])
    for other in scores[1:]:
        np.testing.assert_allclose(other, scores[0], rtol=1e-4, atol=1e-5)
