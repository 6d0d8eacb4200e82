"""Several things timed by turns, quick ones several times in a turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from slowfast.deploy.latency import Timing, synchronize

TURN_S = 0.1
MOST_CALLS = 20


@dataclass(frozen=True)
class Turns:
    """Times of one thing.

    Attributes:
        seconds: turn -> its calls, one after the other.
    """

    seconds: tuple[tuple[float, ...], ...]

    @property
    def calls(self) -> Timing:
        """Every call by itself, for percentiles."""
        return Timing(tuple(second for turn in self.seconds for second in turn))

    @property
    def medians(self) -> Timing:
        """One number per turn, for ratios with what ran in the same turn."""
        return Timing(tuple(float(np.median(turn)) for turn in self.seconds))

    def scaled(self, factor: float) -> Turns:
        """The same with every time multiplied."""
        return Turns(tuple(tuple(factor * s for s in turn) for turn in self.seconds))

    def __add__(self, other: Turns) -> Turns:
        return Turns(self.seconds + other.seconds)


def take_turns(
    runs: Mapping[str, Callable[[], object]],
    *,
    warmup: int = 3,
    turns: int = 20,
    device: torch.device | str = "cpu",
    turn_s: float = TURN_S,
) -> dict[str, Turns]:
    """Times ``runs`` by turns, so that what slows the machine for a while slows all alike.

    A turn of what takes much less than ``turn_s`` is several calls after an unmeasured one. It is
    used so: a stream's step comes after its own last step, not after another network that has
    taken the caches.

    Args:
        runs: name -> what to time.
        warmup: unmeasured calls of each before; at least one is made.
        turns: measured; their order is reversed every other time.
        device: waited for before and after each call.
        turn_s: seconds of a turn, roughly; at most ``MOST_CALLS`` calls.
    """
    if turns < 1:
        raise ValueError(f"turns is {turns}: at least 1 must be measured")
    calls: dict[str, int] = {}
    for name, run in runs.items():
        once = [time_call(run, device) for _ in range(max(1, warmup))][-1]
        calls[name] = min(MOST_CALLS, max(1, int(turn_s / max(once, 1e-9))))
    seconds: dict[str, list[tuple[float, ...]]] = {name: [] for name in runs}
    order = list(runs)
    for _ in range(turns):
        for name in order:
            if calls[name] > 1:
                runs[name]()
            seconds[name].append(tuple(time_call(runs[name], device) for _ in range(calls[name])))
        order.reverse()
    return {name: Turns(tuple(found)) for name, found in seconds.items()}


def time_call(run: Callable[[], object], device: torch.device | str = "cpu") -> float:
    """Seconds of one call."""
    synchronize(device)
    start = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - start
