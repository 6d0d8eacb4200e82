"""A learner's network as an ONNX file that runs faster."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from slowfast.deploy.export.files import export_files, move_files
from slowfast.deploy.export.info import ExportInfo, read_info, write_info
from slowfast.deploy.export.streaming import (
    StreamInfo,
    check_stream_parity,
    export_streaming_onnx,
    read_stream_info,
    write_stream_info,
)
from slowfast.deploy.parity import check_parity
from slowfast.models.base import ClipModel
from slowfast.models.streaming import StreamingModel
from slowfast.utils.files import copy_file
from slowfast.utils.optional import require


def optimize_clips(model: ClipModel, info: ExportInfo, path: Path, *, fold: bool) -> Path:
    """Write a clip network as ONNX, run it and compare.

    Args:
        model: not changed.
        info: of the file.
        path: of the file; its description is written beside it.
        fold: compute beforehand what depends on weights alone.

    Raises:
        ParityError: the file computes something else; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix=".optimize_") as staging:
        (exported,) = export_files(model, info, Path(staging), path.stem, ["onnx"])
        if fold:
            fold_constants(exported.path)
            parity = check_parity(model, exported.path, info=exported.info)
            write_info(exported.path, replace(exported.info, parity=parity.as_dict()))
        move_files(exported.path, path.parent)
    return path


def optimize_stream(stream: StreamingModel, info: StreamInfo, path: Path, *, fold: bool) -> Path:
    """Write a step of a stream as ONNX, run it and compare; see :func:`optimize_clips`.

    Raises:
        ExportError: the file computes something else; nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix=".optimize_") as staging:
        made = export_streaming_onnx(stream, Path(staging) / path.name, info)
        if fold:
            written = read_stream_info(made)
            fold_constants(made)
            write_stream_info(made, written)  # the checksum is another
            write_stream_info(made, replace(written, parity=check_stream_parity(stream, made)))
        move_files(made, path.parent)
    return path


def fold_constants(path: Path) -> None:
    """Replace what has only constant inputs by its value, in place.

    ONNX Runtime's optimisations of its basic level, which any runtime can read: also batch norms
    become part of convolutions.
    """
    runtime = require("onnxruntime", extra="deploy")
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    folded = path.with_name(f"{path.stem}.folded.onnx")
    options.optimized_model_filepath = str(folded)
    runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    os.replace(folded, path)


def copy_clips(source: Path, target: Path) -> None:
    """Copy an optimised clip network under another name; its description says the new one."""
    info = read_info(source)
    copy_file(source, target)
    write_info(target, info)


def copy_stream(source: Path, target: Path) -> None:
    """Copy an optimised stream; see :func:`copy_clips`."""
    info = read_stream_info(source)
    copy_file(source, target)
    write_stream_info(target, info)
