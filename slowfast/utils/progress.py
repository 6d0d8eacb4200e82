"""Progress with time left and the share of time spent waiting for data."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from datetime import timedelta
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

logger = logging.getLogger(__name__)

MODES = ("auto", "bar", "log", "none")
T_co = TypeVar("T_co", covariant=True)


class SizedIterable(Iterable[T_co], Sized, Protocol[T_co]):
    """What can be gone through and has a length: a loader, a list."""


class Progress:
    """Counts steps and times them; shows nothing. Use as a context manager.

    Args:
        total: steps to come.
        description: what is counted: ``"train 3/20"``.
        clock: seconds; replaced in tests.
    """

    def __init__(self, total: int, description: str, *, clock: Any = time.monotonic) -> None:
        self.total, self.description = total, description
        self.done = 0
        self.data_s = 0.0
        self._clock = clock
        self._start: float = clock()

    def __enter__(self) -> Self:
        self._start = self._clock()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def update(self, *, data_s: float = 0.0, **values: float) -> None:
        """One step done.

        Args:
            data_s: seconds of it spent waiting for data.
            **values: what to show beside the bar: ``loss=0.7``.
        """
        self.done += 1
        self.data_s += data_s
        self.show(values)

    def show(self, values: dict[str, float]) -> None:
        """Brings what is seen up to date."""

    def close(self) -> None:
        """Leaves the terminal as it was."""

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return float(self._clock() - self._start)

    @property
    def eta_s(self) -> float:
        """Seconds still to come at the mean speed so far; NaN before the first step."""
        return self.elapsed_s / self.done * (self.total - self.done) if self.done else float("nan")

    @property
    def data_share(self) -> float:
        """Share of the time so far spent waiting for data, 0 to 1."""
        return min(self.data_s / self.elapsed_s, 1.0) if self.elapsed_s > 0 else 0.0

    def status(self, values: dict[str, float]) -> str:
        """``"data 12%  loss 0.7031"``."""
        parts = [f"data {self.data_share:.0%}"] if self.data_s else []
        return "  ".join(parts + [f"{name} {value:.4g}" for name, value in values.items()])


class LogProgress(Progress):
    """A log line now and then: for files, pipes and batch systems.

    Args:
        period_s: least seconds between two lines.
    """

    def __init__(
        self,
        total: int,
        description: str,
        *,
        period_s: float = 10.0,
        clock: Any = time.monotonic,
    ) -> None:
        super().__init__(total, description, clock=clock)
        self._period_s = period_s
        self._last: float = self._start

    def show(self, values: dict[str, float]) -> None:
        now = self._clock()
        if now - self._last < self._period_s and self.done != self.total:
            return
        self._last = now
        logger.info(
            "%s: %d/%d, %s left  %s",
            self.description,
            self.done,
            self.total,
            format_seconds(self.eta_s),
            self.status(values),
        )


class BarProgress(Progress):
    """A bar on the terminal, below the log lines."""

    def __init__(self, total: int, description: str, *, clock: Any = time.monotonic) -> None:
        super().__init__(total, description, clock=clock)
        from rich import progress as rich_progress

        self._bar = rich_progress.Progress(
            rich_progress.TextColumn("{task.description}"),
            rich_progress.BarColumn(),
            rich_progress.MofNCompleteColumn(),
            rich_progress.TimeElapsedColumn(),
            rich_progress.TextColumn("left"),
            rich_progress.TimeRemainingColumn(),
            rich_progress.TextColumn("{task.fields[status]}"),
            transient=True,
        )
        self._task = self._bar.add_task(description, total=total, status="")

    def __enter__(self) -> Self:
        super().__enter__()
        self._bar.start()
        return self

    def show(self, values: dict[str, float]) -> None:
        self._bar.update(self._task, completed=self.done, status=self.status(values))

    def close(self) -> None:
        self._bar.stop()


def open_progress(total: int, description: str, mode: str = "auto") -> Progress:
    """Progress of ``total`` steps: a bar on a terminal, log lines elsewhere.

    Args:
        total: steps to come.
        description: what is counted.
        mode: one of ``MODES``; ``auto`` is ``bar`` when stdout is a terminal, else ``log``.
    """
    if mode not in MODES:
        raise ValueError(f"progress mode {mode!r}: expected one of {MODES} (key PROGRESS)")
    if mode == "auto":
        mode = "bar" if sys.stdout.isatty() else "log"
    classes: dict[str, type[Progress]] = {"bar": BarProgress, "log": LogProgress, "none": Progress}
    return classes[mode](total, description)


def track(items: SizedIterable[T_co], description: str, mode: str = "auto") -> Iterator[T_co]:
    """Goes through ``items`` showing progress; fetching an item counts as waiting for data."""
    iterator = iter(items)
    with open_progress(len(items), description, mode) as progress:
        while True:
            start = time.monotonic()
            try:
                item = next(iterator)
            except StopIteration:
                return
            waited = time.monotonic() - start
            yield item
            progress.update(data_s=waited)


def format_seconds(seconds: float) -> str:
    """``1:02:03``, as PySlowFast writes its ETA; ``?`` for NaN.

    Example:
        >>> format_seconds(3723.9)
        '1:02:03'
    """
    return "?" if math.isnan(seconds) else str(timedelta(seconds=int(seconds)))
