"""The hooks of ``SOLVER.*`` that change how weights are updated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slowfast.engine.hook import Hook
from slowfast.engine.hooks.clipping import AdaptiveClipping
from slowfast.engine.hooks.head_warmup import HeadWarmup

if TYPE_CHECKING:
    from yacs.config import CfgNode


def build_recipe_hooks(cfg: CfgNode) -> list[Hook]:
    """Head warm-up and adaptive clipping, where the config asks for them."""
    solver = cfg.SOLVER
    hooks: list[Hook] = []
    if solver.HEAD_WARMUP_EPOCHS:
        hooks.append(HeadWarmup(solver.HEAD_WARMUP_EPOCHS, solver.HEAD_WARMUP_NAMES))
    if solver.CLIP_GRAD_ADAPTIVE is not None:
        hooks.append(AdaptiveClipping(solver.CLIP_GRAD_ADAPTIVE))
    return hooks
