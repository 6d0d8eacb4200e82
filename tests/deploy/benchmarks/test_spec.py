"""What is written on the command line, as what is measured."""

import json

import pytest

from slowfast.deploy.benchmarks.spec import Spec, cannot, expand, parse_spec
from slowfast.utils.errors import UserError


def describe(path, **entries):
    path.write_bytes(b"0")
    path.with_name(path.name + ".json").write_text(json.dumps(entries))
    return str(path)


def test_words_become_ways(tmp_path):
    xml = describe(tmp_path / "a.xml", precision="float32")
    rounded = describe(tmp_path / "b.onnx", precision="int8")
    stream = describe(tmp_path / "c.xml", streaming=True, clip={"precision": "float32"})
    table = {
        "a.yaml": Spec("a.yaml"),
        "a.yaml@openvino": Spec("a.yaml", runtime="openvino"),
        "stream:b.pyth@openvino/bf16": Spec("b.pyth", "stream", "openvino", "bf16"),
        "reference:a.yaml": Spec("a.yaml", "reference"),
        xml: Spec(xml, runtime="openvino"),
        f"{xml}@openvino/bf16": Spec(xml, runtime="openvino", precision="bf16"),
        rounded: Spec(rounded, runtime="onnxruntime", precision="int8"),
        stream: Spec(stream, "stream", "openvino"),
        "c:a.yaml": Spec("c:a.yaml"),
    }
    assert {text: parse_spec(text)[0] for text in table} == table


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a.yaml@tensorrt", "after @ comes RUNTIME/PRECISION, of eager, compile"),
        ("a.yaml@openvino/f8", "f32, bf16, int8"),
        ("a.xml@onnxruntime", "a file of openvino, and runs as such only"),
        ("reference:a.xml", "a file of openvino"),
        ("a.yaml@openvino/int8", r"make one with tools/quantize\.py"),
        ("stream:a.yaml@torch_export", "streams run eagerly"),
    ],
)
def test_what_does_not_exist_is_an_error(text, error):
    with pytest.raises(UserError, match=error):
        expand([text])


def test_every_way_but_those_that_do_not_exist():
    specs, skipped = expand(
        ["reference:a.yaml", "a.yaml"],
        ["eager", "onnxruntime", "openvino"],
        ["f32", "bf16", "int8"],
    )
    assert [spec.name for spec in specs] == [
        "a as PySlowFast",
        "a eager f32",
        "a eager bf16",
        "a onnxruntime f32",
        "a openvino f32",
        "a openvino bf16",
    ]
    assert skipped.keys() == {
        "a eager int8", "a onnxruntime bf16", "a onnxruntime int8", "a openvino int8"
    }  # fmt: skip
    assert all(skipped.values())
    assert not any(cannot(spec) for spec in specs)
    with pytest.raises(UserError, match="there is no 'tpu'"):
        expand(["a.yaml"], ["tpu"])


def test_a_file_has_its_own_precision(tmp_path):
    xml = describe(tmp_path / "a.xml", precision="float32")
    rounded = describe(tmp_path / "b.xml", precision="int8")
    onnx = describe(tmp_path / "c.onnx", precision="float32")
    texts = [xml, rounded, f"{rounded}@openvino/bf16", f"{rounded}@openvino/f32", onnx]
    specs, skipped = expand(texts, ["eager"], ["f32", "bf16"])
    assert [(spec.path, spec.precision) for spec in specs] == [
        (xml, "f32"),
        (xml, "bf16"),
        (rounded, "int8"),
        (rounded, "int8+bf16"),  # what is not in int8
        (onnx, "f32"),
    ]
    assert not skipped
