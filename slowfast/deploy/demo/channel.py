"""Handing things from thread to thread, few at a time, and ending all of them together."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
POLL_S = 0.1
"""Seconds between looks at whether the work was called off."""


class StoppedError(Exception):
    """The work was called off; not an error."""


class Crew:
    """Threads that end together: when their work is done, when one fails, or when told to."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self.error: BaseException | None = None

    @property
    def is_over(self) -> bool:
        """Whether all are to end."""
        return self._over.is_set()

    def start(self, work: Callable[[], None], name: str) -> None:
        """Do ``work`` in a thread of its own."""
        thread = threading.Thread(target=self._run, args=(work,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """Let all end soon."""
        self._over.set()

    def join(self, timeout_s: float = 10.0) -> None:
        """Wait until all have ended; a thread that hangs in a driver is left behind."""
        self.stop()
        for thread in self._threads:
            thread.join(timeout_s)

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except StoppedError:
            pass
        except BaseException as error:
            self.error = self.error or error
            self.stop()


class Channel(Generic[T]):
    """A queue between two threads of a crew.

    Args:
        crew: whose end wakes who waits here.
        size: things held at most.
        lossy: a full one lets the oldest go, for cameras, that do not wait; else ``put`` waits.
    """

    def __init__(self, crew: Crew, size: int, *, lossy: bool = False) -> None:
        self._crew, self._size, self._lossy = crew, size, lossy
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: T) -> None:
        """Hand ``item`` over.

        Raises:
            StoppedError: the work was called off.
        """
        with self._changed:
            if self._lossy and len(self._items) >= self._size:
                self._items.popleft()
            while len(self._items) >= self._size:
                self._wait()
            if self._crew.is_over:
                raise StoppedError
            self._items.append(item)
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing more will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        """All that comes, until the channel is closed.

        Raises:
            StoppedError: the work was called off.
        """
        while True:
            with self._changed:
                while not self._items:
                    if self._closed:
                        return
                    self._wait()
                if self._crew.is_over:
                    raise StoppedError
                item = self._items.popleft()
                self._changed.notify_all()
            yield item

    def _wait(self) -> None:
        if self._crew.is_over:
            raise StoppedError
        self._changed.wait(POLL_S)
