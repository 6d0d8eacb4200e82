"""Freezing and synchronising batch normalisation in a built model."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.distributed as dist
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


class _SumOverProcesses(torch.autograd.Function):
    """Every process gets the sum, so the gradient of each term is the sum of all gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].clone()
        dist.all_reduce(total)
        return total


def _sum_over_processes(x: Tensor) -> Tensor:
    return cast(Tensor, _SumOverProcesses.apply(x))  # type: ignore[no-untyped-call]


class SyncedBatchNorm(_BatchNorm):
    """Normalises with the mean and variance of all processes' clips, on any device.

    torch's own, which is faster, is for GPUs only. Outside of training, or alone, it is a plain
    batch norm.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and dist.is_available() and dist.is_initialized()):
            return super().forward(x)
        axes = [axis for axis in range(x.ndim) if axis != 1]
        shape = (1, -1, *[1] * (x.ndim - 2))
        wide = x.float()
        count = torch.full((1,), x.numel() / x.shape[1], device=x.device)
        sums = _sum_over_processes(torch.cat([wide.sum(axes), count]))
        mean, total = sums[:-1] / sums[-1], sums[-1].detach()
        centred = wide - mean.view(shape)
        var = _sum_over_processes(centred.square().sum(axes)) / total
        self._track(mean.detach(), var.detach() * (total / (total - 1)))
        scale = torch.rsqrt(var + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        normalised = centred * scale.view(shape)
        if self.bias is not None:
            normalised = normalised + self.bias.view(shape)
        return normalised.to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, unbiased: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum
        if share is None:  # the mean over all batches
            share = 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)


class SyncedBatchNorm3d(SyncedBatchNorm, nn.BatchNorm3d):
    """Of clips."""


class SyncedBatchNorm2d(SyncedBatchNorm, nn.BatchNorm2d):
    """Of single frames."""


class SyncedBatchNorm1d(SyncedBatchNorm, nn.BatchNorm1d):
    """Of features."""


SYNCED: dict[type[nn.Module], type[SyncedBatchNorm]] = {
    nn.BatchNorm3d: SyncedBatchNorm3d,
    nn.BatchNorm2d: SyncedBatchNorm2d,
    nn.BatchNorm1d: SyncedBatchNorm1d,
}


def sync_batchnorm(model: nn.Module, device: torch.device | str = "cuda") -> nn.Module:
    """Batch norms that share their statistics over all processes (``BN.NORM_TYPE``).

    Needs an initialised process group at run time. State-dict entries stay the same. Frozen ones
    have no statistics to share.

    Args:
        model: to convert.
        device: it will train on. On GPUs torch's own layer takes the place.

    Returns:
        The model to use from here on.
    """
    if torch.device(device).type == "cuda":
        converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return cast(nn.Module, converted)
    for module in model.modules():
        synced = SYNCED.get(type(module))
        if synced is not None:
            module.__class__ = synced
    return model
