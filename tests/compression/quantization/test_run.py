"""``tools/quantize.py`` on real videos, and what the other tools make of its files."""

import json
import runpy
from pathlib import Path

import pytest
import torch

from slowfast.compression.quantization.errors import QuantizationError
from slowfast.compression.quantization.run import run
from slowfast.config import load_cfg
from slowfast.engine.hook import Hook
from slowfast.engine.run import build_training
from slowfast.engine.weights import load_model
from slowfast.reports.stats import read_stats

REPO = Path(__file__).parents[3]


def tool(name):
    return runpy.run_path(str(REPO / "tools" / name))["main"]


def quantize(config, weights, out, *words):
    """The report of ``tools/quantize.py``."""
    tool("quantize.py")(["--cfg", str(config), "--model_path", str(weights), *words,
                         "OUTPUT_DIR", str(out)])  # fmt: skip
    return json.loads((out / "quantize.json").read_text())


def need(*libraries):
    for library in ("onnx", "onnxscript", *libraries):
        pytest.importorskip(library)


def check_report(report, out):
    rows = report["rows"]
    names = list(rows)
    assert names[0] == "float32"
    assert names[-1] == report["result"]
    for row in rows.values():
        assert {"params_m", "macs_g", "size_mib", "accuracy", "agreement", "metrics"} <= set(row)
        assert {"p50_ms", "p90_ms", "clips_per_s"} <= set(row["latency"])
        assert row["accuracy"] == 100  # an easy task, with room for rounding
        assert row["agreement"] == 100
    for path in report["files"].values():
        assert Path(path).is_file()
    assert set(report["speedup"]) == set(rows) - {report["result"]}
    assert any("faster than" in text or "times as fast" in text for text in report["sentences"])
    assert report["machine"]["runtime"] == report["backend"]
    assert not report["unmatched_layers"]
    assert (out / "quantize.json").is_file()


def scores(path, clips):
    from slowfast.deploy.runtime import ExportedModel

    return ExportedModel(Path(path)).predict(clips)


@pytest.mark.slow
def test_onnxruntime(config, weights, tmp_path, capsys):
    need("onnxruntime")
    report = quantize(config, weights, tmp_path, "--backend", "onnxruntime")
    check_report(report, tmp_path)
    assert report["float_layers"] == []
    assert report["layers"] == 2
    assert report["tried"][0]["drop"] <= 1.0
    printed = capsys.readouterr().out
    assert "top-1 (%)" in printed
    assert "int8.onnx" in printed
    clips = [torch.randn(3, 3, 4, 32, 32)]
    exact, found = (scores(report["files"][name], clips) for name in ("float32", "int8"))
    assert 0 < (exact - found).abs().max() < 0.05
    check_other_tools(config, report, tmp_path)


def check_other_tools(config, report, out):
    """The file is tested like a checkpoint."""
    words = ["--cfg", str(config), "--eval", "OUTPUT_DIR", str(out / "test")]
    tool("run_net.py")([*words, "TEST.CHECKPOINT_FILE_PATH", report["files"]["int8"]])
    tested = read_stats(out / "test" / "stdout.log")["test_final"][-1]
    assert float(tested["top1_acc"]) == pytest.approx(report["rows"]["int8"]["accuracy"])


@pytest.mark.slow
def test_training_with_rounding(config, weights, tmp_path):
    """The checkpoint it leaves is one of the float network, under its own config."""
    need("onnxruntime", "openvino")
    words = ["--backend", "openvino", "--qat_epochs", "1"]
    report = quantize(config, weights, tmp_path, *words)
    check_report(report, tmp_path)
    before, after = (load_model(path) for path in (weights, report["files"]["checkpoint"]))
    assert after[1].MODEL == before[1].MODEL
    names = before[0].state_dict()
    assert list(after[0].state_dict()) == list(names)
    moved = {name for name, value in after[0].state_dict().items() if not value.equal(names[name])}
    assert "features.0.weight" in moved
    assert not any("running" in name for name in moved)


