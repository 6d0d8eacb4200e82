"""An exported model with the interface of a trained one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from slowfast.deploy.export.graph import ExportInfo, Graph, read_info
from slowfast.models.base import ClipModel, Preds
from slowfast.utils.errors import UserError
from slowfast.utils.optional import require

Arrays = list[NDArray[np.float32]]
Run = Callable[[Arrays], Arrays]
SUFFIXES = (".onnx", ".xml", ".bin")


class ExportedModel(ClipModel):
    """Runs a file; takes clips in the order of colours it was exported for.

    Args:
        path: ``.onnx``, or ``.xml`` (or ``.bin``) of OpenVINO; with its description beside it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.info: ExportInfo = read_info(path)
        self.head_act = self.info.head_act
        self.num_features = 0
        self._run = open_run(path, self.info)

    @property
    def classifiers(self) -> dict[str, nn.Linear]:
        return {}

    def forward_features(self, clips: Sequence[Tensor]) -> Tensor:
        raise UserError(f"{self.path} gives {self.info.kind}; features need the checkpoint")

    def forward_head(self, features: Tensor) -> Preds:
        raise UserError(f"{self.path} gives {self.info.kind}; features need the checkpoint")

    def forward(self, clips: Sequence[Tensor]) -> Preds:
        """Logits ``(B, num_classes)`` (of every task), also of a file that gives something else."""
        arrays = [clip.detach().cpu().float().contiguous().numpy() for clip in clips]
        found = [self._logits(torch.from_numpy(array)) for array in self._run(arrays)]
        if len(found) == 1:
            return found[0]
        return dict(zip(self.info.tasks, found, strict=True))

    def _logits(self, output: Tensor) -> Tensor:
        if self.info.kind == "cosines":
            return (self.info.scale or 1.0) * output
        if self.info.kind == "logits" or self.head_act == "none":
            return output
        tiny = torch.finfo(output.dtype).tiny
        if self.head_act == "softmax":  # logits but for a constant, which softmax does not see
            return output.clamp(min=tiny).log()
        return output.clamp(min=tiny).logit()


def open_run(path: Path, info: ExportInfo) -> Run:
    """What runs the file at ``path``.

    Raises:
        UserError: of no known format, or not there.
        ModuleNotFoundError: its runtime is not installed; says how.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path}: exported models end in {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise UserError(f"there is no exported model {path}")
    return _open_onnx(path, info) if path.suffix == ".onnx" else _open_openvino(path, info)


def _open_onnx(path: Path, info: ExportInfo) -> Run:
    runtime = require("onnxruntime", extra="deploy")
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda arrays: session.run(info.outputs, dict(zip(info.inputs, arrays, strict=True)))


def _open_openvino(path: Path, info: ExportInfo) -> Run:
    openvino = require("openvino", extra="deploy")
    # Full precision: by itself it computes in half where the processor can.
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.Core().compile_model(str(path.with_suffix(".xml")), "CPU", options)

    def run(arrays: Arrays) -> Arrays:
        found = model(dict(zip(info.inputs, arrays, strict=True)))
        return [np.asarray(found[name]) for name in info.outputs]

    return run


def check_parity(model: ClipModel, path: Path, *, clips: int = 2, tolerance: float = 1e-3) -> float:
    """The largest difference between the outputs of ``model`` and of the file made from it.

    Args:
        model: that was exported.
        path: the file.
        clips: random ones, in one batch.
        tolerance: relative to the largest output, or absolute where that is below 1.

    Raises:
        RuntimeError: they differ by more.
    """
    exported = ExportedModel(path)
    info = exported.info
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(clips, *shape[1:], generator=generator) for shape in info.inputs.values()]
    graph = Graph(model, info.kind, reverse_channels=info.is_reversed)
    with torch.no_grad():
        expected = graph(*inputs)
    found = exported._run([clip.numpy() for clip in inputs])
    differences = [
        float((torch.from_numpy(a) - b).abs().max()) for a, b in zip(found, expected, strict=True)
    ]
    largest = max(1.0, *(float(value.abs().max()) for value in expected))
    if not max(differences) <= tolerance * largest:
        raise RuntimeError(
            f"{path} computes something else than the model it was made from: outputs differ by "
            f"{max(differences):.3g} of {largest:.3g}"
        )
    return max(differences)
