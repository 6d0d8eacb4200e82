"""ONNX, through torch's graph capture."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import torch
from torch.export import ExportedProgram

from slowfast.deploy.export.graph import Source
from slowfast.deploy.export.info import ExportInfo
from slowfast.deploy.export.table import Format
from slowfast.utils.optional import require

logger = logging.getLogger(__name__)


def write(source: Source, path: Path) -> Path:
    """Write a model as one ONNX file, weights included, in the form that suits ONNX Runtime.

    Raises:
        ModuleNotFoundError: ``onnx`` or ``onnxscript`` is not installed; says how.
    """
    return write_program(source.onnxruntime_program, source.info, path)


def write_program(program: ExportedProgram, info: ExportInfo, path: Path) -> Path:
    """Write a captured graph as ONNX; likewise.

    Args:
        program: the graph.
        info: names of its inputs and outputs.
        path: ``.onnx``; its folder is made.
    """
    for library in ("onnx", "onnxscript"):
        require(library, extra="deploy")
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.getLogger("onnx_ir").setLevel(logging.WARNING)  # a line for every constant shared
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of deprecations within torch
        torch.onnx.export(
            program,
            (),
            str(path),
            dynamo=True,
            external_data=False,
            input_names=list(info.inputs),
            output_names=info.outputs,
            verbose=False,
        )
    return path


FORMAT = Format(suffix=".onnx", write=write, libraries=("torch", "onnx", "onnxscript"))
