"""Exported files give the outputs of the model they were made from, and say what they are."""

import json
import sys
from dataclasses import replace

import pytest
import torch

from slowfast.config import load_cfg
from slowfast.deploy.export import EXPORTERS
from slowfast.deploy.export.files import describe, export_files
from slowfast.deploy.export.graph import Graph
from slowfast.deploy.export.info import (
    ExportError,
    ExportInfo,
    build_export_info,
    checksums,
    info_path,
    parse_info,
    read_info,
    write_info,
)
from slowfast.deploy.parity import ParityError, compare
from slowfast.models.slowfast import SlowFast
from slowfast.models.tiny import TinyNet
from slowfast.utils.errors import UserError
from tests.engine.cosine import TinyCosine

CFG = ["DATA.NUM_FRAMES", "4", "DATA.TEST_CROP_SIZE", "16", "DATA.TRAIN_CROP_SIZE", "16",
       "DATA.TRAIN_JITTER_SCALES", "[20, 20]", "DATA.MEAN", "[0.1, 0.2, 0.3]",
       "MODEL.ARCH", "tiny", "MODEL.MODEL_NAME", "TinyNet"]  # fmt: skip


def info_of(model, *words, **options):
    return build_export_info(load_cfg(None, [*CFG, *words]), model, **options)


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


def test_frames_are_normalised_inside():
    model, mean, std = TinyNet(num_classes=3), [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]
    frames = torch.randint(0, 256, (2, 3, 4, 8, 8), dtype=torch.uint8)
    column = (3, 1, 1, 1)
    clips = (frames / 255 - torch.tensor(mean).view(column)) / torch.tensor(std).view(column)
    found = Graph(model, mean=mean, std=std)(frames)
    torch.testing.assert_close(found, Graph(model)(clips))
    flipped = Graph(model, mean=mean[::-1], std=std[::-1], reverse_channels=True)(frames.flip(1))
    torch.testing.assert_close(flipped, found)


@pytest.mark.parametrize("act", ["softmax", "sigmoid", "none"])
@pytest.mark.parametrize("classes", [5, {"verb": 3, "noun": 4}])
def test_logits_give_what_predict_gives_of_a_larger_clip_too(act, classes):
    """Where the head has several positions, ``predict`` is a mean of activated logits."""
    torch.manual_seed(0)
    model = SlowFast(depth=18, width=8, alpha=4, num_frames=8, crop_size=32, num_classes=classes,
                     head_act=act).eval()  # fmt: skip
    for layer in model.classifiers.values():
        torch.nn.init.normal_(layer.weight, std=2.0)
    for crop in (32, 64):
        clips = [torch.randn(2, 3, frames, crop, crop) for frames in (2, 8)]
        with torch.no_grad():
            logits, scores = Graph(model)(*clips), Graph(model, "probabilities")(*clips)
            expected, plain = model.predict(clips), model(clips)
        expected = list(expected.values()) if isinstance(expected, dict) else [expected]
        plain = list(plain.values()) if isinstance(plain, dict) else [plain]
        for values, of_file, wanted in zip(logits, scores, expected, strict=True):
            torch.testing.assert_close(of_file, wanted)
            found = {"softmax": values.softmax(-1), "sigmoid": values.sigmoid(), "none": values}
            torch.testing.assert_close(found[act], wanted, rtol=1e-4, atol=1e-6)
        if crop == 32:
            torch.testing.assert_close(logits, tuple(plain))


