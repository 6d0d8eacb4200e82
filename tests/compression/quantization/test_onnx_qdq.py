"""Int8 files compute what the rounding in torch computes; ONNX Runtime runs them in integers."""

import pytest
import torch

from slowfast.compression.quantization.errors import QuantizationError
from slowfast.compression.quantization.fake_quant import FakeQuantization, Site, find_sites
from slowfast.compression.quantization.onnx_qdq import OnnxQuantizer, layer_names
from slowfast.config import load_cfg
from slowfast.models import MODELS
from tests.compression.quantization.nets import Residual, clips, make_sensitive, settled

CFG = ["DATA.NUM_FRAMES", "4", "DATA.TEST_CROP_SIZE", "12", "DATA.TRAIN_CROP_SIZE", "12",
       "DATA.TRAIN_JITTER_SCALES", "[12, 12]", "MODEL.ARCH", "tiny",
       "MODEL.MODEL_NAME", "TinyNet"]  # fmt: skip


def exported(model, folder, words=CFG):
    for library in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(library)
    from slowfast.deploy.export import onnx
    from slowfast.deploy.export.graph import Source
    from slowfast.deploy.export.info import build_export_info

    info = build_export_info(load_cfg(None, words), model)
    return onnx.write(Source(model, info, plain=True), folder / "float.onnx")


def run_file(path, inputs, *, optimised=""):
    ort = pytest.importorskip("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    if optimised:
        options.optimized_model_filepath = str(optimised)
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_inputs()]
    arrays = [clip.numpy() for clip in inputs]
    return torch.from_numpy(session.run(None, dict(zip(names, arrays, strict=True)))[0])


def kinds(path):
    onnx = pytest.importorskip("onnx")
    return [node.op_type for node in onnx.load(str(path)).graph.node]


def constants(path):
    onnx = pytest.importorskip("onnx")
    return {
        tensor.name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy())
        for tensor in onnx.load(str(path)).graph.initializer
    }


@pytest.fixture(scope="module")
def residual(tmp_path_factory):
    """The network, what is rounded, the quantiser of its file, and that file."""
    torch.manual_seed(0)
    model = settled(Residual())
    path = exported(model, tmp_path_factory.mktemp("residual"))
    fake = FakeQuantization(model, find_sites(model, clips(1)))
    ranges = fake.calibrate([clips()])
    return model, fake, OnnxQuantizer(path, fake.sites, ranges), path


@pytest.mark.slow
@pytest.mark.parametrize("kept", [(), ("b",), ("a", "c"), ("a", "b", "c", "d")], ids=str)
def test_it_computes_what_rounding_in_torch_does(residual, tmp_path, kept):
    model, fake, quantizer, _ = residual
    assert quantizer.layers == ["a", "b", "c", "d"]
    path = quantizer.write(tmp_path / "int8.onnx", kept)
    pytest.importorskip("onnx").checker.check_model(str(path))  # nodes in order, for one
    fake.use(())
    exact = model(clips(seed=5))
    fake.use(set(fake.sites) - set(kept))
    with torch.no_grad():
        expected = model(clips(seed=5))
    found = run_file(path, clips(seed=5), optimised=tmp_path / "run.onnx")
    # A sum rounded the other way moves one activation by a step; rounding as such moves all.
    off, rounding = (found - expected).norm(), (expected - exact).norm()
    assert off < 0.2 * rounding + 1e-5 * exact.norm()
    assert kinds(tmp_path / "run.onnx").count("QLinearConv") == 4 - len(kept)
    assert len(set(quantizer.layers) - set(kept)) == 4 - len(kept)


@pytest.mark.slow
def test_scales_are_those_of_the_closed_form(residual, tmp_path):
    """With the batch norm folded in: largest magnitude of each output channel over 127."""
    model, fake, quantizer, _ = residual
    found = constants(quantizer.write(tmp_path / "int8.onnx", ["d"]))
    with torch.no_grad():
        norm = model.a_bn
        factor = norm.weight / (norm.running_var + norm.eps).sqrt()
        folded = model.a._parameters["weight"] * factor.view(-1, 1, 1, 1, 1)
    name = next(name for name in found if name.endswith("a.weight_scale"))
    expected = torch.stack([channel.abs().max() / 127 for channel in folded])
    torch.testing.assert_close(found[name], expected)
    steps = found[name.replace("_scale", "_quantized")]
    assert steps.dtype == torch.int8
    assert (steps.float() - folded / expected.view(-1, 1, 1, 1, 1)).abs().max() <= 0.501
    low, high = fake.ranges["a:in"]
    scale = next(value for name, value in found.items() if name in ("frames_scale", "input_scale"))
    assert float(scale) == pytest.approx((high - low) / 255)
    assert any(name.endswith("d.weight") and found[name].dtype == torch.float32 for name in found)


