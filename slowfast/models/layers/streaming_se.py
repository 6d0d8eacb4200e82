"""Squeeze-and-excitation that does not look at a whole clip.

X3D's gates come from the means over all frames of a clip (Feichtenhofer 2020); in a stream there
is none. Three ways out, each made from a trained layer, whose parameters stay the same tensors
under the same names.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slowfast.models.layers.se import SqueezeExcite

MOMENTUM = 0.1
"""Weight of a new batch in the frozen means, as in batch norm."""


class StreamingSqueezeExcite(SqueezeExcite):
    """Whichever of the three."""


class FrameScopeSqueezeExcite(StreamingSqueezeExcite):
    """Means of each frame alone, as CoX3D (Hedegaard and Iosifidis 2022)."""

    def forward(self, x: Tensor) -> Tensor:
        return self.excite(x, x.mean(dim=(3, 4), keepdim=True))

    def excite(self, x: Tensor, means: Tensor) -> Tensor:
        """``x`` scaled by the gates that ``means``, ``(B, C, T or 1, 1, 1)``, give."""
        return x * self.sigmoid(self.fc2(self.relu(self.fc1(means))))


class RunningSqueezeExcite(FrameScopeSqueezeExcite):
    """Means over a frame and those before it, of a clip as many as there are.

    Attributes:
        frames: how many at most, the frame itself included.
    """

    frames: int = 1

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean(dim=(3, 4))  # (B, C, T)
        total = F.avg_pool1d(F.pad(means, (self.frames - 1, 0)), self.frames, stride=1)
        seen = torch.arange(1, x.shape[2] + 1, device=x.device).clamp(max=self.frames)
        return self.excite(x, (total * (self.frames / seen).to(x.dtype))[..., None, None])


class FrozenSqueezeExcite(FrameScopeSqueezeExcite):
    """Means of the training data: a gate that does not depend on the clip.

    In training the means follow the clips, as a batch norm's running ones, and are used as they
    are, so the network learns with what it will have in a stream.

    Attributes:
        squeezed: ``(C,)``, the means.
        batches: how many they come from; 0: none yet.
    """

    squeezed: Tensor
    batches: Tensor

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.observe(x)
        return self.excite(x, self.squeezed.to(x.dtype).view(1, -1, 1, 1, 1))

    @torch.no_grad()
    def observe(self, x: Tensor, *, momentum: float = MOMENTUM) -> None:
        """Let the means follow a batch of clips ``(B, C, T, H, W)``."""
        means = x.detach().float().mean(dim=(0, 2, 3, 4))
        weight = torch.where(self.batches == 0, 1.0, momentum)
        self.squeezed.lerp_(means, weight.to(means))
        self.batches += 1

    @property
    def is_calibrated(self) -> bool:
        """Whether there are means to use."""
        return bool(self.batches > 0)


SCOPES: dict[str, type[StreamingSqueezeExcite]] = {
    "frame": FrameScopeSqueezeExcite,
    "running": RunningSqueezeExcite,
    "frozen": FrozenSqueezeExcite,
}


def set_squeeze(model: nn.Module, scope: str, *, frames: int) -> None:
    """Change every squeeze-and-excitation over clips, in place; others are left alone.

    Args:
        model: any.
        scope: key of :data:`SCOPES`.
        frames: of the running means.
    """
    kind = SCOPES[scope]
    for module in model.modules():
        if type(module) is not SqueezeExcite:
            continue
        module.__class__ = kind
        if isinstance(module, RunningSqueezeExcite):
            module.frames = frames
        if isinstance(module, FrozenSqueezeExcite):
            weight = module.fc1.weight
            module.register_buffer("squeezed", weight.new_zeros(weight.shape[1]))
            module.register_buffer("batches", torch.zeros((), dtype=torch.long))
