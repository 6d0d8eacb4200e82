"""One step of a stream as a plain function of tensors."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from slowfast.deploy.export.info import PROBABILITIES, ExportInfo
from slowfast.models.base import Preds, activate
from slowfast.models.streaming import State, StreamingModel
from slowfast.models.streaming.memory import CLOCK


def live_state(stream: StreamingModel) -> dict[str, list[int]]:
    """Entries of the state that an exported step reads -> their shapes without the batch.

    A file takes a whole period of frames. What is kept only from one frame to the next within it
    is not read by the following period: pooling over two frames with a stride of two, for one.
    """
    with torch.enable_grad():
        state = stream.init_state()
        state.pop(CLOCK, None)
        for tensor in state.values():
            tensor.requires_grad_()
        spec = stream.spec
        period = step_frames(stream)
        shape = (1, spec.channels, *([period] if period > 1 else []), *spec.frame_size)
        preds, after = _run(stream, next(stream.parameters()).new_zeros(shape), state)
        outputs = list(preds.values()) if isinstance(preds, dict) else [preds]
        live: set[str] = set()
        found = _read(outputs, state)
        while found != live:  # what is read by what is read by the next step
            live = found
            found = _read([*outputs, *(after[name] for name in live)], state)
    return {name: list(tensor.shape[1:]) for name, tensor in state.items() if name in live}


def _read(outputs: Sequence[Tensor], state: State) -> set[str]:
    """Entries of ``state`` that ``outputs`` depend on."""
    total = torch.stack([tensor.sum() for tensor in outputs]).sum()
    read = torch.autograd.grad(total, list(state.values()), allow_unused=True, retain_graph=True)
    return {name for name, gradient in zip(state, read, strict=True) if gradient is not None}


def step_frames(stream: StreamingModel) -> int:
    """Frames that one call of an exported step takes."""
    return 1 if stream.spec.dense else stream.spec.period


class StepGraph(nn.Module):
    """``(frames, *state)`` -> ``(*predictions, *state)``.

    Args:
        stream: copied.
        clip: says what goes in and comes out.
        names: entries of the state that go in and come out; others are zeros.
    """

    def __init__(self, stream: StreamingModel, clip: ExportInfo, names: Sequence[str]) -> None:
        super().__init__()
        self.stream = copy.deepcopy(stream).cpu().float()
        for parameter in self.stream.parameters():  # some are views; ExecuTorch minds their strides
            parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)
        self.names, self.period = list(names), step_frames(stream)
        self.probabilities, self.is_reversed = clip.kind == PROBABILITIES, clip.is_reversed
        self.factor: Tensor | None
        self.offset: Tensor | None
        pairs = list(zip(clip.mean, clip.std, strict=True)) if clip.normalized_inside else []
        shape = (len(pairs), *[1] * (3 if self.period > 1 else 2))
        factor = torch.tensor([1.0 / (255.0 * s) for _, s in pairs]).view(shape)
        offset = torch.tensor([-m / s for m, s in pairs]).view(shape)
        self.register_buffer("factor", factor if pairs else None)
        self.register_buffer("offset", offset if pairs else None)
        state = self.stream.init_state()
        self.unread = {
            name: tuple(tensor.shape[1:])
            for name, tensor in state.items()
            if name != CLOCK and name not in self.names
        }

    def forward(self, frames: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Predictions of every task, then the entries of the next state."""
        if self.factor is not None and self.offset is not None:
            frames = frames.float() * self.factor + self.offset
        frames = frames.flip(1) if self.is_reversed else frames
        before: State = dict(zip(self.names, state, strict=True))
        for name, shape in self.unread.items():
            before[name] = frames.new_zeros(frames.shape[0], *shape)  # len() fixes the batch
        preds, after = _run(self.stream, frames, before)
        if self.probabilities:
            preds = activate(preds, self.stream.spec.head_act)
        outputs = tuple(preds.values()) if isinstance(preds, dict) else (preds,)
        return (*outputs, *(after[name] for name in self.names))


def _run(stream: StreamingModel, frames: Tensor, state: State) -> tuple[Preds, State]:
    """``(B, C, H, W)``, or a period of them ``(B, C, period, H, W)``."""
    if frames.dim() == 5:
        return stream.step_period(frames, state)
    return stream.step_at(frames, state, clock=0)
