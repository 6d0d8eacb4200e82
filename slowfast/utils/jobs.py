"""A command of a tool as a job that submitit queues, and queues again when it was preempted."""

from __future__ import annotations

import os
import re
import runpy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slowfast.utils.errors import UserError
from slowfast.utils.optional import require
from slowfast.utils.signals import PREEMPTED_STATUS

EXTRA = "slurm"
REQUEUE_S = 20
"""Seconds that other tasks stay while the first one asks for the job anew: SLURM may end a job with
its first task that fails."""


class JobError(UserError, RuntimeError):
    """A job that cannot be queued, or that failed."""


@dataclass(frozen=True)
class ToolJob:
    """``python SCRIPT ARGV...`` in every task of a job.

    Attributes:
        script: with a ``main(argv)``.
        argv: its words.
    """

    script: str
    argv: tuple[str, ...]

    def __call__(self) -> Any:
        """Run it; what ``main`` returns."""
        environment = require("submitit", extra=EXTRA).JobEnvironment()
        if environment.num_tasks > 1:
            os.environ.update(rendezvous(environment))
        main = runpy.run_path(self.script, run_name="job")["main"]
        try:
            return main(list(self.argv))
        except SystemExit as stop:
            if not stop.code:
                return None
            if stop.code == 2:  # it has said why; a result tells whoever waits
                raise JobError(f"{self.script} failed: see {environment.paths.stderr}") from stop
            if stop.code == PREEMPTED_STATUS and environment.cluster != "local":
                time.sleep(REQUEUE_S)
            raise

    def checkpoint(self) -> Any:
        """What to queue after a preemption: the same, it goes on by itself."""
        return require("submitit", extra=EXTRA).helpers.DelayedSubmission(self)


def rendezvous(environment: Any) -> dict[str, str]:
    """torchrun's variables of a task of a job.

    Args:
        environment: ``submitit.JobEnvironment``.
    """
    number = int(re.sub(r"\D", "", environment.job_id) or 0)
    return {
        "RANK": str(environment.global_rank),
        "WORLD_SIZE": str(environment.num_tasks),
        "LOCAL_RANK": str(environment.local_rank),
        "LOCAL_WORLD_SIZE": str(environment.num_tasks // environment.num_nodes),
        "MASTER_ADDR": "127.0.0.1" if environment.num_nodes == 1 else environment.hostnames[0],
        "MASTER_PORT": str(20000 + number % 20000),
    }


def submit(
    command: Sequence[str],
    folder: Path,
    *,
    cluster: str = "slurm",
    parameters: Mapping[str, Any] | None = None,
) -> Any:
    """Queue a tool's command.

    Args:
        command: the script and its words.
        folder: of logs, and of what submitit keeps.
        cluster: ``slurm``, or ``local``: processes of this machine.
        parameters: of ``submitit.AutoExecutor``: ``timeout_min``, ``nodes``, ``tasks_per_node``,
            ``gpus_per_node``, ``cpus_per_task``, ``slurm_partition`` ...

    Returns:
        submitit's job.

    Raises:
        JobError: no such script, or no SLURM here.
    """
    if not command or not Path(command[0]).is_file():
        what = f"{command[0]} is no script" if command else "nothing to run"
        raise JobError(f"{what}: give a tool and its arguments, tools/run_net.py ...")
    submitit = require("submitit", extra=EXTRA)
    job = ToolJob(command[0], tuple(command[1:]))
    try:
        executor = submitit.AutoExecutor(folder=str(folder), cluster=cluster)
        executor.update_parameters(**(parameters or {}))
        return executor.submit(job)
    except (RuntimeError, ValueError, FileNotFoundError) as error:
        raise JobError(f"{cluster} cannot take the job: {error}. Is this its machine?") from error
