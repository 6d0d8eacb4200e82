"""What an exported model costs to run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from slowfast.deploy.export.info import model_files
from slowfast.deploy.latency import MIB, PeakMemory, describe_machine, time_runs
from slowfast.deploy.runtime import build_exported

if TYPE_CHECKING:
    from yacs.config import CfgNode


def build_file_benchmark(cfg: CfgNode) -> Callable[[], dict[str, Any]]:
    """Cost of the exported ``TEST.CHECKPOINT_FILE_PATH``, on the CPU, in full precision.

    The same entries as of a model in memory, see
    :func:`slowfast.deploy.benchmarks.model.benchmark_model`, and the size of the files.
    """
    path, keys = Path(cfg.TEST.CHECKPOINT_FILE_PATH), cfg.BENCHMARK
    many = min(cfg.TEST.BATCH_SIZE, 8)

    def measure() -> dict[str, Any]:
        with PeakMemory() as memory:
            model = build_exported(cfg, path)
            clips = [torch.rand(shape) for shape in model.input_shapes]
            model.predict(clips)
        batch = [clip.expand(many, *clip.shape[1:]).contiguous() for clip in clips]
        latency = time_runs(lambda: model.predict(clips), warmup=keys.WARMUP, repeats=keys.STEPS)
        repeats = max(3, keys.STEPS // 4)
        throughput = time_runs(lambda: model.predict(batch), warmup=1, repeats=repeats)
        macs = model.info.macs / 1e9
        return {
            "params_m": model.info.parameters / 1e6,
            "macs_g": macs,
            "flops_g": 2 * macs,
            "size_mib": sum(file.stat().st_size for file in model_files(path)) / MIB,
            "peak_memory_mib": memory.mib,
            "latency": latency.as_dict(),
            "throughput": {"batch": many, **throughput.per_second(many)},
            "machine": describe_machine() | {"runtime": model.info.format},
        }

    return measure
