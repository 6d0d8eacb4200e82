"""Where the time goes, by stage; costs nothing worth mentioning while nobody looks."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

Watch = Callable[[str], AbstractContextManager[object]]
"""Tells stages apart: ``with watch("decode"): ...``."""


class Stopwatch:
    """Seconds per stage. A stage inside another one is taken off the outer one's time.

    Args:
        clock: seconds; by default the processor time of this process, so that other programs on
            the machine do not count.

    Example:
        >>> ticks = iter([0, 1, 3, 6])
        >>> watch = Stopwatch(lambda: next(ticks))
        >>> with watch("decode"):
        ...     with watch("scale"):
        ...         pass
        >>> watch.seconds
        {'decode': 4, 'scale': 2}
    """

    def __init__(self, clock: Callable[[], float] = time.process_time) -> None:
        self.seconds: dict[str, float] = {}
        self._clock = clock
        self._stack: list[str] = []
        self._since = 0.0

    def __call__(self, stage: str) -> AbstractContextManager[object]:
        return _Lap(self, stage)

    def start(self, stage: str) -> None:
        """Stop counting for the stage that runs, count for this one."""
        self._count()
        self._stack.append(stage)
        self.seconds.setdefault(stage, 0)

    def stop(self) -> None:
        """Count for the outer stage again."""
        self._count()
        self._stack.pop()

    def take(self) -> dict[str, float]:
        """The seconds so far; counting starts again from zero."""
        seconds, self.seconds = self.seconds, {}
        return seconds

    def _count(self) -> None:
        now = self._clock()
        if self._stack:
            self.seconds[self._stack[-1]] += now - self._since
        self._since = now


class _Lap:
    def __init__(self, watch: Stopwatch, stage: str) -> None:
        self._watch, self._stage = watch, stage

    def __enter__(self) -> None:
        self._watch.start(self._stage)

    def __exit__(self, *_: object) -> None:
        self._watch.stop()


_NOTHING = nullcontext()


def no_watch(_: str) -> AbstractContextManager[object]:
    """A watch that nobody looks at."""
    return _NOTHING
