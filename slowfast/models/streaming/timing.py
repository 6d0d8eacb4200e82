"""When a value inside a streaming network is there, and how far back it looks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Of the values of one layer's output; everything in frames of the network's input.

    A clip model numbers its values: value ``j`` belongs to frame ``rate * j``. In a stream it is
    computed in the step of frame ``rate * j + delay``, when the last frame it depends on is there.

    Attributes:
        rate: frames per value: the product of the temporal strides so far.
        delay: frames that must pass after the value's own.
        back: frames before its own that it depends on.
    """

    rate: int = 1
    delay: int = 0
    back: int = 0

    def after(self, kernel: int, *, before: int, stride: int = 1) -> Timing:
        """Timing behind a layer over ``kernel`` values, ``before`` of them older than its own.

        Example:
            >>> Timing().after(5, before=2).after(3, before=1, stride=2).after(3, before=1)
            Timing(rate=2, delay=5, back=5)
        """
        return Timing(
            rate=self.rate * stride,
            delay=self.delay + self.rate * (kernel - 1 - before),
            back=self.back + self.rate * before,
        )

    def later(self, frames: int) -> Timing:
        """The same values, so much later."""
        return Timing(self.rate, self.delay + frames, self.back)

    def reaching(self, back: int) -> Timing:
        """The same values, when they depend on ``back`` frames at least."""
        return Timing(self.rate, self.delay, max(self.back, back))

    def ticks(self, clock: int) -> bool:
        """Whether there is a new value in the step of frame ``clock``."""
        return (clock - self.delay) % self.rate == 0
