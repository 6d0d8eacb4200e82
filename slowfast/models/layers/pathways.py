"""One chain of modules per pathway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from slowfast.models.layers.checkpointing import run_checkpointed


class Pathways(nn.Module):
    """Chains run side by side; module names are ``pathway{p}_{name}``.

    Args:
        chains: per pathway, slow first: name -> module, in order of execution.
        act_checkpoint: recompute each module's activations in the backward pass.
    """

    def __init__(
        self, chains: Sequence[Mapping[str, nn.Module]], *, act_checkpoint: bool = False
    ) -> None:
        super().__init__()
        self.act_checkpoint = act_checkpoint
        self.names = [[f"pathway{p}_{name}" for name in chain] for p, chain in enumerate(chains)]
        for p, chain in enumerate(chains):
            for name, module in chain.items():
                self.add_module(f"pathway{p}_{name}", module)

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        recompute = self.act_checkpoint and self.training and torch.is_grad_enabled()
        out = []
        for names, y in zip(self.names, x, strict=True):
            for name in names:
                module = getattr(self, name)
                y = run_checkpointed(module, y) if recompute else module(y)
            out.append(y)
        return out
