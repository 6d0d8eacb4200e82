"""How the C library hands memory back to the system."""

from __future__ import annotations

import ctypes
import gc
import sys

# Parameters of mallopt(3), glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_DEFAULTS = {_TRIM_THRESHOLD: 128 * 1024, _MMAP_MAX: 65536}
_KEEP = {_TRIM_THRESHOLD: -1, _MMAP_MAX: 0}


def keep_freed_memory(keep: bool = True) -> bool:
    """Whether large tensors that are freed stay with the process, for the next ones.

    By default glibc gives every block above 32 MiB back at once, and the system clears each page
    anew when the next step asks for it: a sixth of a SlowFast training step on the CPU (16 s of
    system time per minute). The process then keeps its peak memory until it ends.

    Args:
        keep: ``False`` goes back to glibc's defaults.

    Returns:
        Whether it took effect; not with another C library.
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = _KEEP if keep else _DEFAULTS
    results = [mallopt(name, value) for name, value in settings.items()]
    return all(results)


def return_freed_memory() -> None:
    """Give the system back what was freed, so that memory taken next is seen as such."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