@pytest.mark.slow
def test_one_outlying_channel(tmp_path):
    """In int8 the network is another one; with the two layers around it in float, the same."""
    torch.manual_seed(0)
    model = make_sensitive(settled(Residual()), 1e5)
    fake = FakeQuantization(model, find_sites(model, clips(1)))
    quantizer = OnnxQuantizer(exported(model, tmp_path), fake.sites, fake.calibrate([clips()]))
    fake.remove()
    exact = model(clips())
    whole = run_file(quantizer.write(tmp_path / "all.onnx"), clips())
    most = run_file(quantizer.write(tmp_path / "most.onnx", ["b", "c"]), clips())
    assert (whole - exact).norm() > 5 * (most - exact).norm()
    assert (most - exact).norm() < 0.05 * exact.norm()


WORDS = {
    "X3D": {"MODEL.ARCH": "x3d", "DATA.INPUT_CHANNEL_NUM": "[3]", "DATA.NUM_FRAMES": "4"},
    "SlowFast": {"MODEL.ARCH": "slowfast", "DATA.NUM_FRAMES": "8", "SLOWFAST.ALPHA": "4"},
}
SMALL = {
    "X3D": {"depth_factor": 1.0, "num_features": 64, "num_frames": 4, "crop_size": 32},
    "SlowFast": {"depth": 18, "width": 8, "alpha": 4, "num_frames": 8, "crop_size": 32},
}


@pytest.mark.slow
@pytest.mark.parametrize("family", list(SMALL))
def test_families(family, tmp_path):
    """All convolutions are found by name and run in integers; squeeze and excite and all."""
    model = MODELS.get(family)(num_classes=5, **SMALL[family])
    generator = torch.Generator().manual_seed(0)
    frames = {"X3D": [4], "SlowFast": [2, 8]}[family]
    inputs = [torch.randn(4, 3, count, 32, 32, generator=generator) for count in frames]
    with torch.no_grad():
        for _ in range(20):
            model(inputs)
        exact = model.eval()(inputs)
    words = {"DATA.TEST_CROP_SIZE": "32", "DATA.TRAIN_CROP_SIZE": "32",
             "DATA.TRAIN_JITTER_SCALES": "[32, 32]", "MODEL.MODEL_NAME": family}  # fmt: skip
    words = [word for pair in (words | WORDS[family]).items() for word in pair]
    path = exported(model, tmp_path, words)
    fake = FakeQuantization(model, find_sites(model, [clip[:1] for clip in inputs]))
    quantizer = OnnxQuantizer(path, fake.sites, fake.calibrate([inputs]))
    assert quantizer.layers == list(fake.sites)
    assert len(quantizer.layers) == kinds(path).count("Conv")
    int8 = quantizer.write(tmp_path / "int8.onnx")
    found = run_file(int8, inputs, optimised=tmp_path / "run.onnx")
    assert kinds(tmp_path / "run.onnx").count("QLinearConv") == len(quantizer.layers)
    with torch.no_grad():
        expected = model(inputs)
    spread = (exact - exact.mean(0)).norm()
    assert (found - expected).norm() < 0.1 * spread
    assert (found - exact).norm() < 0.2 * spread
    assert int8.stat().st_size < 0.7 * path.stat().st_size


def test_weights_are_named_after_layers():
    sites = {"s1.conv": Site(), "conv": Site(), "s1.lin": Site()}
    names = ["model.s1.conv.weight", "conv.weight", "s1.lin.bias", "val_3", "model.s2.fc.weight"]
    assert layer_names(names, sites) == {"model.s1.conv.weight": "s1.conv", "conv.weight": "conv"}


@pytest.mark.slow
def test_another_networks_file(residual):
    path = residual[-1]
    with pytest.raises(QuantizationError, match="none of the network's layers were found"):
        OnnxQuantizer(path, {"s1.other": Site()}, {})


@pytest.mark.slow
def test_where_the_runtimes_shape_inference_fails(residual, tmp_path, monkeypatch):
    """It does in networks with hard swish; the file is quantised all the same."""
    inference = pytest.importorskip("onnxruntime.quantization.shape_inference")
    whole = inference.quant_pre_process

    def fails(*paths, skip_symbolic_shape=False):
        if not skip_symbolic_shape:
            raise TypeError("object of type 'NoneType' has no len()")
        whole(*paths, skip_symbolic_shape=True)

    monkeypatch.setattr(inference, "quant_pre_process", fails)
    _, fake, quantizer, path = residual
    again = OnnxQuantizer(path, fake.sites, fake.ranges)
    paths = [q.write(tmp_path / f"{i}.onnx") for i, q in enumerate((quantizer, again))]
    first, second = (run_file(path, clips()) for path in paths)
    assert torch.equal(first, second)
