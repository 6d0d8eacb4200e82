"""FSDP2 around a model, and whole tensors from its shards. Imported only where it is asked for.

Importing it takes a second, so others recognise shards by what they can do: see ``parallel``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from slowfast.models.base import ClipModel
from slowfast.utils import distributed

HEAD = "head"
"""Of clip models: its parts, as classifiers, are called one by one: FSDP2 would not see."""

CONTAINERS = (nn.ModuleList, nn.ModuleDict)


def shard(module: nn.Module, device: torch.device) -> nn.Module:
    """``module``, of which every process keeps a share. A collective.

    The weights of each child are gathered when its turn comes, and let go again; those of the head
    and what belongs to no child are gathered with the root. Weights lie contiguous in memory from
    here on: FSDP2 takes no other layout.
    """
    for parameter in module.parameters():
        parameter.data = parameter.data.contiguous()
    mesh = init_device_mesh(device.type, (distributed.world_size(),))
    classifiers = set(module.classifiers.values()) if isinstance(module, ClipModel) else set()
    for name, child in module.named_children():
        if name == HEAD or isinstance(child, CONTAINERS) or classifiers & set(child.modules()):
            continue
        if any(True for _ in child.parameters()):
            fully_shard(child, mesh=mesh)
    fully_shard(module, mesh=mesh)
    return module


@contextmanager
def unsharded(model: nn.Module) -> Iterator[None]:
    """See :func:`slowfast.engine.parallel.unsharded`."""
    parts = [part for part in model.modules() if isinstance(part, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.set_reshard_after_forward(True, recurse=False)
            part.reshard()


def share_like(value: Tensor, own: DTensor) -> Tensor:
    """This process's shard of a whole ``value``, cut like ``own``; every process has ``value``."""
    value = value.to(own.device)
    return distribute_tensor(value, own.device_mesh, own.placements, src_data_rank=None)
