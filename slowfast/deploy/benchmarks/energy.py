"""Energy of the processor, where it counts its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
"""Linux' counters; Intel's and AMD's packages are both called ``intel-rapl:N``."""
SECONDS = 1.0


class EnergyMeter:
    """Joules that the processor's packages have used, all programs together.

    Args:
        root: folder of the counters.

    Attributes:
        why_absent: empty where energy can be measured; else why it cannot.
    """

    def __init__(self, root: Path = POWERCAP) -> None:
        packages = [p for p in sorted(root.glob("intel-rapl:*")) if p.name.count(":") == 1]
        self._zones = [zone for zone in packages if not _name(zone).startswith("psys")]
        self.why_absent = "" if self._zones else f"no energy counters in {root}"
        self._last: list[float] = []
        self._total = 0.0
        try:
            self._last = [_joules(zone, "energy_uj") for zone in self._zones]
        except (OSError, ValueError) as error:
            self.why_absent = f"the energy counters in {root} cannot be read: {error}"

    def read(self) -> float:
        """Joules since the meter was made; read it more often than the counters turn over."""
        for i, zone in enumerate(self._zones):
            now = _joules(zone, "energy_uj")
            used = now - self._last[i]
            if used < 0:  # it started again from 0
                used += _joules(zone, "max_energy_range_uj")
            self._last[i] = now
            self._total += used
        return self._total

    def per_call(self, run: Callable[[], object], *, seconds: float = SECONDS) -> float | None:
        """Joules of one call: of calls for so many seconds, divided; ``None`` where absent."""
        if self.why_absent:
            return None
        before, start, calls = self.read(), time.perf_counter(), 0
        while calls == 0 or time.perf_counter() - start < seconds:
            run()
            calls += 1
        return (self.read() - before) / calls


def _name(zone: Path) -> str:
    try:
        return (zone / "name").read_text("ascii").strip()
    except OSError:
        return ""


def _joules(zone: Path, file: str) -> float:
    return int((zone / file).read_text("ascii")) / 1e6
