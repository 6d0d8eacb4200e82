"""Activation checkpointing: less memory for one more forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def run_checkpointed(block: nn.Module, x: Tensor) -> Tensor:
    """``block(x)``, whose inner activations are computed again in the backward pass.

    The second run leaves the running statistics alone, so that a step changes the model exactly
    as it does without checkpointing.
    """

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _unchanged_statistics(block)

    out: Tensor = checkpoint(block, x, use_reentrant=False, context_fn=contexts)
    return out


@contextmanager
def _unchanged_statistics(block: nn.Module) -> Iterator[None]:
    """Batch norms use the batch's statistics, as before, and record them with weight 0.

    Not by ``track_running_stats``: the second run must save as many tensors as the first.
    """
    norms = [m for m in block.modules() if isinstance(m, _BatchNorm) and m.training]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, counter) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, counter
