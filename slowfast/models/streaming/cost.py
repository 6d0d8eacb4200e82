"""What a step costs."""

from __future__ import annotations

import copy

import torch
from torch.utils.flop_counter import FlopCounterMode

from slowfast.models.streaming.memory import CLOCK
from slowfast.models.streaming.model import StreamingModel


def count_step_macs(stream: StreamingModel, *, step: int | None = None) -> int:
    """Multiply-accumulates of one frame of one stream: of convolutions and matrix products.

    Nothing is computed: shapes are traced on the meta device.

    Args:
        stream: its default frame size is taken.
        step: within a period, from 0; ``None``: the mean over the period.
    """
    if step is None:
        steps = 1 if stream.spec.dense else stream.spec.period
        return sum(count_step_macs(stream, step=i) for i in range(steps)) // steps
    state = {name: t.to("meta") for name, t in stream.init_state().items() if name != CLOCK}
    frame = torch.empty(1, stream.spec.channels, *stream.spec.frame_size, device="meta")
    shadow = copy.deepcopy(stream).to("meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shadow.step_at(frame, state, clock=step)
    return counter.get_total_flops() // 2
