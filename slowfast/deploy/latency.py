"""One protocol for every speed that is reported: warm up, take turns, medians with spread."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch

MIB = 2**20


@dataclass(frozen=True)
class Timing:
    """Times of repeated runs of one thing.

    Attributes:
        seconds: one entry per measured run, in the order they ran.
    """

    seconds: tuple[float, ...]

    def percentile_ms(self, q: float) -> float:
        """Percentile ``q`` (0 to 100) in milliseconds."""
        return float(np.percentile(self.seconds, q)) * 1e3

    @property
    def median_s(self) -> float:
        return float(np.median(self.seconds))

    def per_second(self, items: int) -> dict[str, float]:
        """Throughput of runs that handle ``items`` each: median and quartiles, items/s."""
        low, median, high = np.percentile(items / np.asarray(self.seconds), [25, 50, 75])
        return {"median": float(median), "q25": float(low), "q75": float(high)}

    def as_dict(self) -> dict[str, float]:
        """``p50_ms``, ``p90_ms``, ``p99_ms``, ``iqr_ms`` (distance of the quartiles), ``runs``."""
        return {
            "p50_ms": self.percentile_ms(50),
            "p90_ms": self.percentile_ms(90),
            "p99_ms": self.percentile_ms(99),
            "iqr_ms": self.percentile_ms(75) - self.percentile_ms(25),
            "runs": len(self.seconds),
        }


def time_runs(
    run: Callable[[], object],
    *,
    warmup: int = 3,
    repeats: int = 20,
    device: torch.device | str = "cpu",
) -> Timing:
    """Times ``repeats`` calls after ``warmup`` unmeasured ones."""
    return time_interleaved({"it": run}, warmup=warmup, repeats=repeats, device=device)["it"]


def time_interleaved(
    runs: Mapping[str, Callable[[], object]],
    *,
    warmup: int = 3,
    repeats: int = 20,
    device: torch.device | str = "cpu",
) -> dict[str, Timing]:
    """Times several things by turns, so that what slows the machine for a while slows all alike.

    Args:
        runs: name -> what to time. Each is called ``warmup + repeats`` times.
        warmup: unmeasured calls of each, first.
        repeats: measured calls of each; the order is reversed every other turn.
        device: waited for before and after each call.
    """
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}: at least 1 run must be measured")
    for run in runs.values():
        for _ in range(warmup):
            run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    order = list(runs)
    for _ in range(repeats):
        for name in order:
            synchronize(device)
            start = time.perf_counter()
            runs[name]()
            synchronize(device)
            seconds[name].append(time.perf_counter() - start)
        order.reverse()
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def speedup(reference: Timing, other: Timing) -> dict[str, float]:
    """How many times faster ``other`` is: median and quartiles of the ratios, turn by turn.

    Pairs are the runs of the same turn, so both must come from one :func:`time_interleaved`.
    """
    ratios = np.asarray(reference.seconds) / np.asarray(other.seconds)
    low, median, high = np.percentile(ratios, [25, 50, 75])
    return {"median": float(median), "q25": float(low), "q75": float(high)}


def synchronize(device: torch.device | str) -> None:
    """Waits until the device has done what was queued; nothing to wait for on the CPU."""
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.synchronize(device)
    elif kind == "mps":
        torch.mps.synchronize()


class PeakMemory:
    """Highest memory use within a ``with`` block, above what was in use at its start.

    On CUDA, what torch allocated; elsewhere the resident memory of the process, as Linux reports
    it. Build the model inside the block for its weights to count.

    Attributes:
        mib: the result in MiB, after the block; ``None`` where it cannot be measured.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._device = torch.device(device)
        self._before = 0.0
        self.mib: float | None = None

    def __enter__(self) -> Self:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
        elif sys.platform == "linux":
            _reset_peak_resident()
            self._before = _resident_bytes("VmRSS")
        return self

    def __exit__(self, *error: object) -> None:
        if self._device.type == "cuda":
            self.mib = (torch.cuda.max_memory_allocated(self._device) - self._before) / MIB
        elif sys.platform == "linux":
            self.mib = max(_resident_bytes("VmHWM") - self._before, 0.0) / MIB


def _reset_peak_resident() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # see man 5 proc
    except OSError:
        return  # not allowed here: the peak then counts from the start of the process


def _resident_bytes(field: str) -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    return 0.0


def describe_machine(device: torch.device | str = "cpu") -> dict[str, object]:
    """What a measured number depends on: device, threads, torch version."""
    kind = torch.device(device).type
    name = torch.cuda.get_device_name(device) if kind == "cuda" else _cpu_name()
    return {
        "device": str(device),
        "name": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _cpu_name() -> str:
    try:
        lines: Sequence[str] = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "CPU"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "CPU"
