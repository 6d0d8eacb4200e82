"""Training on 1, 2, 4 ... of the GPUs that are there."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import torch

from slowfast.datasets.pathways import build_batch_transform
from slowfast.deploy.benchmarks.build import build_random_batch
from slowfast.deploy.benchmarks.gpu.plan import GpuPlan, Result
from slowfast.deploy.latency import synchronize
from slowfast.engine import parallel
from slowfast.engine.build import (
    build_objective,
    build_optimizer,
    build_placed_model,
    build_placement,
)
from slowfast.utils import distributed
from slowfast.utils.distributed import LaunchPlan, free_port, launch, process_group
from slowfast.utils.seed import seed_everything

WAYS: dict[str, tuple[str, ...]] = {
    "ddp": (),
    "ddp bf16 gradients": ("DISTRIBUTED.GRAD_COMPRESSION", "bf16"),
    "ddp sync_batchnorm": ("BN.NORM_TYPE", "sync_batchnorm"),
    "fsdp": ("DISTRIBUTED.STRATEGY", "fsdp"),
}


def check_processes(plan: GpuPlan) -> Result:
    """Steps of the first network with the same batch on every GPU; weights equal everywhere."""
    found: Result = {}
    for count in process_counts(plan):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "result.json")
            if count == 1 and not plan.is_smoke:  # the library of collectives is in it all the same
                with process_group(plan.device, f"tcp://127.0.0.1:{free_port()}", 0, 1):
                    train_everywhere(plan, path)
            else:
                launch(train_everywhere, (plan, path), LaunchPlan(count, device=plan.device))
            found[f"{count} processes"] = json.loads(path.read_text(encoding="utf-8"))
    first = next(iter(found.values()))["ddp"]["clips_per_s"]
    for of_count in found.values():
        of_count["scaling"] = of_count["ddp"]["clips_per_s"] / first
    found["ok"] = all(
        way["equal"] for ways in found.values() for way in ways.values() if isinstance(way, dict)
    )
    return found


def process_counts(plan: GpuPlan) -> list[int]:
    """1, 2, 4 ... GPUs and all there are; 2 processes of the CPU."""
    if plan.is_smoke:
        return [2]
    there = torch.cuda.device_count()
    return sorted({count for count in (1, 2, 4, 8, there) if count <= there})


def train_everywhere(plan: GpuPlan, path: Path) -> None:
    """One process of it; the main one writes the result."""
    if plan.is_smoke:
        torch.set_num_threads(1)
    result = {way: _train(plan, way) for way in WAYS}
    if distributed.is_main():
        path.write_text(json.dumps(result), encoding="utf-8")


def _train(plan: GpuPlan, way: str) -> Result:
    seed_everything(0)
    config = plan.config(plan.names[0], WAYS[way])
    placement = build_placement(config)
    objective = build_objective(config, build_placed_model(config, placement)).train()
    bare = objective.trainable
    chosen = parallel.build_parallelism(config)
    objective.trainable = parallel.wrap(bare, placement.device, chosen)
    optimizer = build_optimizer(config, bare)
    seed_everything(distributed.rank())  # other clips in every process
    batch = build_random_batch(config).to(placement.device)
    batch = build_batch_transform(config, False, placement.memory_format)(batch, None)
    seconds = []
    for _ in range(plan.warmup + plan.steps):
        synchronize(placement.device)
        began = time.perf_counter()
        objective(batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        synchronize(placement.device)
        seconds.append(time.perf_counter() - began)
    median = float(torch.tensor(seconds[plan.warmup :]).median())
    return {
        "step_ms": 1e3 * median,
        "clips_per_s": plan.batch * distributed.world_size() / median,
        "equal": _is_equal(bare),
    }


def _is_equal(model: torch.nn.Module) -> bool:
    """Whether every process has the same finite weights."""
    own = torch.stack([parallel.gather(p.detach()).double().sum() for p in model.parameters()])
    mean = distributed.all_reduce_mean(own)
    same = torch.allclose(own, mean, rtol=1e-12, atol=1e-12) and bool(own.isfinite().all())
    count = distributed.all_reduce_sum(torch.tensor(float(same), device=own.device))
    return bool(count == distributed.world_size())
