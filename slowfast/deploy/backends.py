"""What runs an exported file: arrays in, arrays out, one function per kind of file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slowfast.deploy.archive import check_program
from slowfast.deploy.export.info import ExportError, ExportInfo, main_file
from slowfast.utils.errors import UserError
from slowfast.utils.openvino import openvino_core
from slowfast.utils.optional import require

Arrays = list[NDArray[Any]]
Run = Callable[[Arrays], Arrays]
"""Clips ``(B, C, T, H, W)`` per pathway in, one array per task out."""
BF16 = "bf16"
PRECISIONS = ("f32", BF16, "f16")
ANY, STATIC_BATCHES = 0, 2
CHANNELS_LAST = (0, 2, 3, 4, 1)


@dataclass(frozen=True)
class RunOptions:
    """How a file is run.

    Attributes:
        threads: of one prediction; 0: the runtime's own choice.
        precision: one of ``PRECISIONS``. OpenVINO by itself computes in bf16 where the processor
            can, which moves probabilities by several percent: full precision unless asked. A file
            that says bf16 of itself, as ``tools/quantize.py`` makes it, is always run so.
    """

    threads: int = 0
    precision: str = "f32"

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UserError(f"precision {self.precision!r}: one of {', '.join(PRECISIONS)}")


def open_run(path: Path, info: ExportInfo, options: RunOptions | None = None) -> Run:
    """What runs the file at ``path``.

    Raises:
        UserError: of no format that runs here, or not there.
        ModuleNotFoundError: its runtime is not installed; says how.
    """
    path = main_file(path)
    opener = OPENERS.get(path.suffix)
    if opener is None:
        raise UserError(f"{path}: exported models that run here end in {', '.join(OPENERS)}")
    if not path.is_file():
        raise UserError(f"there is no exported model {path}")
    try:
        return opener(path, info, options or RunOptions())
    except (ModuleNotFoundError, UserError):
        raise
    except Exception as error:  # of many kinds, with the causes of the runtime
        raise ExportError(f"{path} cannot be opened: {error}. Export it again") from error


def memory_format(path: Path) -> torch.memory_format:
    """The order of clips in memory that the file at ``path`` runs without turning them around.

    OpenVINO takes both and computes channels last, which is how loaders deliver clips on a CPU:
    X3D-S is 3 % faster so, of which a half is the copy that is not made.
    """
    is_openvino = main_file(path).suffix == ".xml"
    return torch.channels_last_3d if is_openvino else torch.contiguous_format


def _only_f32(path: Path, options: RunOptions) -> None:
    if options.precision != "f32":
        raise UserError(
            f"{path} runs in the precision it has; {options.precision} is chosen when running "
            "OpenVINO's .xml"
        )


def _open_onnx(path: Path, info: ExportInfo, options: RunOptions) -> Run:
    runtime = require("onnxruntime", extra="deploy")
    _only_f32(path, options)
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    # Threads that wait sleep: they would otherwise keep other processes from the cores.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.log_severity_level = 3
    session = runtime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    return lambda arrays: session.run(info.outputs, dict(zip(info.inputs, arrays, strict=True)))


def _open_openvino(path: Path, info: ExportInfo, options: RunOptions) -> Run:
    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": BF16 if info.precision == BF16 else options.precision,
        "PERFORMANCE_HINT": "LATENCY",
    }
    if options.threads:
        settings["INFERENCE_NUM_THREADS"] = options.threads
    core = openvino_core()
    network = core.read_model(str(path))
    compiled: dict[tuple[int, bool], Any] = {}

    def compile_for(batch: int, *, is_last: bool) -> Any:
        """For the first numbers of clips on their own, 1.15 times as fast; then for any number."""
        key = (batch, is_last)
        if key not in compiled and len(compiled) >= STATIC_BATCHES:
            key = (ANY, is_last)
        if key not in compiled:
            model = network.clone()
            if key[0] != ANY:
                model.reshape({name: [batch, *shape[1:]] for name, shape in info.inputs.items()})
            model = channels_last(model) if is_last else model
            compiled[key] = core.compile_model(model, "CPU", settings)
        return compiled[key]

    def run(arrays: Arrays) -> Arrays:
        lasts = [array.transpose(CHANNELS_LAST) for array in arrays]
        is_last = all(array.flags.c_contiguous for array in lasts)
        taken = lasts if is_last else map(np.ascontiguousarray, arrays)
        found = compile_for(len(arrays[0]), is_last=is_last)(
            dict(zip(info.inputs, taken, strict=True))
        )
        return [np.asarray(found[name]) for name in info.outputs]

    return run


def channels_last(model: Any) -> Any:
    """The same OpenVINO model for inputs ``(B, ..., C)``: in the order in which it computes."""
    preprocess = require("openvino.preprocess", extra="deploy").PrePostProcessor(model)
    layout = require("openvino", extra="deploy").Layout
    for index, source in enumerate(model.inputs):
        axes = "DHW"[-(source.partial_shape.rank.get_length() - 2) :]
        preprocess.input(index).tensor().set_layout(layout(f"N{axes}C"))
        preprocess.input(index).model().set_layout(layout(f"NC{axes}"))
    return preprocess.build()


def _open_program(path: Path, info: ExportInfo, options: RunOptions) -> Run:
    _only_f32(path, options)
    check_program(path)
    module = torch.export.load(path).module()

    @torch.inference_mode()
    def run(arrays: Arrays) -> Arrays:
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(options.threads or threads)
            return [out.numpy() for out in module(*map(torch.from_numpy, arrays))]
        finally:
            torch.set_num_threads(threads)

    return run


OPENERS: dict[str, Callable[[Path, ExportInfo, RunOptions], Run]] = {
    ".onnx": _open_onnx,
    ".xml": _open_openvino,
    ".pt2": _open_program,
}
SUFFIXES = (*OPENERS, ".bin")
