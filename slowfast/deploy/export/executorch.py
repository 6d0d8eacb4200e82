"""ExecuTorch, for phones and small boards; what XNNPACK has kernels for is delegated to it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from slowfast.deploy.export.graph import Source
from slowfast.deploy.export.info import ExportError
from slowfast.deploy.export.table import Format
from slowfast.utils.optional import require


def write(source: Source, path: Path) -> Path:
    """Write ``path`` (``.pte``).

    Raises:
        ModuleNotFoundError: ``executorch`` is not installed; says how.
        ExportError: the network has an operation that it cannot convert.
    """
    return lower(source.program, path, type(source.model).__name__)


def lower(program: ExportedProgram, path: Path, name: str) -> Path:
    """Write a captured network, called ``name`` in errors; see :func:`write`."""
    exir = require("executorch.exir", extra="executorch")
    xnnpack = require(
        "executorch.backends.xnnpack.partition.xnnpack_partitioner", extra="executorch"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            edge = exir.to_edge_transform_and_lower(
                program, partitioner=[xnnpack.XnnpackPartitioner()]
            )
            path.write_bytes(edge.to_executorch().buffer)
    except Exception as error:  # of many kinds
        path.unlink(missing_ok=True)
        raise ExportError(
            f"ExecuTorch cannot take {name}: {error}. Export it as onnx instead"
        ) from error
    return path


def verify(source: Source, path: Path) -> dict[str, Any]:
    """Run the file and compare, where its kernels can.

    They have no 3-D convolution: a clip model is written for devices whose backend has one, and
    cannot be run here. Frame-by-frame networks can.

    Raises:
        ParityError: it runs, and computes something else.
    """
    from slowfast.deploy.parity import measure_parity, require_parity

    runtime = require("executorch.runtime", extra="executorch")
    program = runtime.Runtime.get().load_program(str(path))
    try:
        method = program.load_method("forward")

        def run(arrays: list[Any]) -> list[Any]:
            return [output.numpy() for output in method.execute([*map(torch.from_numpy, arrays)])]

        parity = measure_parity(source.graph, run, source.info)
    except RuntimeError as error:
        return {"executed": False, "reason": f"its kernels for CPUs lack an operation: {error}"}
    return require_parity(parity, path).as_dict()


FORMAT = Format(
    suffix=".pte", write=write, libraries=("torch", "executorch"), fixed_batch=True, verify=verify
)
