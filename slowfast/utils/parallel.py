"""One function over many items in several processes, with progress; survives a worker's death."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TypeVar

from slowfast.utils.progress import Progress, open_progress

T = TypeVar("T")
R = TypeVar("R")
AHEAD = 2  # items per worker handed out in advance


@dataclass(frozen=True)
class WorkerDied:
    """In place of a result: the process that worked on the item was killed or crashed."""


def default_workers() -> int:
    """The processors this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def run_parallel(
    function: Callable[[T], R],
    items: Sequence[T],
    *,
    workers: int,
    description: str,
    progress: str = "auto",
) -> Iterator[tuple[int, R | WorkerDied]]:
    """``(number of the item, result)`` of every item, in the order in which they finish.

    Args:
        function: importable by name, or a ``functools.partial`` of such a function. Exceptions it
            raises end the loop.
        items: arguments; they and the results are pickled.
        workers: processes; up to 1 runs in this process.
        description: shown with the progress.
        progress: see :func:`open_progress`.
    """
    with open_progress(len(items), description, progress) as shown:
        if workers <= 1 or len(items) <= 1:
            for number, item in enumerate(items):
                result = function(item)
                shown.update()
                yield number, result
        else:
            yield from _in_processes(function, items, min(workers, len(items)), shown)


def _in_processes(
    function: Callable[[T], R], items: Sequence[T], workers: int, shown: Progress
) -> Iterator[tuple[int, R | WorkerDied]]:
    left = list(range(len(items) - 1, -1, -1))
    while left:
        suspects: list[int] = []
        for number, result in _until_broken(function, items, workers, left, suspects):
            shown.update()
            yield number, result
        for number in suspects:  # each alone: the next death is its own doing
            alone: list[int] = []
            yield from _until_broken(function, items, 1, [number], alone)
            if alone:
                yield number, WorkerDied()
            shown.update()


def _until_broken(
    function: Callable[[T], R],
    items: Sequence[T],
    workers: int,
    left: list[int],
    suspects: list[int],
) -> Iterator[tuple[int, R]]:
    """Takes numbers from the end of ``left``; those a dead worker had go to ``suspects``."""
    # Not forked: threads of this process (progress bar, OpenMP) may hold locks just now.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker)
    waiting: dict[Future[R], int] = {}
    try:
        while (left and not suspects) or waiting:
            while left and not suspects and len(waiting) < workers * AHEAD:
                number = left.pop()
                try:
                    waiting[pool.submit(function, items[number])] = number
                except BrokenProcessPool:
                    suspects.append(number)
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                number = waiting.pop(future)
                if isinstance(future.exception(), BrokenProcessPool):
                    suspects.append(number)
                else:
                    yield number, future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """One thread each: the processes are the parallelism. Ctrl-C is the main process's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    else:
        os.environ["OMP_NUM_THREADS"] = "1"
