"""ONNX, through torch's graph capture."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch

from slowfast.deploy.export.graph import ExportInfo, Graph, write_info
from slowfast.models.base import ClipModel
from slowfast.utils.optional import require

logger = logging.getLogger(__name__)


def export_onnx(model: ClipModel, path: Path, info: ExportInfo) -> Path:
    """Write ``model`` as one ONNX file, weights included, for any number of clips at once.

    Args:
        model: in any mode; not changed.
        path: ``.onnx``; its folder is made.
        info: shapes, names and kind of output; written beside it.

    Raises:
        ModuleNotFoundError: ``onnx`` or ``onnxscript`` is not installed; says how.
    """
    for library in ("onnx", "onnxscript"):
        require(library, extra="deploy")
    graph = Graph(model, info.kind, reverse_channels=info.is_reversed)
    # Of two clips: the number one would be taken for a constant.
    clips = tuple(torch.zeros(2, *shape[1:]) for shape in info.inputs.values())
    batch = torch.export.Dim("batch")
    for name in ("onnxscript", "onnx_ir"):
        logging.getLogger(name).setLevel(logging.WARNING)  # a line for every constant shared
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of deprecations within torch
        torch.onnx.export(
            graph,
            clips,
            str(path),
            dynamo=True,
            external_data=False,
            input_names=list(info.inputs),
            output_names=info.outputs,
            dynamic_shapes=(tuple({0: batch} for _ in clips),),
            verbose=False,
        )
    write_info(path, info)
    logger.info("wrote %s (%.1f MB)", path, path.stat().st_size / 1e6)
    return path
