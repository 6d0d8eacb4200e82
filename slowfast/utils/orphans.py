"""Processes that end with the one that started them."""

from __future__ import annotations

import ctypes
import signal
import sys

PR_SET_PDEATHSIG = 1
"""Of Linux' ``prctl``: the signal that tells a process of its parent's end."""


def die_with_parent() -> None:
    """End this process when the one that started it is gone, killed even (Linux).

    Torch asks for SIGINT then, which a training that was started in the background of a shell
    ignores: its workers would go on writing checkpoints for ever. SIGTERM would make them write a
    last one, perhaps beside the run that was started in their place.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
