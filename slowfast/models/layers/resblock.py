"""The residual block that every branch sits in."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from slowfast.models.layers.conv import conv3d
from slowfast.models.layers.drop_path import DropPath


class ResBlock(nn.Module):
    """``relu(x + branch(x))``, with a projected shortcut where the shape changes.

    Args:
        dim_in: channels in.
        dim_out: channels out.
        branch: ``(B, dim_in, T, H, W)`` -> ``(B, dim_out, T, H / stride, W / stride)``.
        stride: spatial stride.
        drop_path: probability that a clip skips the branch in training.
    """

    def __init__(
        self, dim_in: int, dim_out: int, branch: nn.Module, *, stride: int, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        self.projects = dim_in != dim_out or stride != 1
        if self.projects:
            self.branch1 = conv3d(dim_in, dim_out, (1, 1, 1), stride=(1, stride, stride))
            self.branch1_bn = nn.BatchNorm3d(dim_out)
        self.branch2 = branch
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.branch1_bn(self.branch1(x)) if self.projects else x
        return F.relu(shortcut + self.drop_path(self.branch2(x)), inplace=True)
