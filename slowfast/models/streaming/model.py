"""A network that takes one frame at a time: state in, state out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from slowfast.models.base import Preds, activate
from slowfast.models.layers.tracing import is_traced
from slowfast.models.streaming.memory import CLOCK, Beginning, Memory, State
from slowfast.models.streaming.stream import StreamingError


@dataclass(frozen=True)
class StreamSpec:
    """What users of a streaming network must know.

    Attributes:
        tasks: in the order of the outputs.
        head_act: from logits to scores, see :class:`~slowfast.models.base.ClipModel`.
        frame_size: height and width of the frames that states are made for by default.
        channels: of a frame.
        window: frames that a prediction is about, as many as a clip has.
        delay: the prediction after frame ``t`` is about the window that begins with frame
            ``t - delay``.
        receptive_field: frames that a prediction depends on; ``math.inf`` of recurrent ones.
        period: steps after which every layer has run: the product of the temporal strides.
        dense: all layers run in every step.
    """

    tasks: tuple[str, ...]
    head_act: str
    frame_size: tuple[int, int]
    channels: int
    window: int
    delay: int
    receptive_field: float
    period: int = 1
    dense: bool = False


class StreamingModel(nn.Module):
    """Predictions after every frame of a stream, each frame computed once.

    Nothing about a stream is kept in the object: a state may be saved, gone on from twice, put
    into a batch with others (:func:`stack_states`) and taken out again. Weights are copies, for
    prediction only; to finetune, train the clip model (:mod:`slowfast.models.streaming.form`).

    Networks with temporal strides run a layer only when it has a new value; in between,
    predictions use its last one. The streams of a batch must then be in step: begun together, or
    a multiple of ``spec.period`` frames apart. ``dense`` networks run every layer in every step.

    Args:
        spec: see :class:`StreamSpec`.

    Example:
        >>> from slowfast.models.streaming import to_streaming
        >>> from slowfast.models.tiny import TinyNet
        >>> stream = to_streaming(TinyNet(num_classes=5), frame_size=(16, 16), window=8)
        >>> state = stream.init_state(batch=2)
        >>> logits, state = stream.step(torch.zeros(2, 3, 16, 16), state)
        >>> tuple(logits.shape), stream.delay, stream.receptive_field
        ((2, 5), 9, 12)
    """

    def __init__(self, spec: StreamSpec) -> None:
        super().__init__()
        self.spec = spec
        self._shapes: dict[tuple[int, int], dict[str, tuple[int, ...]]] = {}

    @property
    def delay(self) -> int:
        """Frames from the first of the window that a prediction is about to the newest."""
        return self.spec.delay

    @property
    def receptive_field(self) -> float:
        """Frames that a prediction depends on."""
        return self.spec.receptive_field

    @property
    def lookahead(self) -> int:
        """Frames after its window that a prediction has to wait for."""
        return self.delay - self.spec.window + 1

    @abstractmethod
    def run(self, frame: Tensor, memory: Memory) -> Preds:
        """Logits after ``frame``, ``(B, C, H, W)``."""

    @torch.no_grad()
    def init_state(self, batch: int = 1, *, frame: Tensor | None = None) -> State:
        """The state of streams that begin.

        Args:
            batch: how many.
            frame: their first one, ``(B, C, H, W)``, whose size may be any: as if it had been
                there for ever, so that predictions make sense from the first step on. Without it
                the state is zeros, as the padding of a clip, and predictions are those of a
                stream after ``receptive_field`` steps.
        """
        weight = next(self.parameters())
        if frame is not None:
            memory = Beginning(still=True, dense=self.spec.dense)
            self.run(frame, memory)
            return self._with_clock(memory.next, len(frame), frame.device)
        size = self.spec.frame_size
        if size not in self._shapes:
            memory = Beginning(still=False, dense=self.spec.dense)
            self.run(weight.new_zeros(1, self.spec.channels, *size), memory)
            self._shapes[size] = {name: tuple(t.shape[1:]) for name, t in memory.next.items()}
        state = {
            name: weight.new_zeros(batch, *shape) for name, shape in self._shapes[size].items()
        }
        return self._with_clock(state, batch, weight.device)

    def step(self, frame: Tensor, state: State) -> tuple[Preds, State]:
        """Logits ``(B, num_classes)``, of every task, after one more frame of every stream.

        Args:
            frame: ``(B, C, H, W)``, normalised as in training.
            state: from :meth:`init_state` or the step before; not changed.
        """
        clock = 0
        if not is_traced():
            self._check(frame, state)
            clock = _read_clock(state)
        preds, after = self.step_at(frame, state, clock=clock)
        if CLOCK in state:
            after[CLOCK] = (state[CLOCK] + 1) % self.spec.period
        return preds, after

    def step_at(self, frame: Tensor, state: State, *, clock: int) -> tuple[Preds, State]:
        """:meth:`step` when the frames since the last full period are known."""
        memory = Memory(state, clock=clock, dense=self.spec.dense)
        preds = self.run(frame, memory)
        return preds, memory.next

    def step_period(self, frames: Tensor, state: State) -> tuple[Preds, State]:
        """Logits after ``spec.period`` more frames, from a state at the end of a period.

        What exporters record: which layers run is the same every time.

        Args:
            frames: ``(B, C, spec.period, H, W)``.
            state: without its clock.
        """
        preds: Preds = {}
        for clock in range(self.spec.period):
            preds, state = self.step_at(frames[:, :, clock], state, clock=clock)
        return preds, state

    def predict(self, frame: Tensor, state: State) -> tuple[Preds, State]:
        """Scores, as :meth:`ClipModel.predict <slowfast.models.base.ClipModel.predict>` gives."""
        preds, state = self.step(frame, state)
        return activate(preds, self.spec.head_act), state

    def forward(self, frame: Tensor, state: State) -> tuple[Preds, State]:
        """:meth:`step`."""
        return self.step(frame, state)

    def state_bytes(self, batch: int = 1) -> int:
        """Memory that the state of ``batch`` streams takes."""
        state = self.init_state(1)
        return batch * sum(t.numel() * t.element_size() for t in state.values())

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode: its weights are copies, of no use to train."""
        return super().train(False)

    def _with_clock(self, state: State, batch: int, device: torch.device) -> State:
        if self.spec.period > 1 and not self.spec.dense:
            state[CLOCK] = torch.zeros(batch, dtype=torch.long, device=device)
        return state

    def _check(self, frame: Tensor, state: State) -> None:
        batch = len(next(iter(state.values()))) if state else len(frame)
        if frame.dim() != 4 or frame.shape[1] != self.spec.channels or len(frame) != batch:
            raise StreamingError(
                f"a step takes frames (B, {self.spec.channels}, H, W) of the {batch} stream(s) "
                f"its state is of, and got {tuple(frame.shape)}"
            )


def _read_clock(state: State) -> int:
    if CLOCK not in state:
        return 0
    values = state[CLOCK].tolist()
    if len(set(values)) > 1:
        raise StreamingError(
            f"streams of one batch are {sorted(set(values))} frames into a period: batch those "
            "that are in step, or convert with dense=True"
        )
    return int(values[0])


def stack_states(states: Sequence[State]) -> State:
    """States of several streams as one batch."""
    return {name: torch.cat([state[name] for state in states]) for name in states[0]}


def split_state(state: State, sizes: int | list[int] = 1) -> list[State]:
    """The states of single streams (or of ``sizes`` streams each) out of a batch."""
    parts = {name: torch.split(tensor, sizes) for name, tensor in state.items()}
    count = len(next(iter(parts.values())))
    return [{name: tensors[i] for name, tensors in parts.items()} for i in range(count)]