@pytest.mark.slow
def test_an_interrupted_training_with_rounding_goes_on(config, weights, tmp_path, monkeypatch):
    need("onnxruntime", "openvino")
    words = ["--backend", "openvino", "--qat_epochs", "2", "TRAIN.CHECKPOINT_PERIOD", "1"]
    whole = quantize(config, weights, tmp_path / "whole", *words)
    started = []

    class Stop(Hook):
        def before_epoch(self, trainer):
            started.append(trainer.epoch)
            if started == [0, 1]:
                raise KeyboardInterrupt

    def build_stopped(cfg, **options):
        return build_training(cfg, hooks=[Stop()], **options)

    monkeypatch.setattr("slowfast.compression.quantization.training.build_training", build_stopped)
    parts = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        quantize(config, weights, parts, *words)
    assert not (parts / "quantize.json").exists()
    report = quantize(config, weights, parts, *words)
    assert started == [0, 1, 1]
    first, second = (load_model(r["files"]["checkpoint"])[0].state_dict() for r in (whole, report))
    assert all(value.equal(second[name]) for name, value in first.items())
    quantize(config, weights, parts, *words)  # a finished one trains anew
    assert started == [0, 1, 1, 0, 1]


@pytest.mark.slow
def test_openvino(config, weights, tmp_path):
    need("openvino", "nncf")
    report = quantize(config, weights, tmp_path, "--backend", "openvino")
    check_report(report, tmp_path)
    assert {"int8.xml", "int8.bin"} <= {file.name for file in tmp_path.glob("int8.*")}


@pytest.mark.slow
def test_bf16(config, weights, tmp_path):
    need("openvino")
    from slowfast.deploy.variants import build_variants

    words = ["QUANTIZATION.RUNTIME", "openvino"]
    if not build_variants(load_cfg(config, words)).has_bf16():
        pytest.skip("this processor knows no bf16")
    report = quantize(config, weights, tmp_path, "--backend", "openvino", "--precision", "bf16")
    check_report(report, tmp_path)
    assert list(report["rows"]) == ["float32", "bf16"]
    assert report["rows"]["bf16"]["size_mib"] < report["rows"]["float32"]["size_mib"]


class NoFiles:
    """Deployment on a processor without bf16."""

    def has_bf16(self):
        return False


GIVEN = {"PRECISION": "int8", "RUNTIME": "onnxruntime"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"CHECKPOINT_FILE_PATH": ""}, "give --model_path"),
        ({"CHECKPOINT_FILE_PATH": "nowhere.pyth"}, "nowhere.pyth: no such file"),
        ({"PRECISION": "bf16"}, "Give --backend openvino"),
        ({"PRECISION": "bf16", "RUNTIME": "openvino"}, "processor does not compute in bf16"),
        (
            {"PRECISION": "bf16", "RUNTIME": "openvino", "QAT": True, "QAT_EPOCHS": 2},
            "--qat_epochs 2 trains for int8",
        ),
    ],
)
def test_nonsense_is_refused(config, weights, tmp_path, changes, message):
    node = {"CHECKPOINT_FILE_PATH": str(weights)} | GIVEN | changes
    words = [word for key, value in node.items() for word in (f"QUANTIZATION.{key}", str(value))]
    with pytest.raises(QuantizationError, match=message):
        run(load_cfg(config, [*words, "OUTPUT_DIR", str(tmp_path)]), NoFiles())


def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch):
    import slowfast.compression.quantization.openvino_ptq as module

    def absent(name, extra):
        if name == "nncf":
            raise ModuleNotFoundError(f"{name}: pip install -e '.[{extra}]'")

    monkeypatch.setattr(module, "require", absent)
    with pytest.raises(ModuleNotFoundError, match=r"nncf.*\[quantize\]"):
        module.OpenVinoQuantizer(tmp_path / "m.onnx", {}, lambda: iter(()), 0)
