"""Latencies in every runtime, also of pruned networks."""

import pytest

from slowfast.compression.pruning.channels import prune_channels
from slowfast.config import load_cfg
from slowfast.deploy.measure import RUNTIMES, build_latency, build_machine
from slowfast.models.build import build_model
from slowfast.models.profile import build_model_inputs
from slowfast.utils.errors import UserError

WORDS = {
    "MODEL.MODEL_NAME": "X3D", "MODEL.ARCH": "x3d", "RESNET.TRANS_FUNC": "x3d_transform",
    "MODEL.NUM_CLASSES": 4, "X3D.DEPTH_FACTOR": 1.0, "X3D.DIM_C5": 64, "DATA.NUM_FRAMES": 4,
    "DATA.TRAIN_CROP_SIZE": 32, "DATA.TEST_CROP_SIZE": 32, "NUM_GPUS": 0,
    "BENCHMARK.WARMUP": 1, "BENCHMARK.STEPS": 4, "DATA.INPUT_CHANNEL_NUM": "[3]",
}  # fmt: skip


@pytest.fixture(scope="module")
def cfg():
    return load_cfg(None, [str(word) for pair in WORDS.items() for word in pair])


@pytest.fixture(scope="module")
def models(cfg):
    pruned = prune_channels(build_model(cfg), build_model_inputs(cfg), ratio=0.5)
    return {"whole": build_model(cfg), "pruned": pruned}


def check(found):
    assert list(found) == ["whole", "pruned"]
    for timing in found.values():
        assert 0 < timing["p50_ms"] <= timing["p90_ms"]
        assert timing["runs"] == 4


def test_eager(cfg, models):
    check(build_latency(cfg)(models))
    assert build_machine(cfg)["runtime"] == "eager"


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_exported(cfg, models, runtime, monkeypatch):
    """Once per model: the second call times what the first one made."""
    for library in ("onnx", "onnxscript", runtime):
        pytest.importorskip(library)
    latency = build_latency(cfg, runtime)
    check(latency(models))
    monkeypatch.setattr("slowfast.deploy.export.onnx.write_program", None)
    check(latency(models))


def test_unknown_runtime(cfg):
    assert RUNTIMES == ("eager", "onnxruntime", "openvino")
    with pytest.raises(UserError, match="no runtime 'tensorrt': give one of eager"):
        build_latency(cfg, "tensorrt")
