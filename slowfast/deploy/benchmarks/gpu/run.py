"""All checks, one after the other, and what they found as one object."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch

from slowfast.deploy.benchmarks.gpu.compute import check_latency, check_parity, check_training
from slowfast.deploy.benchmarks.gpu.data import check_decoding, check_overlap
from slowfast.deploy.benchmarks.gpu.plan import GpuPlan, Result
from slowfast.deploy.benchmarks.gpu.processes import check_processes
from slowfast.deploy.latency import describe_machine

CHECKS: dict[str, Callable[[GpuPlan], Result]] = {
    "parity": check_parity,
    "latency": check_latency,
    "training": check_training,
    "processes": check_processes,
    "overlap": check_overlap,
    "decoding": check_decoding,
}


def run_checks(
    plan: GpuPlan,
    checks: Mapping[str, Callable[[GpuPlan], Result]] = CHECKS,
    on_check: Callable[[str, Result], object] = lambda name, found: None,
) -> Result:
    """Every check's findings with its ``seconds``; a failure of one does not stop the others.

    Args:
        plan: sizes.
        checks: name -> check.
        on_check: told of every result.

    Returns:
        ``ok``, ``failed`` (names), ``skipped`` (for which no time was left), ``machine``,
        ``seconds``, and the checks' own results by name.
    """
    found: Result = {"machine": describe(plan)}
    failed, skipped = [], []
    for name, check in checks.items():
        if plan.time_left() <= 0:
            skipped.append(name)
            continue
        began = time.perf_counter()
        result = _attempt(check, plan)
        result["seconds"] = time.perf_counter() - began
        if not result["ok"]:
            failed.append(name)
        found[name] = result
        on_check(name, result)
    found |= {"failed": failed, "skipped": skipped, "ok": not failed and not skipped}
    return found | {"seconds": plan.budget_s - plan.time_left()}


def _attempt(check: Callable[[GpuPlan], Result], plan: GpuPlan) -> Result:
    try:
        result = check(plan)
    except Exception as error:
        result = {"ok": False, "error": f"{type(error).__name__}: {error}"}
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
    inner = [part["ok"] for part in result.values() if isinstance(part, dict) and "ok" in part]
    return {"ok": all(inner), **result}


def describe(plan: GpuPlan) -> dict[str, Any]:
    """What the numbers depend on."""
    machine = describe_machine(plan.device) | {"cores": os.cpu_count()}
    if not plan.is_smoke:
        properties = torch.cuda.get_device_properties(0)
        machine |= {
            "gpus": torch.cuda.device_count(),
            "capability": f"{properties.major}.{properties.minor}",
            "memory_gib": properties.total_memory / 2**30,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        }
    return machine
