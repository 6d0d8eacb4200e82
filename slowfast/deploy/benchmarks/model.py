"""What a model costs to run: parameters, multiply-adds, memory, latency, throughput."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from slowfast.deploy.latency import PeakMemory, describe_machine, time_runs
from slowfast.deploy.profile import count_macs, count_parameters
from slowfast.engine.build import Placement, place
from slowfast.models.base import ClipModel

Shape = tuple[int, ...]


def benchmark_model(
    load_model: Callable[[], ClipModel],
    shapes: Sequence[Shape],
    placement: Placement,
    *,
    throughput_batch: int = 8,
    warmup: int = 3,
    repeats: int = 20,
) -> dict[str, Any]:
    """Cost of :meth:`ClipModel.predict` on random clips.

    Args:
        load_model: makes the model, on the CPU.
        shapes: of one clip, one ``(1, C, T_p, H, W)`` per pathway.
        placement: where it runs and how.
        throughput_batch: clips per forward pass of the throughput.
        warmup: unmeasured runs.
        repeats: measured runs of the latency; a quarter of them, at least 3, of the throughput.

    Returns:
        ``params_m`` and ``macs_g`` (one multiply-add is one MAC; FLOPs are twice as many),
        ``peak_memory_mib`` at batch 1 with weights, ``latency`` at batch 1 and ``throughput`` in
        clips/s (see :class:`slowfast.deploy.latency.Timing`), and the ``machine``.
    """
    device = placement.device
    clips = [torch.rand(*shape, device=device) for shape in shapes]
    run: Callable[[], object]
    with PeakMemory(device) as memory:
        model = place(load_model().eval(), placement)
        run = clip_runner(model, clips, placement)
        run()
    latency = time_runs(run, warmup=warmup, repeats=repeats, device=device)
    many = [clip.expand(throughput_batch, *clip.shape[1:]) for clip in clips]
    throughput = time_runs(
        clip_runner(model, many, placement),
        warmup=1,
        repeats=max(3, repeats // 4),
        device=device,
    )
    macs = count_macs(model, shapes) / 1e9
    return {
        "params_m": count_parameters(model) / 1e6,
        "macs_g": macs,
        "flops_g": 2 * macs,
        "peak_memory_mib": memory.mib,
        "latency": latency.as_dict(),
        "throughput": {"batch": throughput_batch, **throughput.per_second(throughput_batch)},
        "machine": describe_machine(device),
    }


def clip_runner(
    model: ClipModel, clips: Sequence[torch.Tensor], placement: Placement
) -> Callable[[], object]:
    """What runs :meth:`ClipModel.predict` on ``clips``, both on the device already."""
    inputs = [clip.contiguous(memory_format=placement.memory_format) for clip in clips]
    kind, amp_dtype = placement.device.type, placement.amp_dtype

    @torch.inference_mode()
    def run() -> object:
        with torch.autocast(kind, amp_dtype, enabled=amp_dtype is not None):
            return model.predict(inputs)

    return run
