"""Freezing and synchronising batch normalisation in a built model."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm


class Frozen(_BatchNorm):
    """Normalises with its running statistics in training mode too; nothing in it is trained.

    State-dict entries are those of the batch norm it was made from.
    """

    def forward(self, x: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        return F.batch_norm(x, mean, var, self.weight, self.bias, training=False, eps=self.eps)


class FrozenBatchNorm3d(Frozen, nn.BatchNorm3d):
    """Of clips."""


class FrozenBatchNorm2d(Frozen, nn.BatchNorm2d):
    """Of single frames, in networks around an image backbone."""


FROZEN: dict[type[nn.Module], type[Frozen]] = {
    nn.BatchNorm3d: FrozenBatchNorm3d,
    nn.BatchNorm2d: FrozenBatchNorm2d,
}


def freeze_batchnorm(model: nn.Module) -> nn.Module:
    """Fix every batch norm at its running statistics, scale and shift (``MODEL.FROZEN_BN``).

    ``model.train()`` does not undo it. Call it after the weights are loaded or before: the
    parameters and buffers stay the same tensors under the same names.

    Returns:
        The same model, changed in place.
    """
    for module in model.modules():
        frozen = next((FROZEN[kind] for kind in FROZEN if isinstance(module, kind)), None)
        if frozen is not None:
            module.__class__ = frozen  # keeps hooks and every reference to the module
            for parameter in module.parameters():
                parameter.requires_grad_(False)
    return model


def sync_batchnorm(model: nn.Module) -> nn.Module:
    """Batch norms that share their statistics over all processes (``BN.NORM_TYPE``).

    Needs CUDA and an initialised process group at run time. State-dict entries stay the same.

    Returns:
        The model to use from here on.
    """
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    return cast(nn.Module, converted)