def test_the_description(tmp_path):
    model = TinyCosine(num_classes=2, scale=7.0)
    info = info_of(model, channels="BGR", class_names={"action": ["left", "right"]})
    assert info.inputs == {"frames": [1, 3, 4, 16, 16]}
    assert (info.scale, info.kind, info.tasks) == (7.0, "logits", ["action"])
    assert (info.short_side, info.crop, info.dtype) == (16, [16, 16], torch.float32)
    assert info.mean == [0.3, 0.2, 0.1]  # as the clips are
    path = tmp_path / "model.onnx"
    path.write_bytes(b"weights")
    assert write_info(path, info) == tmp_path / "model.onnx.json" == info_path(path)
    assert json.loads(info_path(path).read_text())["class_names"] == {"action": ["left", "right"]}
    assert read_info(path) == replace(info, sha256=dict(checksums(path)))
    two = info_of(TinyNet(num_classes={"verb": 3, "noun": 5}), "TEST.NUM_SPATIAL_CROPS", "1")
    assert two.outputs == two.tasks == ["verb", "noun"]
    assert (two.num_classes, two.scale, two.short_side) == ([3, 5], None, 20)
    whole = info_of(model, "DATA.RESIZE", "[8,12]", "TEST.NUM_SPATIAL_CROPS", "1")
    assert (whole.short_side, whole.resize, whole.crop) == (0, [8, 12], [8, 12])
    with pytest.raises(UserError, match="3 class names for the 2 classes of 'action'"):
        info_of(model, class_names={"action": ["a", "b", "c"]})
    with pytest.raises(UserError, match=r"class names of 'verb', the tasks are \['action'\]"):
        info_of(model, class_names={"verb": ["a", "b"]})


def test_two_pathways_are_named():
    model = SlowFast(depth=18, width=8, alpha=4, num_frames=8, crop_size=16, num_classes=2)
    words = ["MODEL.ARCH", "slowfast", "MODEL.MODEL_NAME", "SlowFast", "SLOWFAST.ALPHA", "4",
             "DATA.NUM_FRAMES", "8", "DATA.INPUT_CHANNEL_NUM", "[3, 3]"]  # fmt: skip
    info = info_of(model, *words)
    assert info.inputs == {"slow": [1, 3, 2, 16, 16], "fast": [1, 3, 8, 16, 16]}
    assert info.pathway_frames == {"slow": [0, 7], "fast": list(range(8))}


def described(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"weights")
    write_info(path, info_of(TinyNet(num_classes=2)))
    return path


def test_a_description_that_is_missing_or_another_s(tmp_path):
    path = described(tmp_path)
    path.write_bytes(b"other weights")
    with pytest.raises(ExportError, match=r"not the description of this model\.onnx: the SHA-256"):
        read_info(path)
    info_path(path).unlink()
    with pytest.raises(ExportError, match=r"without its description .*model\.onnx\.json"):
        read_info(path)
    path.unlink()
    with pytest.raises(ExportError, match=r"no exported model .*model\.onnx is missing"):
        read_info(path)
    (tmp_path / "model.xml").write_text("<net/>")
    for name in ("model.xml", "model.bin"):
        with pytest.raises(ExportError, match=r"model\.bin is missing"):
            read_info(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "{", "Expecting property name"),
        (lambda text: "[]", "a JSON object"),
        (lambda text: "{}", "it has no 'channels'"),
        ({"kind": "embeddings"}, "kind 'embeddings'"),
        ({"schema": 99}, "schema 99 is a newer"),
        ({"inputs": {"frames": "4"}}, "its 'inputs' is {'frames': '4'}"),
        ({"inputs": {}}, "do not belong together"),
        ({"outputs": ["a", "b"]}, "do not belong together"),
        ({"mean": ["a"]}, r"its 'mean' is \['a'\]"),
        ({"batch": True}, "its 'batch' is True"),
    ],
)
def test_a_description_that_is_none(tmp_path, change, message):
    path = described(tmp_path)
    text = info_path(path).read_text()
    text = json.dumps(json.loads(text) | change) if isinstance(change, dict) else change(text)
    info_path(path).write_text(text)
    with pytest.raises(ExportError, match=message):
        read_info(path)


def test_later_versions_may_add_to_a_description(tmp_path):
    text = info_path(described(tmp_path)).read_text()
    assert isinstance(parse_info(json.dumps(json.loads(text) | {"new": 1})), ExportInfo)


