"""ONNX, through torch's graph capture."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch

from slowfast.deploy.export.graph import Source
from slowfast.deploy.export.info import ExportInfo, write_info
from slowfast.deploy.export.table import Format
from slowfast.models.base import ClipModel
from slowfast.utils.optional import require

logger = logging.getLogger(__name__)


def export_onnx(model: ClipModel, path: Path, info: ExportInfo) -> Path:
    """Write ``model`` as one ONNX file, weights included, and its description.

    Args:
        model: in any mode; not changed.
        path: ``.onnx``; its folder is made.
        info: shapes, names and kind of output; written beside it.

    Raises:
        ModuleNotFoundError: ``onnx`` or ``onnxscript`` is not installed; says how.
    """
    path = write(Source(model, info), path)
    write_info(path, info)
    return path


def write(source: Source, path: Path) -> Path:
    """Write the ONNX file only; see :func:`export_onnx`."""
    for library in ("onnx", "onnxscript"):
        require(library, extra="deploy")
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.getLogger("onnx_ir").setLevel(logging.WARNING)  # a line for every constant shared
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of deprecations within torch
        torch.onnx.export(
            source.program,
            (),
            str(path),
            dynamo=True,
            external_data=False,
            input_names=list(source.info.inputs),
            output_names=source.info.outputs,
            verbose=False,
        )
    return path


FORMAT = Format(suffix=".onnx", write=write, libraries=("torch", "onnx", "onnxscript"))
