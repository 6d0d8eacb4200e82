"""Stems of fast pathways in ONNX files: other operators, the same numbers."""

import pytest
import torch
from torch import nn

from slowfast.config import load_cfg
from slowfast.deploy.export.stems import FrameStem, has_frame_stems, with_frame_stems
from slowfast.deploy.variants import Variants
from slowfast.models import build_model

SLOWFAST = ["MODEL.MODEL_NAME", "SlowFast", "MODEL.ARCH", "slowfast", "DATA.NUM_FRAMES", "8",
            "DATA.TRAIN_CROP_SIZE", "32", "DATA.TEST_CROP_SIZE", "32", "RESNET.WIDTH_PER_GROUP",
            "16", "RESNET.DEPTH", "50", "MODEL.NUM_CLASSES", "5",
            "DATA.INPUT_CHANNEL_NUM", "[3, 3]"]  # fmt: skip


def stem(dim_out=4, kernel=(5, 7, 7), stride=(1, 2, 2), **words):
    return nn.Conv3d(3, dim_out, kernel, stride, [size // 2 for size in kernel], **words)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("kernel", "stride", "size"),
    [((5, 7, 7), (1, 2, 2), (8, 20, 31)), ((3, 5, 7), (1, 1, 2), (2, 9, 8)),
     ((5, 7, 7), (1, 2, 2), (1, 16, 16))],
)  # fmt: skip
def test_frames_give_what_the_clip_gives(kernel, stride, size, bias):
    plain = stem(kernel=kernel, stride=stride, bias=bias).double()
    changed = with_frame_stems(plain)
    assert type(changed) is FrameStem
    assert type(plain) is nn.Conv3d
    assert changed.state_dict().keys() == plain.state_dict().keys()
    clips = torch.randn(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(changed(clips), plain(clips), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "other",
    [stem(dim_out=64), stem(kernel=(1, 7, 7)), stem(kernel=(5, 3, 3)), stem(stride=(2, 2, 2)),
     stem(padding_mode="replicate"), stem(dilation=2), nn.Conv3d(3, 4, (5, 7, 7)),
     nn.Conv3d(4, 4, (5, 7, 7), padding=(2, 3, 3), groups=4),
     nn.Conv3d(3, 4, (5, 7, 7), padding="same")],
    ids=str,
)  # fmt: skip
def test_others_stay(other):
    assert not has_frame_stems(other)
    assert type(with_frame_stems(other)) is nn.Conv3d


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The model, and its files of both runtimes."""
    for library in ("onnx", "onnxscript", "onnxruntime", "openvino"):
        pytest.importorskip(library)
    from slowfast.deploy.export.files import export_files
    from slowfast.deploy.export.info import build_export_info

    torch.manual_seed(0)
    cfg = load_cfg(None, SLOWFAST)
    model = build_model(cfg).eval()
    info = build_export_info(cfg, model)
    folder = tmp_path_factory.mktemp("stems")
    files = export_files(model, info, folder, "net", ["onnx", "openvino"])
    return cfg, model, info, [file.path for file in files]


def kernels(path):
    """Sizes of the kernels of an ONNX file's convolutions."""
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(str(path)).graph
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    return [weights[node.input[1]][2:] for node in graph.node if node.op_type == "Conv"]


def openvino_kernels(path):
    openvino = pytest.importorskip("openvino")
    ops = openvino.Core().read_model(str(path)).get_ordered_ops()
    return [tuple(op.input(1).get_shape())[2:] for op in ops if op.get_type_name() == "Convolution"]


@pytest.mark.slow
def test_each_runtime_gets_its_form(exported):
    """Both files were compared with the model as they were written."""
    _, model, _, (onnx_file, xml) = exported
    assert has_frame_stems(model)
    assert (5, 7, 7) not in kernels(onnx_file)
    assert (7, 7) in kernels(onnx_file)
    assert (6, 7, 7) in openvino_kernels(xml)  # two frames at once


@pytest.mark.slow
def test_quantisation_gets_the_plain_form(exported, tmp_path):
    """Its ranges are of the convolutions of the network."""
    _, model, info, (onnx_file, _) = exported
    files = Variants(lambda model: info, {})
    with files.plain(model, onnx_file) as plain:
        assert (5, 7, 7) in kernels(plain)
    assert not plain.exists()
    for_openvino = Variants(lambda model: info, {}, "openvino")
    written = for_openvino.export(model, tmp_path)
    assert (5, 7, 7) in kernels(written)
    with for_openvino.plain(model, written) as plain:
        assert plain == written
