"""What a step reads from the state before it and leaves for the next."""

from __future__ import annotations

import torch
from torch import Tensor

from slowfast.models.streaming.timing import Timing

State = dict[str, Tensor]
"""Name -> tensor whose first axis is the batch. Never changed in place: a state that was kept can
be gone on from at any time."""

CLOCK = "clock"
"""Entry of networks with temporal strides: ``(B,)``, frames since the last full period."""


class Memory:
    """One step's view of the state.

    Layers keep single maps, the newest as ``{name}.1``, so that a step moves no data: an entry of
    the new state *is* the tensor that the layer saw, or an entry of the old one.

    Args:
        state: the one before the step.
        clock: frames since the beginning, of networks with temporal strides.
        dense: strided layers compute in every step; what they see lies further apart instead.

    Attributes:
        next: the state after the step.
    """

    def __init__(self, state: State, *, clock: int = 0, dense: bool = False) -> None:
        self.state, self.clock, self.dense = state, clock, dense
        self.next: State = dict(state)

    def ticks(self, timing: Timing) -> bool:
        """Whether a layer with that timing has a new value in this step."""
        return self.dense or timing.ticks(self.clock)

    def past(self, name: str, x: Tensor, count: int, timing: Timing) -> list[Tensor]:
        """The ``count`` values before ``x``, oldest first, then ``x``, which is remembered.

        Args:
            name: of the layer.
            x: ``(B, ...)``.
            count: how many.
            timing: of ``x``.
        """
        apart = timing.rate if self.dense else 1
        values = [x, *(self._entry(f"{name}.{age}", x) for age in range(1, count * apart + 1))]
        for age, value in enumerate(values[:-1], 1):
            self.next[f"{name}.{age}"] = value
        return values[::apart][::-1]

    def peek(self, name: str, x: Tensor, age: int, timing: Timing) -> Tensor:
        """The value ``age`` before ``x`` of what :meth:`past` remembers under ``name``."""
        apart = timing.rate if self.dense else 1
        return self._entry(f"{name}.{age * apart}", x)

    def window(
        self, name: str, x: Tensor | None, count: int, timing: Timing, *, wait: int = 0
    ) -> Tensor:
        """The last ``count`` values but for the newest ``wait``: ``(B, count, ...)``.

        Args:
            name: of the layer.
            x: ``(B, ...)``, small, which is remembered; ``None`` where there is no new one.
            count: how many.
            timing: of ``x``.
            wait: how many of the newest not to use yet.
        """
        apart = timing.rate if self.dense else 1
        rows = self._window(name, x, (count - 1 + wait) * apart + 1)
        if x is not None:
            newest = x.unsqueeze(1)
            rows = torch.cat([rows[:, 1:], newest], dim=1) if rows.shape[1] > 1 else newest
            self.next[name] = rows
        return rows[:, : (count - 1) * apart + 1 : apart]

    def _entry(self, name: str, x: Tensor) -> Tensor:
        return self.state[name]

    def _window(self, name: str, x: Tensor | None, length: int) -> Tensor:
        return self.state[name]


class Beginning(Memory):
    """Lets every layer run once and takes down the state that it asks for.

    Args:
        still: as if the first frame had been there for ever; else zeros.
        dense: see :class:`Memory`.
    """

    def __init__(self, *, still: bool, dense: bool) -> None:
        super().__init__({}, dense=dense)
        self.still = still

    def ticks(self, timing: Timing) -> bool:
        return True

    def _entry(self, name: str, x: Tensor) -> Tensor:
        return x if self.still else torch.zeros_like(x)

    def _window(self, name: str, x: Tensor | None, length: int) -> Tensor:
        assert x is not None  # every layer runs
        rows = x.unsqueeze(1).expand(-1, length, *x.shape[1:])
        return rows if self.still else torch.zeros_like(rows)
