"""How idle OpenMP threads wait."""

from __future__ import annotations

import os

SPIN_COUNT = 1_000
"""Turns a waiting thread spins before it sleeps: 10 to 50 microseconds, by processor."""


def limit_spinning() -> None:
    """Let idle threads go to sleep soon; call it before torch is imported.

    GNU OpenMP's threads spin for milliseconds by default. Where another process needs the core, the
    thread that has work to do then waits for the one that spins. Beside one busy process, on 2
    cores (EPYC, Zen 5): a training step of the small synthetic X3D 2.5 times as long as alone with
    this setting, 4.6 as it comes; X3D-S in eager mode 2.2 and 3.3 times. Alone, the step takes 6 %
    longer; without any spinning, X3D-S half as long again. A choice in the environment is
    respected.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPIN_COUNT))
