"""Core ML, for Apple's devices. Written anywhere, run on macOS and iOS only."""

from __future__ import annotations

import io
import logging
import shutil
import sys
import warnings
from collections import Counter
from contextlib import redirect_stderr
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from slowfast.deploy.export.graph import Source
from slowfast.deploy.export.info import ExportError
from slowfast.deploy.export.table import Format
from slowfast.utils.optional import require


def write(source: Source, path: Path) -> Path:
    """Write an ML program (iOS 17, macOS 14) in full precision as ``path`` (``.mlpackage``).

    Raises:
        ModuleNotFoundError: ``coremltools`` is not installed; says how.
        ExportError: the network has an operation that it cannot convert, or takes uint8 frames.
    """
    coremltools = _library()
    if source.info.normalized_inside:
        raise ExportError("Core ML takes no uint8 arrays: leave out --normalize_inside")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):  # progress bars
            warnings.simplefilter("ignore")
            _convert(coremltools, source).save(str(path))
    except Exception as error:  # of many kinds
        shutil.rmtree(path, ignore_errors=True)
        raise ExportError(
            f"coremltools cannot convert {type(source.model).__name__}: {error}. "
            "Export it as onnx instead"
        ) from error
    return path


def _convert(coremltools: ModuleType, source: Source) -> Any:
    info = source.info
    shapes = {name: (info.batch, *shape[1:]) for name, shape in info.inputs.items()}
    # An LSTM it knows in parts only; of others it makes the better program when left whole.
    is_recurrent = any(isinstance(module, nn.LSTM) for module in source.graph.modules())
    parts: dict[Any, Any] | None = None if is_recurrent else {}
    return coremltools.convert(
        source.program.run_decompositions(parts),
        convert_to="mlprogram",
        inputs=[coremltools.TensorType(name, shape) for name, shape in shapes.items()],
        outputs=[coremltools.TensorType(name) for name in info.outputs],
        minimum_deployment_target=coremltools.target.iOS17,
        compute_precision=coremltools.precision.FLOAT32,
        skip_model_load=True,
    )


def _library() -> ModuleType:
    logger = logging.getLogger("coremltools")
    logger.setLevel(logging.ERROR)  # of libraries it does without, and newer ones than it knows
    found = require("coremltools", extra="coreml")
    logger.setLevel(logging.ERROR)
    return found


def verify(source: Source, path: Path) -> dict[str, Any]:
    """Inputs and outputs in the file against what was asked for; convolutions are counted.

    Raises:
        ExportError: they differ.
    """
    spec = _library().models.MLModel(str(path), skip_model_load=True).get_spec()
    info, description = source.info, spec.description
    found = {entry.name: list(entry.type.multiArrayType.shape) for entry in description.input}
    wanted = {name: [info.batch, *shape[1:]] for name, shape in info.inputs.items()}
    outputs = [entry.name for entry in description.output]
    if found != wanted or outputs != info.outputs:
        raise ExportError(
            f"{path} takes {found} and gives {outputs}; it should take {wanted} and give "
            f"{info.outputs}"
        )
    operations = Counter(
        operation.type
        for function in spec.mlProgram.functions.values()
        for block in function.block_specializations.values()
        for operation in block.operations
        if operation.type != "const"
    )
    calls = [node for node in source.program.graph.nodes if node.op == "call_function"]
    convolutions = sum("conv" in str(node.target) for node in calls)
    if operations["conv"] != convolutions:
        raise ExportError(f"{path} has {operations['conv']} convolutions instead of {convolutions}")
    reason = (
        f"Core ML runs on Apple's systems, not on {sys.platform}; inputs, outputs and the "
        f"number of convolutions, {convolutions}, are right"
    )
    return {"executed": False, "reason": reason, "operations": dict(operations)}


FORMAT = Format(
    suffix=".mlpackage",
    write=write,
    libraries=("torch", "coremltools"),
    fixed_batch=True,
    verify=verify,
)
