"""Training steps, agreement with the CPU, and latency."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from slowfast.datasets.batch import Batch
from slowfast.datasets.pathways import build_batch_transform
from slowfast.deploy.benchmarks.build import build_fixed_trainer, build_random_batch
from slowfast.deploy.benchmarks.gpu.plan import GpuPlan, Result
from slowfast.deploy.benchmarks.model import clip_runner
from slowfast.deploy.benchmarks.train_step import trainer_steps
from slowfast.deploy.latency import PeakMemory, time_runs
from slowfast.engine.build import Placement, build_objective, build_placement, place
from slowfast.engine.hook import Hook
from slowfast.engine.objective import StepOutput
from slowfast.engine.trainer import Trainer
from slowfast.models.build import build_model
from slowfast.models.profile import build_model_inputs
from slowfast.utils.seed import seed_everything

AMP = ("TRAIN.MIXED_PRECISION", "True", "TRAIN.AMP_DTYPE")
LAYOUT = "MODEL.MEMORY_FORMAT"
MODES: dict[str, tuple[str, ...]] = {
    "fp32": (LAYOUT, "contiguous"),
    "fp32 channels-last": (LAYOUT, "channels_last_3d"),
    "bf16": (*AMP, "bf16", LAYOUT, "contiguous"),
    "bf16 channels-last": (*AMP, "bf16", LAYOUT, "channels_last_3d"),
    "fp16": (*AMP, "fp16", LAYOUT, "contiguous"),
    "bf16 compiled": (*AMP, "bf16", LAYOUT, "auto", "MODEL.COMPILE", "True"),
}
LOGIT_TOLERANCE = 1e-3
"""Largest difference of a logit from the CPU's, over the largest logit, in full precision."""
GRADIENT_TOLERANCE = 1e-2
"""L2 norm of the difference of all gradients over theirs."""
BF16_TOLERANCE = 0.1


class LastLoss(Hook):
    """Keeps the loss of the last step."""

    value = math.nan

    def after_step(self, trainer: Trainer, batch: Batch, output: StepOutput) -> None:
        self.value = float(output.loss.detach())


@contextmanager
def tf32(*, allowed: bool) -> Iterator[None]:
    """Whether float32 products may be rounded to TensorFloat-32's 10 bits."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def check_training(plan: GpuPlan) -> Result:
    """Steps of every mode: median milliseconds, clips/s, peak memory; the loss stays a number."""
    return {
        name: {mode: _train(plan, name, mode) for mode in MODES if _fits(plan, mode)}
        for name in plan.names
    }


def _fits(plan: GpuPlan, mode: str) -> bool:
    return not (plan.is_smoke and mode == "bf16 compiled")  # a compiler may not be there


def _train(plan: GpuPlan, name: str, mode: str) -> Result:
    seed_everything(0)
    config = plan.config(name, MODES[mode])
    placement, loss = build_placement(config), LastLoss()
    with PeakMemory(placement.device) as memory:
        batch = build_random_batch(config).to(placement.device)
        trainer = build_fixed_trainer(config, placement, [batch], [loss])
        timing = time_runs(
            trainer_steps(trainer),
            warmup=plan.warmup,
            repeats=plan.steps,
            device=placement.device,
        )
    if not math.isfinite(loss.value):
        raise FloatingPointError(f"{name}, {mode}: the loss is {loss.value}")
    return {
        **timing.as_dict(),
        "clips_per_s": plan.batch / timing.median_s,
        "peak_memory_mib": memory.mib,
        "loss": loss.value,
    }


def check_parity(plan: GpuPlan) -> Result:
    """Logits and gradients of one batch, here and on the CPU, in full precision and bf16."""
    with tf32(allowed=False):
        return {name: _parity(plan, name) for name in plan.names}


def _parity(plan: GpuPlan, name: str) -> Result:
    config = plan.config(name, (LAYOUT, "contiguous", "MODEL.DROPOUT_RATE", "0.0"))
    device = build_placement(config).device
    batch = build_random_batch(config)
    batch = batch._replace(clips=[clip[:2] for clip in batch.clips], labels=batch.labels[:2])
    batch = build_batch_transform(config, False, torch.contiguous_format)(batch, None)
    seed_everything(0)
    state = build_model(config).state_dict()

    def step(where: torch.device, amp: bool) -> tuple[torch.Tensor, torch.Tensor]:
        model = build_model(config)
        model.load_state_dict(state)
        objective = build_objective(config, model).to(where).train()
        with torch.autocast(where.type, torch.bfloat16, enabled=amp):
            output = objective(batch.to(where))
        output.loss.backward()
        grads = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        return output.preds.float().cpu(), torch.cat(grads).float().cpu()

    logits, gradient = step(torch.device("cpu"), False)
    own, own_gradient = step(device, False)
    half, _ = step(device, True)
    scale = float(logits.abs().max())
    found = {
        "logits": float((own - logits).abs().max()) / scale,
        "gradients": float((own_gradient - gradient).norm() / gradient.norm()),
        "bf16_logits": float((half - logits).abs().max()) / scale,
    }
    limits = {
        "logits": LOGIT_TOLERANCE,
        "gradients": GRADIENT_TOLERANCE,
        "bf16_logits": BF16_TOLERANCE,
    }
    return found | {"ok": all(found[key] <= limit for key, limit in limits.items())}


def check_latency(plan: GpuPlan) -> Result:
    """Predictions of one and of several clips, that lie on the device: median and 99th percentile.

    bf16 in the layout and precision that training would choose; f32 with TensorFloat-32 off.
    """
    return {
        name: {
            f"{precision} batch {batch}": _latency(plan, name, precision, batch)
            for precision in ("f32", "bf16")
            for batch in plan.latency_batches
        }
        for name in plan.names
    }


def _latency(plan: GpuPlan, name: str, precision: str, batch: int) -> Result:
    config = plan.config(name)
    half = torch.bfloat16 if precision == "bf16" else None
    placement: Placement = replace(build_placement(config), amp_dtype=half)
    model = place(build_model(config).eval(), placement)
    shapes = build_model_inputs(config, config.DATA.TEST_CROP_SIZE)
    clips = [torch.rand(batch, *shape[1:], device=placement.device) for shape in shapes]
    with tf32(allowed=False):
        timing = time_runs(
            clip_runner(model, clips, placement),
            warmup=plan.warmup,
            repeats=5 * plan.steps,
            device=placement.device,
        )
    return {**timing.as_dict(), "clips_per_s": batch / timing.median_s}
