"""Non-local block, Wang et al. 2018, https://arxiv.org/abs/1711.07971."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

INSTANTIATIONS = ("softmax", "dot_product")


@dataclass(frozen=True, kw_only=True)
class NonLocalSpec:
    """Where a stage has non-local blocks, and of which kind.

    Attributes:
        after: indices of the residual blocks that one follows.
        groups: the clip's frames are split into this many parts that do not see each other.
        pool: ``(T, H, W)`` pooling of what is attended to.
        instantiation: ``softmax`` (embedded Gaussian) or ``dot_product``.
    """

    after: Sequence[int] = ()
    groups: int = 1
    pool: Sequence[int] = (1, 2, 2)
    instantiation: str = "dot_product"


class NonLocal(nn.Module):
    """``x + out(attention over all positions of x)``, with half the channels inside.

    Args:
        dim: channels.
        spec: pooling, groups and how similarities become weights.
    """

    def __init__(self, dim: int, spec: NonLocalSpec) -> None:
        super().__init__()
        if spec.instantiation not in INSTANTIATIONS:
            raise ValueError(
                f"NONLOCAL.INSTANTIATION is {spec.instantiation!r}: give one of {INSTANTIATIONS}"
            )
        inner = dim // 2
        self.groups = spec.groups
        self.instantiation = spec.instantiation
        self.conv_theta = nn.Conv3d(dim, inner, 1)
        self.conv_phi = nn.Conv3d(dim, inner, 1)
        self.conv_g = nn.Conv3d(dim, inner, 1)
        self.conv_out = nn.Conv3d(inner, dim, 1)
        self.bn = nn.BatchNorm3d(dim)
        pools = any(size > 1 for size in spec.pool)
        size = tuple(spec.pool)
        self.pool = nn.MaxPool3d(size, stride=size) if pools else nn.Identity()

    @property
    def last_norm(self) -> nn.BatchNorm3d:
        """The normalisation whose scale starts at zero under ``ZERO_INIT_FINAL_BN``."""
        return self.bn

    def forward(self, x: Tensor) -> Tensor:
        if self.groups == 1:
            return self._attend(x)
        b, c, t, h, w = x.shape
        if t % self.groups:
            raise ValueError(f"NONLOCAL.GROUP {self.groups} does not divide the {t} frames")
        x = x.transpose(1, 2).reshape(b * self.groups, t // self.groups, c, h, w).transpose(1, 2)
        x = self._attend(x)
        return x.transpose(1, 2).reshape(b, t, c, h, w).transpose(1, 2)

    def _attend(self, x: Tensor) -> Tensor:
        seen = self.pool(x)
        theta = self.conv_theta(x).flatten(2)  # (B, C / 2, positions)
        phi, g = self.conv_phi(seen).flatten(2), self.conv_g(seen).flatten(2)
        weights = torch.einsum("bcn,bcm->bnm", theta, phi)
        if self.instantiation == "softmax":
            weights = (weights * theta.shape[1] ** -0.5).softmax(dim=2)
        else:
            weights = weights / weights.shape[2]
        out = torch.einsum("bnm,bcm->bcn", weights, g)
        return x + self.bn(self.conv_out(out.reshape(*theta.shape[:2], *x.shape[2:])))
