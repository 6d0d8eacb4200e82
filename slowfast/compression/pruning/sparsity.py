"""Training that pushes weak channels towards zero, so that cutting them costs little."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from slowfast.compression.pruning.graph import OUT, Group
from slowfast.compression.pruning.importance import squared_norms
from slowfast.datasets.batch import Batch
from slowfast.engine.hook import Hook
from slowfast.engine.objective import StepOutput
from slowfast.engine.trainer import Trainer

KINDS = ("group_norm", "bn_scale")
SHARPNESS = 4.0


class SparsityHook(Hook):
    """Shrinks the weights of channels a little after every step, weak channels more.

    ``w -= lr * weight * d(penalty)/dw``: beside the optimiser's own step, as AdamW decays weights,
    so that it is the same with every optimiser. The penalty:

    * ``group_norm``: ``sum_k g_k * |w_k|^2 / 2`` over the channels k of every group, all tied
      weights together, ``g_k = 2 ** (4 * (max - I_k) / (max - min))`` of the group's norms I
      (Fang et al. 2023, https://arxiv.org/abs/2301.12900, section 3.3): 1 for the strongest
      channel, 16 for the weakest.
    * ``bn_scale``: the sum of absolute batch norm scales (Liu et al. 2017,
      https://arxiv.org/abs/1708.06519).

    Args:
        model: trained.
        groups: that will be pruned.
        weight: of the penalty.
        kind: one of ``KINDS``.
    """

    def __init__(
        self, model: nn.Module, groups: Sequence[Group], *, weight: float, kind: str = "group_norm"
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"sparsity {kind!r}: give one of {', '.join(KINDS)}")
        self.model, self.groups, self.weight = model, list(groups), weight
        self.penalty = self.group_norm if kind == "group_norm" else self.bn_scale
        names = {member.name for group in groups for member in group.members}
        modules = [(name, model.get_submodule(name)) for name in sorted(names)]
        if kind == "bn_scale":
            passing = {member.name for group in groups for member in group.of(OUT)}
            modules = [(n, m) for n, m in modules if n in passing and isinstance(m, _BatchNorm)]
        self.parameters = [
            p
            for _, module in modules
            for key, p in module.named_parameters(recurse=False)
            if p.requires_grad and key.startswith("weight")
        ]

    def group_norm(self) -> Tensor:
        """See the class."""
        total: Tensor | None = None
        for group in self.groups:
            squares = squared_norms(self.model, group)
            norms = squares.detach().sqrt()
            spread = (norms.max() - norms.min()).clamp(min=1e-12)
            factors = 2 ** (SHARPNESS * (norms.max() - norms) / spread)
            part = (factors * squares).sum() / 2
            total = part if total is None else total + part
        assert total is not None
        return total

    def bn_scale(self) -> Tensor:
        """See the class."""
        return torch.stack([parameter.abs().sum() for parameter in self.parameters]).sum()

    def after_step(self, trainer: Trainer, batch: Batch, output: StepOutput) -> None:
        if not self.parameters:
            return
        with torch.enable_grad():
            gradients = torch.autograd.grad(self.penalty(), self.parameters, allow_unused=True)
        with torch.no_grad():
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                if gradient is not None:
                    parameter.sub_(gradient, alpha=trainer.lr * self.weight)
