"""Exported files give the outputs of the model they were made from."""

import json

import pytest
import torch

from slowfast.config import load_cfg
from slowfast.deploy.export.graph import Graph, build_export_info, info_path, read_info, write_info
from slowfast.deploy.runtime import ExportedModel, check_parity
from slowfast.models.tiny import TinyNet
from slowfast.utils.errors import UserError
from tests.engine.cosine import TinyCosine

CFG = ["DATA.NUM_FRAMES", "4", "DATA.TEST_CROP_SIZE", "16", "DATA.TRAIN_CROP_SIZE", "16",
       "DATA.TRAIN_JITTER_SCALES", "[16, 16]", "DATA.MEAN", "[0.1, 0.2, 0.3]",
       "MODEL.ARCH", "tiny", "MODEL.MODEL_NAME", "TinyNet"]  # fmt: skip


def info_of(model, **options):
    return build_export_info(load_cfg(None, CFG), model, **options)


def clip(batch=2):
    return torch.randn(batch, 3, 4, 16, 16, generator=torch.Generator().manual_seed(1))


def test_kinds_of_output():
    model = TinyCosine(scale=7.0)
    model.train()
    x = clip()
    (cosines,), (logits,), (scores,) = (
        Graph(model, kind)(x) for kind in ("cosines", "logits", "probabilities")
    )
    assert model.training
    torch.testing.assert_close(logits, 7.0 * cosines)
    torch.testing.assert_close(scores, logits.softmax(1))
    torch.testing.assert_close(Graph(model, reverse_channels=True)(x.flip(1))[0], logits)
    with pytest.raises(UserError, match="TinyNet has no cosine head"):
        Graph(TinyNet(num_classes=3), "cosines")
    with pytest.raises(UserError, match="no output 'features'"):
        Graph(model, "features")


def test_the_description(tmp_path):
    model = TinyCosine(num_classes=2, scale=7.0)
    info = info_of(model, channels="BGR", class_names=["left", "right"])
    assert info.inputs == {"input": [1, 3, 4, 16, 16]}
    assert (info.scale, info.kind, info.tasks) == (7.0, "logits", ["action"])
    assert info.mean == [0.3, 0.2, 0.1]  # as the clips are
    path = tmp_path / "model.onnx"
    assert write_info(path, info) == tmp_path / "model.meta_info.json" == info_path(path)
    assert json.loads(info_path(path).read_text())["model_classes"] == {"0": "left", "1": "right"}
    assert read_info(path) == info
    with pytest.raises(UserError, match=r"without its description .*other\.meta_info\.json"):
        read_info(tmp_path / "other.onnx")
    two = info_of(TinyNet(num_classes={"verb": 3, "noun": 5}))
    assert two.outputs == ["output_verb", "output_noun"]
    assert (two.num_classes, two.scale) == ([3, 5], None)


def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch):
    import slowfast.deploy.export.onnx as module

    def absent(name, extra):
        raise ModuleNotFoundError(f"{name}: pip install -e '.[{extra}]'")

    monkeypatch.setattr(module, "require", absent)
    with pytest.raises(ModuleNotFoundError, match=r"\[deploy\]"):
        module.export_onnx(TinyCosine(), tmp_path / "m.onnx", info_of(TinyCosine()))


def test_what_is_no_exported_model(tmp_path):
    write_info(tmp_path / "m.pth", info_of(TinyCosine()))
    with pytest.raises(UserError, match=r"end in \.onnx"):
        ExportedModel(tmp_path / "m.pth")
    with pytest.raises(UserError, match="there is no exported model"):
        ExportedModel(tmp_path / "m.onnx")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A trained-like model and its ONNX file."""
    for library in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(library)
    from slowfast.deploy.export.onnx import export_onnx

    torch.manual_seed(0)
    model = TinyCosine()
    model([clip(8)])  # statistics
    folder = tmp_path_factory.mktemp("export")
    return model, export_onnx(model, folder / "model.onnx", info_of(model))


@pytest.mark.slow
def test_onnx_gives_the_same_for_any_number_of_clips(exported):
    model, path = exported
    assert not list(path.parent.glob("*.data"))  # one file
    assert check_parity(model, path) < 1e-4
    runtime = ExportedModel(path)
    for batch in (1, 3):
        with torch.no_grad():
            expected = model.eval().predict([clip(batch)])
        torch.testing.assert_close(runtime.predict([clip(batch)]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_file_of_another_model_is_found_out(exported):
    _, path = exported
    torch.manual_seed(1)
    with pytest.raises(RuntimeError, match="outputs differ by"):
        check_parity(TinyCosine(), path)


@pytest.mark.slow
def test_onnx_of_two_tasks_and_probabilities(tmp_path):
    for library in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(library)
    from slowfast.deploy.export.onnx import export_onnx

    model = TinyNet(num_classes={"verb": 3, "noun": 5}).eval()
    path = export_onnx(model, tmp_path / "m.onnx", info_of(model, kind="probabilities"))
    found = ExportedModel(path).predict([clip()])
    for task, value in model.predict([clip()]).items():
        torch.testing.assert_close(found[task], value, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_openvino_gives_the_same(exported):
    pytest.importorskip("openvino")
    from slowfast.deploy.export.openvino import export_openvino

    model, path = exported
    xml = export_openvino(path, path.with_suffix(".xml"))
    assert xml.with_suffix(".bin").is_file()
    assert check_parity(model, xml) < 1e-4
