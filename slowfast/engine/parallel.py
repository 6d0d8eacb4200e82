"""DDP around what is trained, also when another part of it trains than before."""

from __future__ import annotations

import gc
import warnings

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from slowfast.engine.objective import Objective
from slowfast.utils import distributed


def wrap(module: nn.Module, device: torch.device) -> nn.Module:
    """``module`` in DDP where there are several processes, else itself. A collective."""
    if not distributed.is_distributed():
        return module
    ids = [device.index] if device.type == "cuda" else None
    # Of depthwise weights in channels-last memory, whose gradients are copied: a few kilobytes.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    return DistributedDataParallel(module, device_ids=ids, gradient_as_bucket_view=True)


def rewrap(objective: Objective, device: torch.device) -> None:
    """Let DDP take note of which parameters require a gradient now. A collective.

    It looks once, when it is made, and waits for ever for a gradient that no longer comes; to
    search every graph for such parameters (``find_unused_parameters``) would cost every step.
    """
    old = objective.trainable
    if not isinstance(old, DistributedDataParallel):
        return
    module = old.module
    objective.trainable = module
    del old
    gc.collect()  # its hooks on the parameters go with it
    objective.trainable = wrap(module, device)
