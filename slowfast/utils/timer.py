"""Elapsed time."""

from __future__ import annotations

import time


class Timer:
    """Seconds since it was made or last reset (monotonic clock)."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start again from zero."""
        self._started = time.perf_counter()

    def seconds(self) -> float:
        """Seconds since the last :meth:`reset`."""
        return time.perf_counter() - self._started
