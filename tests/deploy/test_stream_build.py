"""tools/export.py --stream: from a checkpoint to files of its stream."""

import hashlib
import importlib.util
import json
from pathlib import Path

import pytest
import torch

from slowfast.checkpoint.io import write_checkpoint
from slowfast.config import load_cfg
from slowfast.deploy.export.info import ExportError
from slowfast.deploy.stream import ModelRunner, open_stream
from slowfast.models import build_model
from slowfast.models.profile import build_model_inputs, count_macs, count_parameters
from slowfast.models.streaming import build_streaming
from slowfast.utils.seed import seed_everything
from tests.models.streaming.networks import liven
from tests.models.streaming.oracle import make_frames

TOOL = Path(__file__).parents[2] / "tools" / "export.py"
SMALL = ["DATA.TRAIN_CROP_SIZE", "32", "DATA.TEST_CROP_SIZE", "32", "MODEL.NUM_CLASSES", "3"]
FAMILIES = {
    "TinyNet": ["MODEL.ARCH", "tiny", "DATA.NUM_FRAMES", "4"],
    "ResNet": ["MODEL.ARCH", "i3d", "RESNET.DEPTH", "18", "RESNET.WIDTH_PER_GROUP", "8",
               "DATA.NUM_FRAMES", "4"],
    "MobileNet": ["MODEL.ARCH", "mobilenet", "MODEL.WIDTH_MULT", "0.25", "DATA.NUM_FRAMES", "16"],
    "MobileNetV3": ["MODEL.ARCH", "s3d_mobilenetv3", "DATA.NUM_FRAMES", "8"],
    "IMFE": ["MODEL.ARCH", "imfe", "IMFE.CLASSIFIER", "True", "DATA.NUM_FRAMES", "6",
             "DATA.TRAIN_CROP_SIZE", "64", "DATA.TEST_CROP_SIZE", "64",
             "IMFE.CORRELATION", "local"],
}  # fmt: skip


def export(*argv):
    spec = importlib.util.spec_from_file_location("export_tool", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main([str(word) for word in argv])


def checkpoint(tmp_path, family):
    """A checkpoint of a network with live batch norms, and the network and its config."""
    seed_everything(0)
    cfg = load_cfg(opts=["MODEL.MODEL_NAME", family, *SMALL, *FAMILIES[family]])
    model = liven(build_model(cfg))
    path = write_checkpoint(
        tmp_path / "best.pyth", epoch=1, model=model, optimizer=None, cfg_yaml=cfg.dump()
    )
    return path, model, cfg


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_checkpoint_becomes_a_stream(family, tmp_path, capsys):
    path, model, cfg = checkpoint(tmp_path, family)
    export("--model_path", path, "--format", "onnx", "openvino", "--stream", "--channels", "BGR")
    assert capsys.readouterr().out.count("a stream, ") == 2
    reference = ModelRunner(build_streaming(cfg, model))
    runners = [open_stream(tmp_path / f"best_stream.{suffix}") for suffix in ("onnx", "xml")]
    period, size = runners[0].info.period, runners[0].info.clip.crop[0]
    for chunk in make_frames(4 * period, size=size).split(period):
        for frame in chunk:
            expected = reference.predict(frame)
        taken = (chunk.permute(1, 2, 0, 3, 4) if period > 1 else chunk[0]).flip(1).contiguous()
        for runner in runners:
            torch.testing.assert_close(runner.predict(taken), expected, rtol=0, atol=1e-4)
    names = {file.name for file in tmp_path.iterdir()}
    assert {"best_stream.onnx.json", "best_stream.xml.json", "best_stream.bin"} <= names
    assert not [name for name in names if name.startswith(".")]


def test_where_it_goes_and_what_is_refused(tmp_path, capsys):
    path, _, _ = checkpoint(tmp_path, "TinyNet")
    target = tmp_path / "out" / "cam.onnx"
    export("--model_path", path, "--stream", "--softmax", "--normalize_inside", "--output", target)
    found = json.loads((tmp_path / "out" / "cam.onnx.json").read_text())
    assert found["streaming"]
    assert (found["clip"]["kind"], found["clip"]["normalized_inside"]) == ("probabilities", True)
    for words, message in (
        (["--format", "coreml"], "streams are not written as coreml: onnx, openvino, executorch"),
        (["--score", "cosines"], "no output 'cosines'"),
    ):
        with pytest.raises(SystemExit):
            export("--model_path", path, "--stream", *words)
        assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("family", ["TinyNet", "ResNet"])
def test_executorch_runs_streams(family, tmp_path):
    """Its kernels know 2-D convolutions, of which a step is made."""
    pytest.importorskip("executorch.exir")
    path, model, cfg = checkpoint(tmp_path, family)
    export("--model_path", path, "--format", "executorch", "--stream")
    reference = ModelRunner(build_streaming(cfg, model))
    runner = open_stream(tmp_path / "best_stream.pte")
    other = runner.fork()
    period, size = runner.info.period, runner.info.clip.crop[0]
    for number, chunk in enumerate(make_frames(6 * period, size=size).split(period)):
        for frame in chunk:
            expected = reference.push(frame)
        taken = (chunk.permute(1, 2, 0, 3, 4) if period > 1 else chunk[0]).contiguous()
        if number == 3:
            other.state, runner = runner.state, other
        torch.testing.assert_close(runner.push(taken), expected, rtol=0, atol=1e-4)
    with pytest.raises(ExportError, match="for 1 stream"):
        runner.reset(2)


def test_a_stream_names_the_model_it_came_from(tmp_path):
    """And says what a clip of that costs, which the stream's frames are compared with."""
    path, model, cfg = checkpoint(tmp_path, "TinyNet")
    target = tmp_path / "out" / "cam.onnx"
    export("--model_path", path, "--stream", "--output", target)
    found = json.loads((tmp_path / "out" / "cam.onnx.json").read_text())
    clip = found["clip"]
    assert clip["source"]["file"] == str(path.resolve())
    assert clip["source"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert clip["parameters"] == count_parameters(model)
    assert clip["macs"] == count_macs(model, build_model_inputs(cfg, cfg.DATA.TEST_CROP_SIZE))
    assert 0 < found["macs"] < clip["macs"]
