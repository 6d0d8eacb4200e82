"""Latency while other processes want the processor too."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Self

import torch

from slowfast.deploy.benchmarks.turns import Turns, take_turns

ROUNDS = 4
SPIN = """
import os, sys
parent = int(sys.argv[1])
while os.getppid() == parent:
    for _ in range(1_000_000):
        pass
"""
"""It also ends by itself when the benchmark is killed."""


class Neighbours:
    """Processes that each keep a core busy, within a ``with`` block.

    Args:
        count: of them.

    Attributes:
        processes: while the block lasts.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            for _ in range(self.count):
                command = [sys.executable, "-S", "-c", SPIN, str(os.getpid())]
                self.processes.append(subprocess.Popen(command))
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def _end(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
        self.processes = []


def time_beside(
    runs: Mapping[str, Callable[[], object]],
    neighbours: int,
    *,
    warmup: int = 3,
    turns: int = 20,
    device: torch.device | str = "cpu",
) -> dict[str, tuple[Turns, Turns]]:
    """Times ``runs`` alone and beside busy processes, a few turns of the one, then of the other.

    Args:
        runs: name -> what to time.
        neighbours: busy processes.
        warmup: see :func:`~slowfast.deploy.benchmarks.turns.take_turns`.
        turns: of each, all together.
        device: likewise.

    Returns:
        Name -> quiet, busy.
    """
    part = -(-turns // ROUNDS)
    quiet = {name: Turns(()) for name in runs}
    busy = dict(quiet)
    for number in range(ROUNDS):
        for total, count in ((quiet, 0), (busy, neighbours)):
            with Neighbours(count):
                warm = warmup if number == 0 else 1
                found = take_turns(runs, warmup=warm, turns=part, device=device)
            for name, more in found.items():
                total[name] += more
    return {name: (quiet[name], busy[name]) for name in runs}
