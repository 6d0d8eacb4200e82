"""Limits on gradients beyond one norm for all."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from slowfast.engine.hook import Hook
from slowfast.engine.trainer import Trainer

LEAST_NORM = 1e-3
"""Of a unit's weights: fresh zeros could not move otherwise (Brock et al. 2021, section 4)."""


class AdaptiveClipping(Hook):
    """Clips the gradient of each unit relative to its weights, before other clipping.

    Brock et al. 2021, "High-Performance Large-Scale Image Recognition Without Normalization",
    https://arxiv.org/abs/2102.06171, section 4. As there, classifiers are left alone.

    Args:
        factor: largest ratio of the two norms, ``SOLVER.CLIP_GRAD_ADAPTIVE``.
    """

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def after_backward(self, trainer: Trainer) -> None:
        layers = getattr(trainer.objective.model, "classifiers", {}).values()
        spared = {parameter for layer in layers for parameter in layer.parameters()}
        trained = [p for group in trainer.optimizer.param_groups for p in group["params"]]
        clip_grad_adaptive_((p for p in trained if p not in spared), self.factor)


@torch.no_grad()
def clip_grad_adaptive_(parameters: Iterable[nn.Parameter], factor: float) -> None:
    """Shorten, in place, the gradient of every unit to ``factor`` times the norm of its weights.

    A unit is an output channel, row of the first axis; a vector (batch norm, bias) is one unit.
    Norms of weights count as at least ``LEAST_NORM``.

    Args:
        parameters: those without gradient are passed over.
        factor: above 0.
    """
    for parameter in parameters:
        if parameter.grad is None:
            continue
        limit = _unit_norm(parameter).clamp_(min=LEAST_NORM).mul_(factor)
        norm = _unit_norm(parameter.grad)
        parameter.grad.mul_((limit / norm.clamp(min=1e-6)).clamp_(max=1.0))


def _unit_norm(value: Tensor) -> Tensor:
    """L2 norms, of a shape that broadcasts against ``value``."""
    axes = tuple(range(1, value.ndim)) if value.ndim > 1 else None
    return torch.linalg.vector_norm(value, dim=axes, keepdim=True)
