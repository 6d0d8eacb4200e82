"""How long models take, in the runtime they will be used in."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from slowfast.deploy.benchmarks.model import clip_runner
from slowfast.deploy.export.info import ExportInfo, build_export_info
from slowfast.deploy.latency import describe_machine, time_interleaved
from slowfast.engine.build import Placement, build_placement, place
from slowfast.models.base import ClipModel
from slowfast.models.profile import build_model_inputs
from slowfast.utils.errors import UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode

Latency = Callable[[Mapping[str, ClipModel]], dict[str, dict[str, float]]]
"""Models by name -> ``p50_ms``, ``p90_ms``, ``iqr_ms`` and ``runs`` of each, timed by turns."""

Run = Callable[[], object]
RUNTIMES = ("eager", "onnxruntime", "openvino")


def build_latency(cfg: CfgNode, runtime: str = "eager") -> Latency:
    """Times one clip of the test crop.

    ``eager`` on the device and in the memory layout of the run, the others on the CPU, all in full
    precision. Repetitions: ``BENCHMARK.WARMUP`` and ``BENCHMARK.STEPS``.

    A model given again under the same name is not exported again; it must not have changed.

    Args:
        cfg: the config.
        runtime: one of ``RUNTIMES``.

    Raises:
        UserError: no such runtime.
    """
    if runtime not in RUNTIMES:
        raise UserError(f"there is no runtime {runtime!r}: give one of {', '.join(RUNTIMES)}")
    placement = build_placement(cfg)
    shapes = build_model_inputs(cfg, cfg.DATA.TEST_CROP_SIZE)
    clips = [torch.rand(*shape) for shape in shapes]

    def prepare(model: ClipModel) -> Run:
        if runtime == "eager":
            return _eager(model, clips, placement)
        with tempfile.TemporaryDirectory() as folder:
            return _exported(model, clips, build_export_info(cfg, model), runtime, Path(folder))

    ready: dict[str, tuple[ClipModel, Run]] = {}  # of the call before: exporting takes seconds

    def measure(models: Mapping[str, ClipModel]) -> dict[str, dict[str, float]]:
        for name, model in models.items():
            if name not in ready or ready[name][0] is not model:
                ready[name] = model, prepare(model)
        timings = time_interleaved(
            {name: ready[name][1] for name in models},
            warmup=cfg.BENCHMARK.WARMUP,
            repeats=cfg.BENCHMARK.STEPS,
            device=placement.device if runtime == "eager" else "cpu",
        )
        return {name: timing.as_dict() for name, timing in timings.items()}

    return measure


def build_machine(cfg: CfgNode, runtime: str = "eager") -> dict[str, Any]:
    """What the numbers of :func:`build_latency` depend on."""
    device = build_placement(cfg).device if runtime == "eager" else "cpu"
    return {"runtime": runtime, **describe_machine(device)}


def _eager(model: ClipModel, clips: Sequence[Tensor], placement: Placement) -> Run:
    inputs = [clip.to(placement.device) for clip in clips]
    return clip_runner(place(model, placement).eval(), inputs, replace(placement, amp_dtype=None))


def _exported(
    model: ClipModel, clips: Sequence[Tensor], info: ExportInfo, runtime: str, folder: Path
) -> Run:
    from slowfast.deploy.export import EXPORTERS
    from slowfast.deploy.export.graph import Source
    from slowfast.deploy.export.info import write_info
    from slowfast.deploy.runtime import open_run

    how = EXPORTERS.get("openvino" if runtime == "openvino" else "onnx")
    file = how.write(Source(model, info), folder / f"model{how.suffix}")
    write_info(file, info)
    arrays = [clip.numpy() for clip in clips]
    run = open_run(file, info)
    return lambda: run(arrays)
