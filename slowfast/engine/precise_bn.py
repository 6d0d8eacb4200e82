"""Batch norm statistics of the weights as they are, instead of a moving average of the past."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from slowfast.models.layers.batchnorm import Frozen, SyncedBatchNorm
from slowfast.utils import distributed


@torch.no_grad()
def update_bn_stats(model: nn.Module, batches: Iterable[list[Tensor]], max_batches: int) -> int:
    """Replace running statistics by those of the population, estimated on some batches.

    Every batch norm that is in training mode gets the mean of the batch means, weighted by
    batch size, and the variance around it, over all processes: Wu & Johnson 2021, "Rethinking
    'Batch' in BatchNorm", https://arxiv.org/abs/2105.07576, section 3. Layers in evaluation
    mode (frozen) are left alone, and so is the global random state.

    Args:
        model: in training mode; called as ``model(clips)``.
        batches: clips as the model takes them.
        max_batches: how many to use at most.

    Returns:
        The number of batches used on this process.

    Raises:
        ValueError: no batch.
    """
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and _is_tracked(m)]
    if not layers:
        return 0
    population = [_Population(layer) for layer in layers]
    handles = [p.layer.register_forward_hook(p.after_forward) for p in population]
    used = 0
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices):
            for clips in islice(batches, max_batches):
                model(clips)
                used += 1
    finally:
        for handle in handles:
            handle.remove()
        for statistics in population:
            statistics.layer.momentum = statistics.momentum
    if not used:
        raise ValueError("precise BN got no batch")
    for statistics in population:
        statistics.store()
    return used


def _is_tracked(layer: _BatchNorm) -> bool:
    if isinstance(layer, Frozen):
        return False  # in training mode, but its statistics are part of the weights
    return layer.training and layer.track_running_stats and layer.running_mean is not None


class _Population:
    """Sums over batches of one layer's mean and mean square, from its own running statistics.

    With momentum 1 a layer leaves exactly the batch's statistics in its buffers, so no extra
    pass over the activations is needed.
    """

    def __init__(self, layer: _BatchNorm) -> None:
        self.layer, self.momentum = layer, layer.momentum
        layer.momentum = 1.0
        assert layer.running_mean is not None
        size = len(layer.running_mean)
        self.sums = torch.zeros(2, size, dtype=torch.float64)  # of mean, of mean square
        self.count = 0.0

    def after_forward(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert self.layer.running_mean is not None
        assert self.layer.running_var is not None
        count = inputs[0].numel() / inputs[0].shape[1]
        mean = self.layer.running_mean.double().cpu()
        if isinstance(self.layer, (nn.SyncBatchNorm, SyncedBatchNorm)):
            count *= distributed.world_size()  # whose statistics these are
        biased = self.layer.running_var.double().cpu() * ((count - 1) / count)
        self.sums += count * torch.stack([mean, biased + mean.square()])
        self.count += count

    def store(self) -> None:
        """Write the population's statistics into the layer."""
        assert self.layer.running_mean is not None
        assert self.layer.running_var is not None
        packed = torch.cat([self.sums.flatten(), torch.tensor([self.count], dtype=torch.float64)])
        packed = distributed.all_reduce_sum(packed.to(distributed.collective_device())).cpu()
        count = packed[-1]
        mean, square = (packed[:-1] / count).view(2, -1)
        variance = (square - mean.square()).clamp(min=0) * (count / (count - 1))
        self.layer.running_mean.copy_(mean)
        self.layer.running_var.copy_(variance)
