"""One network as files of several precisions: written, described, run and timed alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from slowfast.deploy.export.files import export_files
from slowfast.deploy.export.info import (
    ExportInfo,
    build_export_info,
    model_files,
    read_info,
    write_info,
)
from slowfast.deploy.export.openvino import convert
from slowfast.deploy.export.stems import has_frame_stems
from slowfast.deploy.latency import PeakMemory, describe_machine, time_interleaved
from slowfast.deploy.runtime import ExportedModel
from slowfast.models.base import ClipModel
from slowfast.utils.memory import return_freed_memory
from slowfast.utils.openvino import openvino_core
from slowfast.utils.optional import require

if TYPE_CHECKING:
    from yacs.config import CfgNode

FLOAT = "float32"


@dataclass
class Variants:
    """What a quantisation needs of deployment.

    Attributes:
        info_of: what there is to know of a model's files.
        machine: what timings depend on.
        runtime: that the files are for.
        warmup: runs before the clock starts.
        repeats: runs that are timed.
    """

    info_of: Callable[[ClipModel], ExportInfo]
    machine: dict[str, Any]
    runtime: str = "onnxruntime"
    warmup: int = 3
    repeats: int = 20

    def export(self, model: ClipModel, folder: Path, stem: str = FLOAT) -> Path:
        """Write a model as ``folder/stem.onnx``, compared with the model, and describe it."""
        plain = self.runtime != "onnxruntime"
        return export_files(model, self.info_of(model), folder, stem, ["onnx"], plain=plain)[0].path

    @contextmanager
    def plain(self, model: ClipModel, onnx_path: Path) -> Iterator[Path]:
        """The model with every convolution as the network has it: ``onnx_path``, if that is it."""
        if self.runtime != "onnxruntime" or not has_frame_stems(model):
            yield onnx_path
            return
        with TemporaryDirectory() as folder:
            info = self.info_of(model)
            yield export_files(model, info, Path(folder), "plain", ["onnx"], plain=True)[0].path

    def convert(self, onnx_path: Path, target: Path) -> Path:
        """Write an ONNX file, with what it rounds, as OpenVINO's ``.xml``."""
        return convert(onnx_path, target)

    def halve(self, onnx_path: Path, target: Path) -> Path:
        """Write an ONNX file as OpenVINO's ``.xml`` with weights of 16 bits."""
        return convert(onnx_path, target, halve=True)

    def describe(self, path: Path, like: Path, precision: str) -> Path:
        """Write the description of the file at ``path``, the network of ``like``, beside it."""
        kind = "openvino" if path.suffix == ".xml" else "onnx"
        info = replace(read_info(like), precision=precision, format=kind, parity={})
        return write_info(path, info)

    def load(self, path: Path) -> ClipModel:
        """The file as a model, in the precision that its description says."""
        return ExportedModel(path)

    def size(self, path: Path) -> int:
        """Bytes of a model's files."""
        return sum(file.stat().st_size for file in model_files(path))

    def has_bf16(self) -> bool:
        """Whether OpenVINO is here and this processor computes in bf16."""
        try:
            return "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        except ModuleNotFoundError:
            return False

    def time(self, models: Mapping[str, ClipModel]) -> dict[str, list[float]]:
        """Seconds of every run of one clip, of each model, by turns."""
        timed = time_interleaved(
            {name: _runner(model) for name, model in models.items()},
            warmup=self.warmup,
            repeats=self.repeats,
        )
        return {name: list(timing.seconds) for name, timing in timed.items()}

    def peak_mib(self, path: Path) -> float | None:
        """Memory that opening a file and running one clip takes; ``None`` where it is unknown."""
        return_freed_memory()  # what lies about unused would be taken first
        with PeakMemory() as memory:
            _runner(self.load(path))()
        return memory.mib


def build_variants(cfg: CfgNode) -> Variants:
    """The files of ``QUANTIZATION.RUNTIME``."""
    runtime = cfg.QUANTIZATION.RUNTIME
    library = require(runtime, extra="deploy")
    machine = {"runtime": runtime, runtime: library.__version__, **describe_machine()}
    return Variants(
        partial(build_export_info, cfg),
        machine,
        runtime,
        cfg.BENCHMARK.WARMUP,
        cfg.BENCHMARK.STEPS,
    )


def _runner(model: ClipModel) -> Any:
    assert isinstance(model, ExportedModel)
    info = model.info
    generator = torch.Generator().manual_seed(0)
    shapes = [(info.batch or 1, *shape[1:]) for shape in info.inputs.values()]
    arrays = [torch.rand(*shape, generator=generator).numpy() for shape in shapes]
    return lambda: model.run(arrays)
