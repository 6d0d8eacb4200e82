"""The other yardstick: X3D frame by frame as CoX3D, on the library continual-inference.

CoX3D (Hedegaard and Iosifidis 2022, https://arxiv.org/abs/2106.00050) itself needs libraries that
do not run beside today's torch; what its steps spend their time in does. So the network is put
together here as the authors' is (https://github.com/LukasHedegaard/co3d): every convolution, also
those of one pixel, every delay, sum and sequence is the library's; gates look at single frames;
float32, batch norms by themselves, memory contiguous. Half of a step's time is the library's own
work between the layers, which a network of fewer of its parts would not show.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from slowfast.models.base import Preds
from slowfast.models.layers.head import X3DHead
from slowfast.models.layers.resblock import ResBlock
from slowfast.models.layers.se import SqueezeExcite
from slowfast.models.layers.x3d_branch import X3DBranch
from slowfast.models.x3d import X3D
from slowfast.utils.errors import UserError
from slowfast.utils.optional import require

LIBRARY, EXTRA = "continual", "cox3d"


class CoX3DStep(nn.Module):
    """Logits after every frame; the state is in the object, as in the library.

    Args:
        model: X3D; in evaluation mode. Its layers are shared, but for the convolutions.

    Raises:
        UserError: another network.
        ModuleNotFoundError: ``continual-inference`` is not installed.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not isinstance(model, X3D):
            raise UserError(f"CoX3D is an X3D; this is a {type(model).__name__}")
        self.parts = Parts(require(LIBRARY, extra=EXTRA))
        head = model.eval().head
        assert isinstance(head, X3DHead)
        self.head = head
        stages = [getattr(model, name) for name in model.stages]
        stem = stages[0].pathway0_stem
        self.network = self.parts.sequence(
            self.parts.conv(stem.conv_xy),
            *self.parts.normed(stem.conv, stem.bn),
            stem.relu,
            *(self.parts.block(block) for stage in stages[1:] for block in stage.children()),
            *self.parts.pooled(head),
        ).eval()

    @torch.no_grad()
    def push(self, frame: Tensor) -> Preds | None:
        """Logits after ``(B, C, H, W)``; ``None`` while the network waits for more frames."""
        features = self.network.forward_step(frame)
        if not isinstance(features, Tensor):
            return None  # the library's placeholder
        return self.head.classify(features.flatten(1))


class Parts:
    """Modules of ours as those of the library.

    Args:
        library: the module ``continual``.
    """

    def __init__(self, library: ModuleType) -> None:
        self.library = library

    def sequence(self, *modules: nn.Module) -> Any:
        return self.library.Sequential(*modules)

    def conv(self, conv: nn.Module) -> nn.Module:
        return self.library.Conv3d.build_from(conv)

    def frames(self, module: nn.Module) -> nn.Module:
        """A layer that has no memory."""
        return self.library.forward_stepping(module)

    def normed(self, conv: nn.Module, norm: nn.Module) -> Sequence[nn.Module]:
        return self.conv(conv), self.frames(norm)

    def block(self, block: nn.Module) -> nn.Module:
        """A residual block: its input waits for as long as its branch does."""
        if not (isinstance(block, ResBlock) and isinstance(block.branch2, X3DBranch)):
            raise UserError(f"CoX3D has no {type(block).__name__}")
        branch = self.branch(block.branch2)
        if block.projects:
            shortcut = self.sequence(*self.normed(block.branch1, block.branch1_bn))
        else:
            shortcut = self.library.Delay(branch.delay)
        both = self.library.BroadcastReduce(shortcut, branch, reduce="sum")
        return self.sequence(both, nn.ReLU())

    def branch(self, branch: X3DBranch) -> Any:
        gates = [self.gate(branch.se)] if isinstance(branch.se, SqueezeExcite) else []
        return self.sequence(
            *self.normed(branch.a, branch.a_bn),
            branch.a_relu,
            *self.normed(branch.b, branch.b_bn),
            *gates,
            self.frames(nn.SiLU()),
            *self.normed(branch.c, branch.c_bn),
        )

    def gate(self, gate: SqueezeExcite) -> nn.Module:
        """Of the frame, whatever form the model has."""
        path = self.sequence(
            self.library.AdaptiveAvgPool3d((1, 1, 1), kernel_size=1),
            *(self.conv(gate.fc1), gate.relu, self.conv(gate.fc2), gate.sigmoid),
        )
        return self.library.Residual(path, reduce="mul")

    def pooled(self, head: X3DHead) -> Sequence[nn.Module]:
        """The head up to its classifier."""
        normed = [self.frames(head.lin_5_bn)] if head.bn_lin5 else []
        return (
            *self.normed(head.conv_5, head.conv_5_bn),
            head.conv_5_relu,
            self.library.AdaptiveAvgPool3d((1, 1, 1), kernel_size=head.pool_size[0]),
            *(self.conv(head.lin_5), *normed, nn.ReLU()),
        )
