"""How idle OpenMP threads wait."""

from __future__ import annotations

import os

SPIN_COUNT = 10_000
"""Turns a waiting thread spins before it sleeps: some tens of microseconds."""


def limit_spinning() -> None:
    """Let idle threads go to sleep soon; call it before torch is imported.

    GNU OpenMP's threads spin for milliseconds by default. Where a loader process needs the core,
    the thread that has work to do then waits for the one that spins: measured on 2 cores, a
    training step of the small synthetic X3D takes 2.3 s beside busy processes instead of 0.64 s
    with this setting; on idle cores both take 0.16 s. A choice in the environment is respected.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPIN_COUNT))
