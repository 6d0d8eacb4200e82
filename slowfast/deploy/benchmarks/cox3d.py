"""The other yardstick: X3D frame by frame as CoX3D computes it, on continual-inference.

CoX3D (Hedegaard and Iosifidis 2022) itself needs libraries that do not run beside today's torch.
What its steps spend their time on does: the library's temporal convolution, which convolves the
newest frame between ``k - 1`` frames of zeros on either side, adds the first of the ``k`` results
to what earlier frames left for this step, and keeps the others; every layer in float32, batch
norms by themselves, memory contiguous. Where ``continual-inference`` is installed its own
convolution runs, else the same sums and buffers of ours.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from slowfast.models.base import Preds
from slowfast.models.layers.head import X3DHead
from slowfast.models.layers.resblock import ResBlock
from slowfast.models.layers.se import SqueezeExcite
from slowfast.models.layers.x3d_branch import X3DBranch
from slowfast.models.x3d import X3D
from slowfast.utils.errors import UserError
from slowfast.utils.optional import require

LIBRARY = "continual"


def has_library() -> bool:
    """Whether ``continual-inference`` is installed."""
    return importlib.util.find_spec(LIBRARY) is not None


class PartialSums(nn.Module):
    """A convolution over time, a frame at a time, as continual-inference 1.2.4 does it.

    Args:
        conv: of the clip model; its weights are shared.
    """

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        self.conv, self.index = conv, 0
        self.others = conv.kernel_size[0] - 1
        self.buffer: Tensor | None = None

    def forward_step(self, frame: Tensor) -> Tensor:
        """``(B, C, H, W)`` -> the same of the output, as late as its padding makes it."""
        conv, count = self.conv, self.others
        padding = (count, *(int(size) for size in conv.padding[1:]))
        sums = F.conv3d(frame.unsqueeze(2), conv.weight, None, conv.stride, padding, 1, conv.groups)
        newest, rest = sums[:, :, 0], sums[:, :, 1:]
        if self.buffer is None:
            self.buffer = torch.zeros((count, *rest.shape))
        order = torch.remainder(torch.arange(count) + self.index, count)
        ages = torch.arange(count - 1, -1, -1)
        out = newest + self.buffer[order, :, :, ages].sum(dim=0)
        if conv.bias is not None:
            out = out + conv.bias.view(1, -1, 1, 1)
        self.buffer[self.index] = rest
        self.index = (self.index + 1) % count
        return out


class LibraryConv(nn.Module):
    """The library's own.

    Args:
        conv: of the clip model; its weights are copied.
    """

    def __init__(self, conv: nn.Conv3d) -> None:
        super().__init__()
        self.conv = require(LIBRARY, extra="dev").Conv3d.build_from(conv).eval()

    def forward_step(self, frame: Tensor) -> Tensor:
        """As :meth:`PartialSums.forward_step`; zeros where the library gives nothing yet."""
        out = self.conv.forward_step(frame)
        if isinstance(out, Tensor):
            return out
        conv = self.conv
        sizes = [
            (size + 2 * padding - kernel) // stride + 1
            for size, padding, kernel, stride in zip(
                frame.shape[2:],
                conv.padding[1:],
                conv.kernel_size[1:],
                conv.stride[1:],
                strict=True,
            )
        ]
        return frame.new_zeros(len(frame), conv.out_channels, *sizes)


class Delay(nn.Module):
    """Frames of ``steps`` ago; zeros at first."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.kept: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.kept.append(x.clone())
        if len(self.kept) <= self.steps:
            return torch.zeros_like(x)
        return self.kept.pop(0)


class CoX3DStep(nn.Module):
    """Logits after every frame; the state is in the object, as in the library.

    Args:
        model: X3D; in evaluation mode. Its layers are shared.
        reproduce: take our convolution also where the library is installed.

    Raises:
        UserError: another network.
    """

    def __init__(self, model: nn.Module, *, reproduce: bool = False) -> None:
        super().__init__()
        if not isinstance(model, X3D):
            raise UserError(f"CoX3D is an X3D; this is a {type(model).__name__}")
        self.library = has_library() and not reproduce
        self.model = model.eval()
        head = model.head
        assert isinstance(head, X3DHead)
        self.head = head
        stages = [getattr(model, name) for name in model.stages]
        stem = stages[0].pathway0_stem
        self.stem, self.stem_conv = stem, self._conv(stem.conv)
        blocks = [block for stage in stages[1:] for block in stage.children()]
        self.blocks = nn.ModuleList(blocks)
        self.convs = nn.ModuleList(self._conv(branch.b) for branch in branches(blocks))
        self.delays = nn.ModuleList(
            Delay(int(branch.b.padding[0]))
            for branch in branches(blocks)  # as late as the branch
        )
        self.window: list[Tensor] = []

    def _conv(self, conv: nn.Conv3d) -> nn.Module:
        if not self.library:
            return PartialSums(conv)
        return LibraryConv(conv)

    @property
    def source(self) -> str:
        """Whose convolution it is."""
        return "continual-inference" if self.library else "reproduced"

    @torch.no_grad()
    def push(self, frame: Tensor) -> Preds:
        """Logits after ``(B, C, H, W)``."""
        stem, head = self.stem, self.head
        x = over_time(self.stem_conv, stem.conv_xy(frame.unsqueeze(2)))
        x = stem.relu(stem.bn(x))
        for block, conv, delay in zip(self.blocks, self.convs, self.delays, strict=True):
            x = step_block(block, conv, delay(x), x)
        x = head.conv_5_relu(head.conv_5_bn(head.conv_5(x)))
        frames = head.pool_size[0]
        pooled = F.avg_pool3d(x, (1, *x.shape[3:]))
        self.window = [*(self.window or [torch.zeros_like(pooled)] * frames)[1:], pooled]
        x = head.lin_5(torch.cat(self.window, dim=2).mean(dim=2, keepdim=True))
        x = F.relu(head.lin_5_bn(x) if head.bn_lin5 else x)
        return head.classify(x.flatten(1))


def branches(blocks: list[nn.Module]) -> Iterator[X3DBranch]:
    """The residual branches of X3D's blocks."""
    for block in blocks:
        if not (isinstance(block, ResBlock) and isinstance(block.branch2, X3DBranch)):
            raise UserError(f"CoX3D has no {type(block).__name__}")
        yield block.branch2


def over_time(conv: nn.Module, x: Tensor) -> Tensor:
    """A step of a temporal convolution on ``(B, C, 1, H, W)``."""
    return conv.forward_step(x.squeeze(2)).unsqueeze(2)  # type: ignore[operator]


def step_block(block: nn.Module, conv: nn.Module, late: Tensor, x: Tensor) -> Tensor:
    """One residual block on ``(B, C, 1, H, W)``; ``late`` is its input as old as the branch is."""
    assert isinstance(block, ResBlock)
    assert isinstance(block.branch2, X3DBranch)
    branch = block.branch2
    shortcut = block.branch1_bn(block.branch1(late)) if block.projects else late
    y = branch.a_relu(branch.a_bn(branch.a(x)))
    y = branch.b_bn(over_time(conv, y))
    if isinstance(branch.se, SqueezeExcite):
        y = SqueezeExcite.forward(branch.se, y)  # of the frame, whatever form the model has
    return F.relu(shortcut + branch.c_bn(branch.c(branch.b_act(y))))
