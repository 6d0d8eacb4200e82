"""Frozen batch normalisation of image backbones, see ``batchnorm`` for that of clips."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class FrozenBatchNorm2d(nn.BatchNorm2d):
    """Normalises with its running statistics in training mode too; nothing in it is trained.

    State-dict entries are those of ``nn.BatchNorm2d``.
    """

    def forward(self, x: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        return F.batch_norm(x, mean, var, self.weight, self.bias, training=False, eps=self.eps)


def freeze_batchnorm2d(model: nn.Module) -> nn.Module:
    """Fix every 2-D batch norm at its running statistics, scale and shift, in place.

    ``model.train()`` does not undo it. Weights may be loaded before or after: parameters and
    buffers stay the same tensors under the same names.
    """
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.__class__ = FrozenBatchNorm2d  # keeps hooks and every reference to the module
            for parameter in module.parameters():
                parameter.requires_grad_(False)
    return model