def test_every_format_says_what_is_not_installed(tmp_path, monkeypatch):
    assert list(EXPORTERS) == ["coreml", "executorch", "onnx", "openvino", "torch_export"]
    model = TinyNet(num_classes=2)
    libraries = {"coreml": "coremltools", "executorch": "executorch", "onnx": "onnx",
                 "openvino": "openvino"}  # fmt: skip
    extras = {"coreml": "coreml", "executorch": "executorch"}
    for name, library in libraries.items():
        monkeypatch.setitem(sys.modules, library, None)
        monkeypatch.setitem(sys.modules, "executorch.exir", None)
        extra = extras.get(name, "deploy")
        with pytest.raises(ModuleNotFoundError, match=rf"pip install -e '\.\[{extra}\]'"):
            export_files(model, info_of(model), tmp_path, "m", [name])
    with pytest.raises(KeyError, match=r"unknown export format 'onxx'\. Did you mean 'onnx'"):
        export_files(model, info_of(model), tmp_path, "m", ["onxx"])
    assert not list(tmp_path.iterdir())


def test_parity_is_of_outputs_and_scores():
    info = info_of(TinyNet(num_classes=2))
    expected = [[torch.tensor([[0.0, 4.0]])], [torch.tensor([[1.0, 0.0], [0.0, 0.1]])]]
    found = [[torch.tensor([[0.0, 4.2]])], [torch.tensor([[1.0, 0.0], [0.1, 0.0]])]]
    parity = compare(expected, found, info, tolerance=0.04)
    assert (parity.clips, parity.largest) == (3, 4.0)
    assert parity.max_difference == pytest.approx(0.2)
    assert parity.top1_agreement == pytest.approx(2 / 3)
    assert parity.max_score_difference == pytest.approx(torch.tensor(0.1).sigmoid() * 2 - 1)
    assert not parity.holds
    assert compare(expected, found, info, tolerance=0.06).holds
    nan = [[torch.tensor([[0.0, float("nan")]])], found[1]]
    assert not compare(expected, nan, info, tolerance=1e9).holds
    # Large logits may differ by more, probabilities may not.
    large, other = ([[x * 100 for x in batch] for batch in of] for of in (expected, found))
    assert not compare(large, other, info, tolerance=0.06).holds
    plain = replace(info, head_act="none")
    assert compare(large, other, plain, tolerance=0.06).holds


def test_a_file_that_computes_something_else_is_not_left_behind(tmp_path, monkeypatch):
    """Whatever it is; one that was there before stays."""
    model = TinyNet(num_classes=2)
    export_files(model, info_of(model), tmp_path, "m", ["torch_export"])
    before = sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir())
    assert [name for name, _ in before] == ["m.pt2", "m.pt2.json"]
    import slowfast.deploy.export.files as module

    def wrong(path, info):
        return lambda arrays: [torch.ones(len(arrays[0]), 2).numpy()]

    monkeypatch.setattr(module, "open_run", wrong)
    with pytest.raises(ParityError, match=r"m\.pt2 computes something else.*outputs differ by"):
        export_files(model, info_of(model), tmp_path, "m", ["torch_export"])
    assert sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir()) == before


@pytest.mark.slow
def test_files_of_one_export(tmp_path):
    """Two tasks, uint8 frames in BGR, probabilities, in three formats of one capture."""
    for library in ("onnx", "onnxscript", "onnxruntime", "openvino"):
        pytest.importorskip(library)
    torch.manual_seed(0)
    model = TinyNet(num_classes={"verb": 3, "noun": 5})
    model([clip(8)])  # statistics
    info = info_of(model, kind="probabilities", channels="BGR", normalize_inside=True)
    found = export_files(
        model, info, tmp_path / "new", "m", ["onnx", "openvino", "torch_export"], tolerance=1e-5
    )
    names = {path.name for path in (tmp_path / "new").iterdir()}
    files = {"m.onnx", "m.xml", "m.pt2"}
    assert names == files | {f"{name}.json" for name in files} | {"m.bin"}
    for exported in found:
        read = read_info(exported.path)
        assert (read.parity["executed"], read.parity["clips"]) == (True, 4)
        assert read.parity["max_score_difference"] < 1e-6
        assert (read.parameters, read.format) == (
            sum(p.numel() for p in model.parameters()), exported.info.format,
        )  # fmt: skip
        assert read.macs > 0
        assert exported.path.name in describe(exported)
    assert set(read_info(tmp_path / "new/m.bin").sha256) == {"m.xml", "m.bin"}
