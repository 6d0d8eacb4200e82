"""What is trained, spread over processes: copies (DDP) or shards (FSDP2)."""

from __future__ import annotations

import contextlib
import gc
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from slowfast.engine.objective import Objective
from slowfast.utils import distributed
from slowfast.utils.errors import UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode

logger = logging.getLogger(__name__)


class ParallelError(UserError, RuntimeError):
    """What was asked for cannot be trained in shards."""


@dataclass(frozen=True)
class Parallelism:
    """How processes train one model. The defaults are DDP as it is.

    Attributes:
        strategy: ``DISTRIBUTED.STRATEGY``: ddp, or fsdp: each process keeps a share of the weights,
            gradients and optimiser states.
        compression: ``DISTRIBUTED.GRAD_COMPRESSION``: none, fp16, bf16, powersgd.
        powersgd_rank: ``DISTRIBUTED.POWERSGD_RANK``.
        powersgd_start: ``DISTRIBUTED.POWERSGD_START``, steps.
    """

    strategy: str = "ddp"
    compression: str = "none"
    powersgd_rank: int = 1
    powersgd_start: int = 1000


class Replicated(DistributedDataParallel):
    """DDP that knows how it was made. Attributes: ``parallelism``."""

    parallelism: Parallelism


def build_parallelism(cfg: CfgNode) -> Parallelism:
    """From ``DISTRIBUTED.*``; PySlowFast's ``MODEL.FP16_ALLREDUCE`` means fp16."""
    keys = cfg.DISTRIBUTED
    compression = keys.GRAD_COMPRESSION
    if cfg.MODEL.FP16_ALLREDUCE and compression == "none":
        compression = "fp16"
    return Parallelism(keys.STRATEGY, compression, keys.POWERSGD_RANK, keys.POWERSGD_START)


def wrap(
    module: nn.Module, device: torch.device, parallelism: Parallelism | None = None
) -> nn.Module:
    """``module`` for the processes there are; itself where there is one. A collective.

    Sharded, the module stays the same object but its parameters are new ones: make the optimiser
    afterwards.
    """
    if not distributed.is_distributed():
        return module
    parallelism = parallelism or Parallelism()
    if parallelism.strategy == "fsdp":
        from slowfast.engine import sharding  # takes a second to import

        return sharding.shard(module, device)
    ids = [device.index] if device.type == "cuda" else None
    # Of depthwise weights in channels-last memory, whose gradients are copied: a few kilobytes.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    wrapped = Replicated(module, device_ids=ids, gradient_as_bucket_view=True)
    wrapped.parallelism = parallelism
    _compress(wrapped)
    return wrapped


def _compress(module: Replicated) -> None:
    kind = module.parallelism.compression
    if kind == "fp16":
        module.register_comm_hook(None, default_hooks.fp16_compress_hook)
    elif kind == "bf16":
        module.register_comm_hook(None, send_bf16)
    elif kind == "powersgd":
        state = powerSGD_hook.PowerSGDState(
            process_group=None,
            matrix_approximation_rank=module.parallelism.powersgd_rank,
            start_powerSGD_iter=module.parallelism.powersgd_start,
        )
        module.register_comm_hook(state, powerSGD_hook.powerSGD_hook)


def send_bf16(state: object, bucket: Any) -> torch.futures.Future[Tensor]:
    """torch's hook, which DDP refuses by its name where there is no NCCL; gloo can add bf16 too."""
    return default_hooks.bf16_compress_hook(cast(Any, state), bucket)


send_bf16.__annotations__.clear()  # DDP compares them with its types


def rewrap(objective: Objective, device: torch.device) -> None:
    """Let DDP take note of which parameters require a gradient now. A collective.

    It looks once, when it is made, and waits for ever for a gradient that no longer comes; to
    search every graph for such parameters (``find_unused_parameters``) would cost every step.

    Raises:
        ParallelError: the model is sharded.
    """
    old = objective.trainable
    if is_sharded(old):
        raise ParallelError(
            "DISTRIBUTED.STRATEGY fsdp cannot change which weights train, or their number, in the "
            "course of a training: use ddp"
        )
    if not isinstance(old, Replicated):
        return
    module, parallelism = old.module, old.parallelism
    objective.trainable = module
    del old
    gc.collect()  # its hooks on the parameters go with it
    objective.trainable = wrap(module, device, parallelism)


@contextlib.contextmanager
def no_sync(module: nn.Module, *, enabled: bool) -> Iterator[None]:
    """Gradients are added up over the processes once per step, not once per batch."""
    if enabled and isinstance(module, DistributedDataParallel):
        with module.no_sync():
            yield
        return
    if is_sharded(module):
        cast(Any, module).set_requires_gradient_sync(not enabled)
    yield


def unsharded(model: nn.Module) -> contextlib.AbstractContextManager[None]:
    """Every process holds all weights: for evaluations, of whose batches it may have fewer."""
    if not any(is_sharded(part) for part in model.modules()):
        return contextlib.nullcontext()
    from slowfast.engine import sharding

    return sharding.unsharded(model)


def is_sharded(part: object) -> bool:
    """Whether it is a tensor or a module of which this process holds a share."""
    return hasattr(part, "full_tensor") or hasattr(part, "set_requires_gradient_sync")


def gather(value: Any) -> Any:
    """``value`` with whole tensors in the place of shards, also inside dicts and lists.

    A collective where there are shards.
    """
    if is_sharded(value):
        return value.full_tensor()
    if isinstance(value, dict):
        return {key: gather(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(gather(item) for item in value)
    return value


def local(value: Tensor) -> Tensor:
    """What this process holds of ``value``, sharing its memory."""
    return cast(Tensor, cast(Any, value).to_local()) if is_sharded(value) else value


def share_like(value: Tensor, own: Tensor) -> Tensor:
    """This process's shard of a whole ``value`` where ``own`` is one, else ``value``."""
    if not is_sharded(own) or is_sharded(value):
        return value
    from slowfast.engine import sharding

    return sharding.share_like(value, cast(Any, own))


def share_state(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A whole state dict as ``model.load_state_dict`` takes it, sharded or not."""
    own = model.state_dict()
    return {
        name: share_like(value, own[name]) if name in own else value
        for name, value in state.items()
    }


class _Whole:
    """A sharded model or optimiser, but for its state."""

    def __init__(self, owner: Any) -> None:
        self._owner, self._state = owner, gather(owner.state_dict())

    def state_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = self._state
        return found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._owner, name)


def whole(owner: Any) -> Any:
    """Something whose ``state_dict()`` has no shards: ``owner`` itself where it has none.

    A collective where there are.

    Args:
        owner: a module or an optimiser.
    """
    if isinstance(owner, Optimizer):
        tensors = [p for group in owner.param_groups for p in group["params"]]
    else:
        tensors = list(owner.parameters())
    if any(is_sharded(tensor) for tensor in tensors):
        return _Whole(owner)
    return owner
