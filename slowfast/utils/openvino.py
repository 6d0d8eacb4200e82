"""OpenVINO's entry point, one for the whole process."""

from __future__ import annotations

import functools
from typing import Any

from slowfast.utils.optional import require


@functools.cache
def openvino_core() -> Any:
    """The process's ``openvino.Core``. Use it wherever one is wanted; never make another.

    On processors with AMX the CPU plugin of every core registers a signal stack, and puts back the
    one before it when the core goes. Of two cores that go in the order they came, the second puts
    back what the first has freed; the next signal that finds it, such as the end of a data loader's
    worker, kills the process (OpenVINO 2026.4.1). One that stays for good frees nothing.

    Raises:
        ModuleNotFoundError: OpenVINO is not installed; says how.
    """
    return require("openvino", extra="deploy").Core()
