"""Several processes, one run. Every function also works in a process that is alone."""

from __future__ import annotations

import gc
import logging
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.multiprocessing.spawn import ProcessExitedException, spawn

from slowfast.utils.device import resolve_device
from slowfast.utils.errors import USER_ERROR_STATUS, one_line_errors, print_error
from slowfast.utils.orphans import die_with_parent
from slowfast.utils.signals import PREEMPTED_STATUS, forward_signals

logger = logging.getLogger(__name__)
T = TypeVar("T")

TIMEOUT = timedelta(minutes=30)
"""How long a collective waits for the other processes before it fails instead of hanging."""


def is_distributed() -> bool:
    """Whether a process group is up."""
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """Index of this process among all, from 0."""
    return dist.get_rank() if is_distributed() else 0


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if is_distributed() else 1


def is_main() -> bool:
    """Whether this process writes logs and files."""
    return rank() == 0


def local_rank() -> int:
    """Index of this process on its machine: which GPU it takes."""
    return int(os.environ.get("LOCAL_RANK", "0")) if is_distributed() else 0


def num_nodes() -> int:
    """Number of machines (PySlowFast's shards)."""
    if not is_distributed():
        return 1
    return max(1, world_size() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def barrier() -> None:
    """Wait until every process is here."""
    if is_distributed():
        dist.barrier()


def collective_device() -> torch.device:
    """Where a tensor must be for :func:`all_reduce_sum`: NCCL only sees GPUs."""
    nccl = is_distributed() and dist.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if nccl else torch.device("cpu")


def gather_objects(value: T) -> list[T]:
    """Every process's ``value`` in rank order, on the main process; an empty list on the others."""
    if not is_distributed():
        return [value]
    gathered: list[Any] | None = [None] * world_size() if is_main() else None
    dist.gather_object(value, gathered, dst=0)
    return gathered or []


def broadcast_object(value: T) -> T:
    """The main process's ``value``, on every process."""
    if not is_distributed():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def broadcast_tensors(tensors: Iterable[Tensor]) -> None:
    """Overwrite ``tensors`` in place with those of the main process."""
    if is_distributed():
        for tensor in tensors:
            dist.broadcast(tensor, src=0)


def all_reduce_sum(tensor: Tensor) -> Tensor:
    """The sum of ``tensor`` over the processes; the argument is left as it was."""
    if not is_distributed():
        return tensor
    total = tensor.clone()
    dist.all_reduce(total)
    return total


def all_reduce_mean(tensor: Tensor) -> Tensor:
    """The mean of ``tensor`` over the processes; the argument is left as it was."""
    return all_reduce_sum(tensor) / world_size() if is_distributed() else tensor


@dataclass(frozen=True)
class LaunchPlan:
    """Which processes a command starts.

    Attributes:
        processes: how many on this machine; 1 runs in the calling process.
        num_shards: number of machines.
        shard_id: index of this machine.
        init_method: where the machines meet, e.g. ``tcp://10.0.0.1:9999``; empty picks a
            free local port (one machine only).
        device: ``DEVICE``: auto, cuda, mps or cpu.
        threads: of each process; 0 leaves torch's choice.
    """

    processes: int = 1
    num_shards: int = 1
    shard_id: int = 0
    init_method: str = ""
    device: str = "auto"
    threads: int = 0


def plan_launch(
    num_gpus: int,
    *,
    device: str = "auto",
    cpu_processes: int = 1,
    num_shards: int = 1,
    shard_id: int = 0,
    init_method: str = "",
) -> LaunchPlan:
    """Decide how many processes to start from ``NUM_GPUS`` and what the machine has.

    Args:
        num_gpus: ``NUM_GPUS``: GPUs wanted on this machine.
        device: ``DEVICE``.
        cpu_processes: ``CPU_PROCESSES``: wanted where there is no GPU; at most one per core.
        num_shards: ``NUM_SHARDS``: machines.
        shard_id: ``SHARD_ID``: this machine.
        init_method: address of the first machine; needed for more than one.

    Raises:
        DeviceError: cuda was asked for by name and is not there, or has too few GPUs.
        ValueError: ``shard_id`` is not below ``num_shards``, or no address for several.
    """
    if not 0 <= shard_id < num_shards:
        raise ValueError(f"--shard_id {shard_id} must be in 0..{num_shards - 1} (--num_shards)")
    if num_shards > 1 and not init_method:
        raise ValueError("--num_shards > 1 needs --init_method tcp://<first machine>:<port>")
    kind = resolve_device(device).type
    if kind == "cuda" and num_gpus == 0:
        device = kind = "cpu"  # NUM_GPUS 0 is how PySlowFast's users ask for the CPU
    if kind == "cuda":
        resolve_device("cuda", local_rank=num_gpus - 1)
        return LaunchPlan(num_gpus, num_shards, shard_id, init_method, device)
    if num_gpus > 0:
        logger.info("NUM_GPUS %d: no GPU here, running on the %s", num_gpus, kind)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processes = min(cpu_processes, cores or 1) if kind == "cpu" else 1
    threads = (cores or 1) // processes if processes > 1 else 0
    return LaunchPlan(processes, num_shards, shard_id, init_method, device, threads)


def launch(function: Callable[..., Any], args: tuple[Any, ...], plan: LaunchPlan) -> Any:
    """Call ``function(*args)`` in every process of the run, with the process group up.

    Under ``torchrun`` this process is already one of them: it only joins the group. Otherwise
    ``plan`` says how many to start here; a single process is this one, without a group.

    Args:
        function: importable by name (it is pickled for the other processes).
        args: picklable.
        plan: see :func:`plan_launch`.

    Returns:
        What ``function`` returned when it ran in this process, ``None`` when it ran in others.
    """
    if launched_by_torchrun():
        with process_group(plan.device):
            return function(*args)
    if plan.processes * plan.num_shards == 1:
        return function(*args)
    method = plan.init_method or f"tcp://127.0.0.1:{free_port()}"
    told = get_context("spawn").Value("b", 0)
    spawn_args = (function, args, plan, method, told)
    if plan.processes == 1:
        return _worker(0, *spawn_args)
    # Whose end made it end the others, it need not say: the cause is told.
    logging.getLogger("torch.multiprocessing.spawn").setLevel(logging.ERROR)
    workers = spawn(  # type: ignore[no-untyped-call]
        _worker, args=spawn_args, nprocs=plan.processes, join=False
    )
    try:
        with forward_signals(workers.pids()):
            while not workers.join():
                pass
    except ProcessExitedException as error:
        if error.exit_code in (USER_ERROR_STATUS, PREEMPTED_STATUS):  # it has said why
            raise SystemExit(error.exit_code) from error
        raise
    return None


def launched_by_torchrun() -> bool:
    """Whether ``torchrun`` (or a scheduler that sets the same variables) started this process."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def _worker(
    index: int,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    plan: LaunchPlan,
    init_method: str,
    told: Synchronized[int],
) -> Any:
    os.environ.update(LOCAL_RANK=str(index), LOCAL_WORLD_SIZE=str(plan.processes))
    if plan.threads:
        torch.set_num_threads(plan.threads)
    place = (plan.shard_id * plan.processes + index, plan.processes * plan.num_shards)
    alone = plan.processes == 1  # in the calling process, which deals with errors itself
    if not alone:
        die_with_parent()
    errors = one_line_errors(traceback=alone, tell=partial(_tell_once, told))
    with errors, process_group(plan.device, init_method, *place):
        return function(*args)


def _tell_once(told: Synchronized[int], error: Exception) -> None:
    """What is wrong with a file is wrong for each process: the first one says so.

    The others wait until it has, since the first that ends makes all of them end.
    """
    with told.get_lock():
        if not told.value:
            print_error(error)
        told.value = 1


@contextmanager
def process_group(
    device: str = "auto", init_method: str = "env://", rank: int = -1, world_size: int = -1
) -> Iterator[None]:
    """A process group, NCCL on GPUs and gloo elsewhere, torn down at the end.

    Args:
        device: ``DEVICE``.
        init_method: torch's rendezvous URL.
        rank: index of this process among all; -1: what the environment says.
        world_size: number of processes; -1: what the environment says.
    """
    resolved = resolve_device(device, local_rank=int(os.environ.get("LOCAL_RANK", "0")))
    backend = "gloo"
    if resolved.type == "cuda":
        torch.cuda.set_device(resolved)
        backend = "nccl"
    dist.init_process_group(
        backend, init_method=init_method, timeout=TIMEOUT, rank=rank, world_size=world_size
    )
    try:
        yield
        # Nobody leaves while another still talks to it, and nothing that is only garbage, such as
        # a trainer and its hooks, keeps the group's threads until the interpreter has gone.
        gc.collect()
        barrier()
    finally:
        dist.destroy_process_group()


def free_port() -> int:
    """A TCP port nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
