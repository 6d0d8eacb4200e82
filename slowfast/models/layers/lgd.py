"""Local-global diffusion with attention pooling.

Qiu et al. 2019, https://arxiv.org/abs/1906.05571: beside the feature maps of a network runs a
vector that sums up the whole clip; each block reads the vector of the block before and adds to
it. Here the summary of a map is not its mean but an average with learned weights (the context
pooling of Cao et al. 2019, https://arxiv.org/abs/1904.11492).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

EXPANSION = 3
"""Hidden width of the perceptrons, relative to their input."""


class ContextPool(nn.Module):
    """``(B, C, T, H, W)`` -> ``(B, C, 1, 1, 1)``, positions weighted by a softmax of scores."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.score = nn.Conv3d(dim, 1, 1, bias=False)
        self.score_bn = nn.BatchNorm3d(1)
        # A softmax does not see a constant: there is nothing to learn about it.
        self.score_bn.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.score_bn(self.score(x)).flatten(2).softmax(dim=-1)  # (B, 1, T * H * W)
        context = torch.bmm(x.flatten(2), weights.transpose(1, 2))  # (B, C, 1)
        return context[..., None, None]


class Perceptron(nn.Module):
    """``1x1x1`` convolution, batch norm, hard swish, ``1x1x1`` convolution, batch norm."""

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__()
        hidden = EXPANSION * dim_in
        self.fc1 = nn.Conv3d(dim_in, hidden, 1, bias=False)
        self.fc1_bn = nn.BatchNorm3d(hidden)
        self.act = nn.Hardswish(inplace=True)
        self.fc2 = nn.Conv3d(hidden, dim_out, 1, bias=False)
        self.fc2_bn = nn.BatchNorm3d(dim_out)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2_bn(self.fc2(self.act(self.fc1_bn(self.fc1(x)))))


class PoolPerceptron(Perceptron):
    """What the global vector learns from a feature map: :class:`ContextPool`, then a perceptron."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, dim)
        self.context = ContextPool(dim)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.context(x))


class LocalGlobalDiffusion(nn.Module):
    """The paths between feature maps and global vector, one step for every map but the last.

    Map 0 (of the stem) starts the vector. Map ``i`` is added what the vector of map ``i - 1``
    says about it; then the vector is renewed from itself and the map. A fresh module leaves the
    maps alone: the last batch norm of each of the former paths starts at zero.

    The vector sees the whole clip, so a network with it does not run frame by frame.

    Args:
        widths: channels of the maps 0, 1, ... that take part.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        steps = len(widths)
        self.to_local = nn.ModuleDict(
            {str(i): Perceptron(widths[i - 1], widths[i]) for i in range(1, steps)}
        )
        self.pool = nn.ModuleDict({str(i): PoolPerceptron(widths[i]) for i in range(steps - 1)})
        self.to_global = nn.ModuleDict(
            {str(i): Perceptron(widths[i - 1], widths[i]) for i in range(1, steps - 1)}
        )
        self.num_maps = steps

    def zero_init(self) -> None:
        """Make the module leave the maps alone."""
        for path in self.to_local.values():
            assert isinstance(path, Perceptron)
            nn.init.zeros_(path.fc2_bn.weight)
            nn.init.zeros_(path.fc2_bn.bias)

    def forward(self, i: int, x: Tensor, vector: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Map ``i`` and the global vector after it, from the map and the vector before it.

        Args:
            i: number of the map.
            x: ``(B, C_i, T, H, W)``.
            vector: ``(B, C_{i-1}, 1, 1, 1)``; ``None`` for map 0.
        """
        if vector is not None:
            x = x + self.to_local[str(i)](vector)
        if i == self.num_maps - 1:
            return x, None
        pooled = self.pool[str(i)](x)
        if vector is None:
            return x, pooled
        renewed = self.to_global[str(i)](vector)
        if renewed.shape == vector.shape:
            renewed = renewed + vector
        return x, renewed + pooled
