"""Every entry of the model table, in every format that runs on a CPU, against PyTorch."""

import pytest
import torch

from slowfast.deploy.export.files import export_files
from slowfast.deploy.export.info import ExportInfo
from slowfast.deploy.frames import random_clips
from slowfast.models import MODELS
from slowfast.models.cosine import CosineModel
from tests.compression.pruning import families

FORMATS = ("onnx", "openvino", "torch_export")


def test_the_whole_table_is_here():
    assert set(families.SMALL) == set(MODELS)
    assert len(families.SMALL) >= 14


def small_network(name):
    """A network of every family, and the description of its clips."""
    torch.manual_seed(0)
    model, shapes = families.build(name), families.shapes(name)
    tasks = list(model.classifiers)
    inputs = ["slow", "fast"] if len(shapes) == 2 else ["frames"]
    info = ExportInfo(
        inputs={key: list(shape) for key, shape in zip(inputs, shapes, strict=True)},
        outputs=tasks,
        tasks=tasks,
        kind="logits",
        head_act=model.head_act,
        scale=model.scale if isinstance(model, CosineModel) else None,
        channels="RGB",
        model_channels="RGB",
        mean=[0.45] * 3,
        std=[0.225] * 3,
        stride=1,
        target_fps=0,
        num_classes=[layer.out_features for layer in model.classifiers.values()],
    )
    return model, info


def stretch(model, clips):
    """Give logits a size that differences can be measured against."""
    with torch.no_grad():
        logits = model(clips)
        for task, layer in model.classifiers.items():
            of_task = logits[task] if isinstance(logits, dict) else logits
            layer.weight.mul_(4 / of_task.abs().max())
            if layer.bias is not None:
                layer.bias.mul_(4 / of_task.abs().max())


@pytest.mark.slow
@pytest.mark.parametrize("name", families.SMALL)
def test_parity(name, tmp_path):
    for library in ("onnx", "onnxscript", "onnxruntime", "openvino"):
        pytest.importorskip(library)
    model, info = small_network(name)
    if not isinstance(model, CosineModel):
        stretch(model, random_clips(info, 3))
    found = export_files(model, info, tmp_path, "m", FORMATS, tolerance=1e-4)
    assert [exported.info.format for exported in found] == list(FORMATS)
    for exported in found:
        parity = exported.info.parity
        assert parity["executed"]
        assert 1 < parity["largest"] < 20
        assert parity["max_difference"] < 1e-4, exported.path
        assert parity["top1_agreement"] == 1.0
