"""From video files to the device: what loading hides behind training, and decoding on the GPU."""

from __future__ import annotations

import importlib
import tempfile
import time
from pathlib import Path

import numpy as np

from slowfast.datasets.build import build_loader
from slowfast.datasets.decode import open_video
from slowfast.deploy.benchmarks.build import build_fixed_trainer, build_random_batch
from slowfast.deploy.benchmarks.gpu.plan import GpuPlan, Result
from slowfast.deploy.benchmarks.playback import write_sample
from slowfast.deploy.benchmarks.train_step import WaitMeter, trainer_steps
from slowfast.deploy.latency import time_runs
from slowfast.engine.build import build_placement

BACKENDS = ("pyav", "torchcodec", "torchcodec_cuda")
NVDEC_TOLERANCE = 4.0
"""Mean difference of a decoded picture from PyAV's, of 255: colours are converted otherwise."""


def check_overlap(plan: GpuPlan) -> Result:
    """An epoch through the loader, beside its two halves alone: steps on clips at hand, loading.

    ``hidden`` is the share of the shorter half that ran beside the longer: 1 where the epoch takes
    no longer than the longer half alone.
    """
    with tempfile.TemporaryDirectory() as folder:
        _write_videos(Path(folder), plan)
        opts = ["DATA.DUMMY_LOAD", "False", "TRAIN.DATASET", "video_folder",
                "DATA.PATH_TO_DATA_DIR", folder, "DATA_LOADER.NUM_WORKERS", plan.workers,
                "MODEL.NUM_CLASSES", "2"]  # fmt: skip
        config = plan.config(plan.names[0], opts)
        placement, wait = build_placement(config), WaitMeter()
        loader = build_loader(config, "train")
        steps = len(loader)
        batch = build_random_batch(config)
        ready = trainer_steps(build_fixed_trainer(config, placement, [batch] * steps))
        through = trainer_steps(build_fixed_trainer(config, placement, loader, [wait]))
        compute = time_runs(ready, warmup=1, repeats=2, device=placement.device).median_s
        loading = _seconds(loader)
        both = time_runs(through, warmup=1, repeats=2, device=placement.device).median_s
    shorter, longer = min(compute, loading), max(compute, loading)
    return {
        "steps": steps,
        "step_ms": 1e3 * compute / steps,
        "loading_ms": 1e3 * loading / steps,
        "together_ms": 1e3 * both / steps,
        "hidden": (longer + shorter - both) / shorter,
        "waiting_share": wait.share,
        "workers": plan.workers,
    }


def _write_videos(folder: Path, plan: GpuPlan) -> None:
    frames = 24 if plan.is_smoke else 90
    source = write_sample(folder / "sample.mp4", frames).read_bytes()
    (folder / "sample.mp4").unlink()
    for split in ("train", "val", "test"):
        for number in range(plan.videos if split == "train" else 2):
            path = folder / split / f"class{number % 2}" / f"{number}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(source)


def _seconds(loader: object) -> float:
    began = time.perf_counter()
    for _ in loader:  # type: ignore[attr-defined]
        pass
    return time.perf_counter() - began


def check_decoding(plan: GpuPlan) -> Result:
    """All frames of a video by every backend that is there; NVDEC's pictures against PyAV's."""
    found: Result = {}
    with tempfile.TemporaryDirectory() as folder:
        path = str(write_sample(Path(folder, "sample.mp4"), 24 if plan.is_smoke else 300))
        with open_video(path) as reader:
            numbers = list(range(reader.num_frames))
            expected = reader.read(numbers, 128).astype(np.float32)
        for name in BACKENDS:
            cause = _missing(plan, name)
            found[name] = {"skipped": cause} if cause else _decode(path, name, numbers, expected)
    found["ok"] = all(row.get("difference", 0) <= NVDEC_TOLERANCE for row in found.values())
    return found


def _missing(plan: GpuPlan, name: str) -> str:
    """Why a backend cannot be tried; empty where it can."""
    if name == "torchcodec_cuda" and plan.is_smoke:
        return "needs a GPU"
    try:
        importlib.import_module("av" if name == "pyav" else "torchcodec.decoders")
    except (ImportError, OSError, RuntimeError) as error:
        return (str(error).splitlines() or [type(error).__name__])[0]
    return ""


def _decode(path: str, backend: str, numbers: list[int], expected: np.ndarray) -> Result:
    with open_video(path, backend) as reader:
        reader.read(numbers[:8], 128)  # the first use of a decoder sets it up
        began = time.perf_counter()
        frames = reader.read(numbers, 128)
        seconds = time.perf_counter() - began
    difference = float(np.abs(frames.astype(np.float32) - expected).mean())
    return {"frames_per_s": len(numbers) / seconds, "difference": difference}
