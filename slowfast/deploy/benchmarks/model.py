"""What a model costs to run: parameters, multiply-adds, memory, latency, throughput."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from slowfast.deploy.latency import PeakMemory, describe_machine, time_runs
from slowfast.deploy.profile import count_macs, count_parameters
from slowfast.models.base import ClipModel

Shape = tuple[int, ...]


def benchmark_model(
    load_model: Callable[[], ClipModel],
    shapes: Sequence[Shape],
    *,
    device: torch.device | str = "cpu",
    memory_format: torch.memory_format = torch.contiguous_format,
    amp_dtype: torch.dtype | None = None,
    throughput_batch: int = 8,
    warmup: int = 3,
    repeats: int = 20,
) -> dict[str, Any]:
    """Cost of :meth:`ClipModel.predict` on random clips.

    Args:
        load_model: makes the model, on the CPU.
        shapes: of one clip, one ``(1, C, T_p, H, W)`` per pathway.
        device: where it runs.
        memory_format: of weights and clips.
        amp_dtype: of autocast; ``None`` for full precision.
        throughput_batch: clips per forward pass of the throughput.
        warmup: unmeasured runs.
        repeats: measured runs of the latency; a quarter of them, at least 3, of the throughput.

    Returns:
        ``params_m`` and ``macs_g`` (one multiply-add is one MAC; FLOPs are twice as many),
        ``peak_memory_mib`` at batch 1 with weights, ``latency`` at batch 1 and ``throughput`` in
        clips/s (see :class:`slowfast.deploy.latency.Timing`), and the ``machine``.
    """
    clips = [torch.rand(*shape, device=device) for shape in shapes]
    run: Callable[[], object]
    with PeakMemory(device) as memory:
        model = load_model().eval().to(device=device)
        model = model.to(memory_format=memory_format)  # type: ignore[call-overload]
        run = _runner(model, clips, memory_format, amp_dtype)
        run()
    latency = time_runs(run, warmup=warmup, repeats=repeats, device=device)
    many = [clip.expand(throughput_batch, *clip.shape[1:]) for clip in clips]
    throughput = time_runs(
        _runner(model, many, memory_format, amp_dtype),
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


def _runner(
    model: ClipModel,
    clips: Sequence[torch.Tensor],
    memory_format: torch.memory_format,
    amp_dtype: torch.dtype | None,
) -> Callable[[], object]:
    inputs = [clip.contiguous(memory_format=memory_format) for clip in clips]
    kind = inputs[0].device.type

    @torch.inference_mode()
    def run() -> object:
        with torch.autocast(kind, amp_dtype, enabled=amp_dtype is not None):
            return model.predict(inputs)

    return run
