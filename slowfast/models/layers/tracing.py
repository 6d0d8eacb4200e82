"""Whether a forward pass is being recorded rather than run."""

from __future__ import annotations

import torch


def is_traced() -> bool:
    """True under export, ``torch.jit.trace`` and ``torch.compile``.

    Recorded graphs are to hold torch's own operators, not our Python functions for eager CPU
    training.
    """
    return bool(
        torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        or torch.compiler.is_exporting()
        or torch.compiler.is_compiling()
    )
