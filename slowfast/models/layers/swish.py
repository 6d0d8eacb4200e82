"""Swish, ``x * sigmoid(x)``, Ramachandran et al. 2017, https://arxiv.org/abs/1710.05941."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from slowfast.models.layers.tracing import is_traced


class Swish(nn.SiLU):
    """``nn.SiLU``; its gradient on contiguous CPU memory is rounded as PySlowFast rounds it.

    Training from random weights multiplies rounding errors: two formulas of the same gradient,
    1e-7 apart, are 1 % apart in loss after three steps of the golden X3D-S trace. On
    contiguous memory, the layout of that trace, the original formula reproduces it to the last
    bit; channels-last memory and other devices get the fused kernel, two to three times faster.
    """

    def forward(self, x: Tensor) -> Tensor:
        exact = (
            torch.is_grad_enabled()
            and x.requires_grad
            and x.device.type == "cpu"
            and x.is_contiguous()
            and not is_traced()
        )
        if not exact:
            return super().forward(x)
        out: Tensor = _Swish.apply(x)  # type: ignore[no-untyped-call]
        return out


class _Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        gate = torch.sigmoid(x)
        return gradients[0] * (gate * (1 + x * (1 - gate)))
