"""The steps of a quantisation: measure ranges, write files, keep layers in float, report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from slowfast.compression.quantization.calibration import Calibration
from slowfast.compression.quantization.errors import QuantizationError
from slowfast.compression.quantization.fake_quant import (
    FakeQuantization,
    Range,
    Site,
    find_sites,
    layer_errors,
)
from slowfast.compression.quantization.fallback import Fallback, find_float_layers
from slowfast.compression.quantization.onnx_qdq import OnnxQuantizer
from slowfast.compression.quantization.openvino_ptq import OpenVinoQuantizer
from slowfast.compression.quantization.report import Row, accuracy_sentences, timing_row, verdict
from slowfast.compression.report import accuracy, agreement
from slowfast.engine.predictions import Predictions
from slowfast.engine.weights import load_model
from slowfast.models.base import ClipModel

logger = logging.getLogger(__name__)

FLOAT, INT8, BF16 = "float32", "int8", "bf16"
ONNXRUNTIME, OPENVINO = "onnxruntime", "openvino"
MIB = 2**20

Evaluate = Callable[[ClipModel, str], tuple[Predictions, dict[str, float]]]
"""Model, split -> predictions and metrics."""
Train = Callable[[ClipModel, Mapping[str, Site], Mapping[str, Range]], Path]
"""Model, what is rounded and over which ranges -> checkpoint of a training with rounding."""


class Files(Protocol):
    """What deployment does for a quantisation: see :class:`slowfast.deploy.variants.Variants`."""

    machine: dict[str, Any]

    def export(self, model: ClipModel, folder: Path, stem: str = ...) -> Path: ...

    def plain(self, model: ClipModel, onnx_path: Path) -> AbstractContextManager[Path]: ...

    def convert(self, onnx_path: Path, target: Path) -> Path: ...

    def halve(self, onnx_path: Path, target: Path) -> Path: ...

    def describe(self, path: Path, like: Path, precision: str) -> Path: ...

    def load(self, path: Path) -> ClipModel: ...

    def size(self, path: Path) -> int: ...

    def time(self, models: Mapping[str, ClipModel]) -> dict[str, list[float]]: ...

    def peak_mib(self, path: Path) -> float | None: ...

    def has_bf16(self) -> bool: ...


class Quantizer(Protocol):
    """Writes int8 files with some layers in float. Attributes: the layers there are."""

    layers: list[str]

    def write(self, target: Path, float_layers: Collection[str] = ...) -> Path: ...


@dataclass
class Made:
    """What came out.

    Attributes:
        path: of the file.
        fallback: which layers stayed in float.
        layers: how many can be in int8.
        unmatched: layers that the file does not show by name: in float too.
        checkpoint: of training with rounding.
    """

    path: Path
    fallback: Fallback = field(default_factory=lambda: Fallback([], 0.0))
    layers: int = 0
    unmatched: list[str] = field(default_factory=list)
    checkpoint: Path | None = None


class Quantization:
    """One quantisation. Writes the float file when it is made.

    Args:
        original: the float network, on the CPU, in evaluation mode.
        files: exports, opens and times.
        out: where files go.
        runtime: ``onnxruntime`` or ``openvino``.
        precision: ``int8`` or ``bf16``.
        evaluate: scores a model on a split.

    Raises:
        QuantizationError: this processor has no bf16, and that was asked for.
    """

    def __init__(
        self,
        original: ClipModel,
        files: Files,
        out: Path,
        *,
        runtime: str,
        precision: str,
        evaluate: Evaluate,
    ) -> None:
        self.has_bf16 = files.has_bf16()
        if precision == BF16 and not self.has_bf16:
            raise QuantizationError("--precision bf16: this processor does not compute in bf16")
        self.original, self.files, self.out = original, files, out
        self.runtime, self.precision, self.evaluate = runtime, precision, evaluate
        self.onnx_path = files.export(original, out)
        self.float_path = self._for_runtime(self.onnx_path, FLOAT)
        self._written: tuple[Sequence[str], Path] | None = None

    def make_bf16(self) -> Made:
        """A file of 16 bits."""
        return Made(self._bf16())

    def make_int8(
        self,
        calibration: Calibration,
        *,
        max_drop: float,
        ranking_clips: int,
        train: Train | None = None,
    ) -> Made:
        """A file of 8 bits, but for layers that cost accuracy.

        Args:
            calibration: clips that show the ranges of activations.
            max_drop: points of accuracy that may be lost on the validation split.
            ranking_clips: that tell which layers rounding hurts.
            train: the network is trained with rounding before; its file then rounds what it was
                trained with, in OpenVINO too, and NNCF has no part in it.
        """
        example = [clip[:1] for clip in next(iter(calibration))]
        sites = find_sites(self.original, example)
        fake = FakeQuantization(self.original, sites)
        ranges = fake.calibrate(calibration)
        fake.remove()
        model, onnx_path, checkpoint = self.original, self.onnx_path, None
        if train is not None:
            checkpoint = train(model, sites, ranges)
            model = load_model(checkpoint)[0]
            onnx_path = self.files.export(model, self.out, "trained")
        if self.runtime == OPENVINO and train is None:
            count = len(calibration)
            quantizer: Quantizer = OpenVinoQuantizer(onnx_path, sites, calibration.singles, count)
        else:
            with self.files.plain(model, onnx_path) as plain:
                quantizer = OnnxQuantizer(plain, sites, ranges)

        def rank() -> list[str]:
            batches = take(calibration, ranking_clips)
            ranked = rank_layers(model, sites, ranges, batches)
            return [name for name in ranked if name in quantizer.layers]

        fallback = self._fall_back(quantizer, rank, max_drop)
        path = self._write(quantizer, fallback.float_layers)
        unmatched = [name for name in sites if name not in quantizer.layers]
        return Made(path, fallback, len(quantizer.layers), unmatched, checkpoint)

    def report(self, made: Made, *, costs: Row, split: str, max_drop: float) -> dict[str, Any]:
        """Everything measured, of the float file, bf16 where there is, and what was made.

        Args:
            made: what was made.
            costs: of the network, the same in every file.
            split: that accuracies are of.
            max_drop: as it was made with.
        """
        paths = {FLOAT: self.float_path}
        if self.has_bf16 and self.precision != BF16:
            name = BF16 if self.runtime == OPENVINO else f"{BF16} ({OPENVINO})"
            paths[name] = self._bf16()
        paths[self.precision] = made.path
        models = {name: self.files.load(path) for name, path in paths.items()}
        seconds = self.files.time(models)
        rows = self._rows(models, paths, split)
        for name, row in rows.items():
            row |= costs | {"latency": timing_row(seconds[name])}
        found = verdict(seconds, self.precision)
        found["sentences"] += accuracy_sentences(
            rows[FLOAT], rows[self.precision], self.precision, split=split, max_drop=max_drop,
            fallback=made.fallback, layers=made.layers,
        )  # fmt: skip
        all_files = paths | ({"checkpoint": made.checkpoint} if made.checkpoint else {})
        return found | {
            "title": f"{self.precision} for {self.runtime}",
            "result": self.precision,
            "backend": self.runtime,
            "split": split,
            "max_drop": max_drop,
            "layers": made.layers,
            "float_layers": made.fallback.float_layers,
            "unmatched_layers": made.unmatched,
            "tried": made.fallback.tried,
            "rows": rows,
            "machine": self.files.machine,
            "files": {name: str(path) for name, path in all_files.items()},
        }

    def _fall_back(
        self, quantizer: Quantizer, rank: Callable[[], list[str]], max_drop: float
    ) -> Fallback:
        """Which layers must stay in float, judged on the validation split."""
        whole = self._accuracy(self.float_path)

        def drop_of(float_layers: Sequence[str]) -> float:
            return whole - self._accuracy(self._write(quantizer, float_layers))

        return find_float_layers(rank, drop_of, max_drop)

    def _accuracy(self, path: Path) -> float:
        return float(accuracy(self.evaluate(self.files.load(path), "val")[1])["accuracy"])

    def _write(self, quantizer: Quantizer, float_layers: Sequence[str]) -> Path:
        if self._written is None or self._written[0] != float_layers:
            self._written = float_layers, self._write_anew(quantizer, float_layers)
        return self._written[1]

    def _write_anew(self, quantizer: Quantizer, float_layers: Sequence[str]) -> Path:
        if isinstance(quantizer, OpenVinoQuantizer):
            path = quantizer.write(self.out / f"{INT8}.xml", float_layers)
            self.files.describe(path, self.float_path, INT8)
            return path
        path = quantizer.write(self.out / f"{INT8}.onnx", float_layers)
        self.files.describe(path, self.onnx_path, INT8)
        return self._for_runtime(path, INT8)

    def _for_runtime(self, onnx_path: Path, precision: str) -> Path:
        if self.runtime == ONNXRUNTIME:
            return onnx_path
        path = self.files.convert(onnx_path, onnx_path.with_suffix(".xml"))
        self.files.describe(path, self.onnx_path, precision)
        return path

    def _bf16(self) -> Path:
        with self.files.plain(self.original, self.onnx_path) as plain:
            path = self.files.halve(plain, self.out / f"{BF16}.xml")
        self.files.describe(path, self.onnx_path, BF16)
        return path

    def _rows(
        self, models: Mapping[str, ClipModel], paths: Mapping[str, Path], split: str
    ) -> dict[str, Row]:
        """Accuracy, agreement with the float file, size and memory of each file."""
        rows: dict[str, Row] = {}
        reference: Predictions | None = None
        for name, model in models.items():
            predictions, metrics = self.evaluate(model, split)
            reference = reference or predictions
            rows[name] = accuracy(metrics) | {
                "size_mib": self.files.size(paths[name]) / MIB,
                "agreement": agreement(predictions, reference),
                "peak_mib": self.files.peak_mib(paths[name]),
                "metrics": metrics,
            }
        return rows


def take(calibration: Calibration, count: int) -> list[list[Any]]:
    """Batches of together ``count`` clips, or of a few more."""
    found: list[list[Any]] = []
    for clips in calibration:
        found.append(clips)
        if sum(len(batch[0]) for batch in found) >= count:
            break
    return found


def rank_layers(
    model: ClipModel,
    sites: Mapping[str, Site],
    ranges: Mapping[str, Range],
    batches: Sequence[Sequence[Any]],
) -> list[str]:
    """The layers of a network, those first whose rounding alone changes its logits most."""
    fake = FakeQuantization(model, sites, ranges)
    try:
        errors = layer_errors(model, fake, batches)
    finally:
        fake.remove()
    return sorted(errors, key=lambda name: -errors[name])
