"""Local-global diffusion frame by frame: the vector beside the maps sums up one frame, not a clip.

The same parameters under the same names as :mod:`slowfast.models.layers.lgd`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from slowfast.models.layers.lgd import ContextPool, LocalGlobalDiffusion


class FrameContextPool(ContextPool):
    """``(B, C, T, H, W)`` -> ``(B, C, T, 1, 1)``, positions of each frame weighted by a softmax."""

    def forward(self, x: Tensor) -> Tensor:
        weights = self.score_bn(self.score(x)).flatten(3).softmax(dim=-1)  # (B, 1, T, H * W)
        context = torch.einsum("bctn,btn->bct", x.flatten(3), weights.squeeze(1))
        return context[..., None, None]


class FrameDiffusion(LocalGlobalDiffusion):
    """One vector per frame; a block with a temporal stride drops those of the frames it drops."""

    def forward(self, i: int, x: Tensor, vector: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """As :meth:`LocalGlobalDiffusion.forward`, with vectors ``(B, C, T, 1, 1)``."""
        if vector is not None and vector.shape[2] != x.shape[2]:
            vector = vector[:, :, :: round(vector.shape[2] / x.shape[2])]
        return super().forward(i, x, vector)


def set_frame_diffusion(model: nn.Module) -> None:
    """Change local-global diffusion, in place; networks without are left alone."""
    for module in model.modules():
        if type(module) is LocalGlobalDiffusion:
            module.__class__ = FrameDiffusion
        if type(module) is ContextPool:
            module.__class__ = FrameContextPool
