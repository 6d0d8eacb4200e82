#!/usr/bin/env python3
r"""Queue a tool's command in SLURM, through submitit; preempted, it is queued again and goes on.

python tools/submit.py --gpus_per_node 4 --timeout_min 1440 --partition gpu \
    tools/run_net.py --cfg configs/Kinetics/X3D_S.yaml OUTPUT_DIR runs/x3d_s
python tools/submit.py --nodes 4 --gpus_per_node 8 tools/run_net.py --cfg ... OUTPUT_DIR runs/x3d_s
python tools/submit.py --cluster local --wait tools/run_net.py --cfg ... OUTPUT_DIR runs/x3d_s
See docs/distributed.md.
"""

import argparse
import sys
from pathlib import Path

from slowfast.utils.errors import one_line_errors
from slowfast.utils.jobs import submit
from slowfast.utils.parser import tool_parser


def parser() -> argparse.ArgumentParser:
    found = tool_parser(__doc__)
    add = found.add_argument
    add("--cluster", default="slurm", choices=("slurm", "local"), help="local: on this machine")
    add("--folder", type=Path, default=Path("runs/jobs"), help="of logs (default: %(default)s)")
    add("--name", default="slowfast", help="of the job")
    add("--nodes", type=int, default=1, help="machines (default: 1)")
    add("--gpus_per_node", type=int, default=0, help="GPUs of each, one process each")
    add("--tasks_per_node", type=int, help="processes of each (default: one per GPU, else 1)")
    add("--cpus_per_task", type=int, help="cores of each process")
    add("--timeout_min", type=int, default=1440, help="time limit, minutes (default: a day)")
    add("--signal_delay_s", type=int, default=300, help="asked to save so long before it ends")
    add("--partition", help="of SLURM")
    add("--wait", action="store_true", help="wait for the end; exit status 1 if the job failed")
    add("command", nargs=argparse.REMAINDER, metavar="TOOL ...", help="a script and its arguments")
    return found


def parameters(args: argparse.Namespace) -> dict[str, object]:
    """submitit's names for the options."""
    found = {"timeout_min": args.timeout_min, "nodes": args.nodes, "name": args.name,
             "tasks_per_node": args.tasks_per_node or max(args.gpus_per_node, 1),
             "gpus_per_node": args.gpus_per_node, "cpus_per_task": args.cpus_per_task,
             "slurm_partition": args.partition, f"{args.cluster}_signal_delay_s":
             args.signal_delay_s}  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def main(argv: list[str] | None = None) -> None:
    args = parser().parse_args(argv)
    with one_line_errors(traceback=args.traceback):
        job = submit(args.command, args.folder, cluster=args.cluster, parameters=parameters(args))
        print(f"job {job.job_id}: {job.paths.stdout}")
        if args.wait:
            job.wait()
            failure = job.exception()
            if failure is not None:
                sys.exit(f"job {job.job_id} failed: {failure}")


if __name__ == "__main__":
    main()
