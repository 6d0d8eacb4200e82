"""Stochastic depth, Huang et al. 2016, https://arxiv.org/abs/1603.09382."""

from __future__ import annotations

from torch import Tensor, nn


class DropPath(nn.Module):
    """Zeroes a residual branch for whole clips in training, and scales the kept ones up.

    PySlowFast's ``MODEL.DROPCONNECT_RATE`` has no effect (its ``drop_path`` is never told that
    it is training); here it does what its name says, so a recipe that sets it trains differently.
    Its schedule is kept: stage res``n`` drops at ``n / 6`` of the network's rate.

    Args:
        rate: probability, in [0, 1), that a clip's branch is dropped.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0 <= rate < 1:
            raise ValueError(f"stochastic depth (MODEL.DROPCONNECT_RATE) is {rate}: give [0, 1)")
        self.rate = rate

    def extra_repr(self) -> str:
        return f"rate={self.rate}"

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        kept = x.new_empty(x.shape[0], 1, 1, 1, 1).bernoulli_(1 - self.rate)
        return x * (kept / (1 - self.rate))
