"""Squeeze-and-excitation, Hu et al. 2018, https://arxiv.org/abs/1709.01507."""

from __future__ import annotations

from torch import Tensor, nn

from slowfast.models.layers.widths import round_width


class SqueezeExcite(nn.Module):
    """Scales every channel by a gate computed from the means of all channels.

    Args:
        dim: channels.
        ratio: width of the hidden layer as a share of ``dim``, rounded to a multiple of 8.
    """

    def __init__(self, dim: int, *, ratio: float) -> None:
        super().__init__()
        hidden = round_width(dim, ratio, minimum=8, divisor=8)
        self.fc1 = nn.Conv3d(dim, hidden, 1)
        self.relu = nn.ReLU()
        self.fc2 = nn.Conv3d(hidden, dim, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        gate = x.mean(dim=(2, 3, 4), keepdim=True)  # (B, C, 1, 1, 1)
        return x * self.sigmoid(self.fc2(self.relu(self.fc1(gate))))
