"""submitit's local executor in the place of SLURM; .sbatch files with stand-ins of its tools."""

import os
import runpy
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slowfast.checkpoint.io import list_states
from slowfast.utils.jobs import JobError, ToolJob, submit
from tests.engine import runs
from tests.engine.test_distributed import wait_for
from tests.engine.test_resume import differences, final_state

REPO = Path(__file__).parents[2]
submitit = pytest.importorskip("submitit")

TOOL = """
import os, sys, time
from pathlib import Path
import torch
from slowfast.engine import Hook
from slowfast.engine.run import build_training
from slowfast.utils.distributed import LaunchPlan, launch, rank
from tests.engine import runs

class Tell(Hook):
    def after_step(self, trainer, batch, output):
        file = self.folder
        (file / f"pid{rank()}").write_text(str(os.getpid()))
        if trainer.step >= 5 and not (file / "go").exists():
            time.sleep(0.1)

def job(folder):
    torch.set_num_threads(1)
    runs.few_videos()
    hook = Tell()
    hook.folder = Path(folder)
    build_training(runs.config(folder, **runs.everything()), hooks=[hook]).run()

def main(argv):
    launch(job, (argv[0],), LaunchPlan(processes=1, device="cpu"))
"""


def children(pid):
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc for the job's process")
def test_a_preempted_job_is_queued_again_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.chdir(REPO)
    monkeypatch.setenv("PYTHONPATH", str(REPO))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    tool, run = tmp_path / "tool.py", tmp_path / "run"
    tool.write_text(TOOL)
    run.mkdir()
    job = submit([str(tool), str(run)], tmp_path / "jobs", cluster="local",
                 parameters={"timeout_min": 5})  # fmt: skip
    pid = wait_for(run / "pid0")
    assert pid in children(job.job_id)
    os.kill(pid, signal.SIGUSR2)  # what submitit asks SLURM for
    (run / "go").touch()
    job.result()
    log = Path(job.paths.stderr).read_text() + Path(job.paths.stdout).read_text()
    assert "Requeued job" in log
    assert int((run / "pid0").read_text()) != pid
    assert not [path for path in list_states(run) if "_iter_" in path.name]
    monkeypatch.setitem(runs.dummy.DummyVideos.__init__.__kwdefaults__, "num_videos", 18)
    from slowfast.engine.run import build_training

    build_training(runs.config(tmp_path / "whole", **runs.everything())).run()
    found = differences(final_state(tmp_path / "whole"), final_state(run))
    assert [where for where in found if "Tell" not in where] == []


class Environment:
    """As of the second task of the second machine."""

    num_tasks, num_nodes, global_rank, local_rank = 4, 2, 3, 1
    job_id, hostnames, cluster = "1234567_8", ["first", "second"], "slurm"


def test_tasks_find_one_another(tmp_path, monkeypatch):
    path = tmp_path / "tool.py"
    path.write_text("import os\ndef main(argv): return argv, os.environ['RANK']")
    monkeypatch.setattr(submitit, "JobEnvironment", Environment)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    assert ToolJob(str(path), ("a", "b"))() == (["a", "b"], "3")
    found = {key: os.environ[key] for key in ("WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")}
    assert found == {"WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    assert os.environ["MASTER_ADDR"] == "first"
    assert 20000 <= int(os.environ["MASTER_PORT"]) < 40000


def test_errors(tmp_path, capsys):
    with pytest.raises(JobError, match=r"nothing\.py is no script"):
        submit(["nothing.py"], tmp_path)
    main = runpy.run_path(str(REPO / "tools/submit.py"))["main"]
    with pytest.raises(SystemExit):
        main(["--folder", str(tmp_path), str(REPO / "tools/run_net.py")])
    assert "slurm cannot take the job" in capsys.readouterr().err  # there is none here


SRUN = """#!/usr/bin/env bash
# Two tasks; signals are passed on to both; the highest status is the step's.
[ "$1" = --kill-on-bad-exit=0 ] && shift
export SLURM_PROCID SLURM_LOCALID
for SLURM_PROCID in 0 1; do SLURM_LOCALID=$SLURM_PROCID "$@" & pids="$pids $!"; done
trap 'kill -USR1 $pids' USR1
highest=0
for pid in $pids; do
  wait $pid; s=$?
  while kill -0 $pid 2>/dev/null; do wait $pid; s=$?; done
  [ $s -gt $highest ] && highest=$s
done
exit $highest
"""
SCONTROL = """#!/usr/bin/env bash
if [ "$1" = show ]; then echo first; echo second; else echo "$@" >> "$SPOOL/told"; fi
"""
PYTHON = """#!/usr/bin/env bash
echo "$RANK $WORLD_SIZE $LOCAL_RANK $LOCAL_WORLD_SIZE $MASTER_ADDR $MASTER_PORT $*" > "$SPOOL/$RANK"
stopped() { echo asked > "$SPOOL/asked$RANK"; exit "$STATUS"; }
trap stopped USR1
[ "$WAIT" = 0 ] && exit "$STATUS"
for _ in $(seq 200); do sleep 0.05; done
"""


@pytest.fixture
def slurm(tmp_path):
    """Environment of a job of two tasks on one machine."""
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL), ("python", PYTHON)):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "SPOOL": str(tmp_path),
            "PYTHON": str(tmp_path / "python"), "SLURM_SUBMIT_DIR": str(REPO), "WAIT": "0",
            "SLURM_JOB_ID": "77", "SLURM_NTASKS": "2", "SLURM_NNODES": "1", "STATUS": "0",
            "SLURM_JOB_NODELIST": "first"}  # fmt: skip


@pytest.mark.parametrize("name", ["one_node", "several_nodes"])
@pytest.mark.parametrize(("status", "queued"), [(0, False), (75, True), (1, False)])
def test_a_job_is_queued_again_if_its_training_was_preempted(tmp_path, slurm, name, status, queued):
    command = ["bash", f"scripts/slurm/{name}.sbatch", "--cfg", "a b.yaml"]
    done = subprocess.run(command, cwd=REPO, env={**slurm, "STATUS": str(status)}, check=False)
    assert done.returncode == status
    told = (tmp_path / "1").read_text().split()
    assert told[:6] == ["1", "2", "1", "2", "first", "20077"]
    assert told[6:] == ["tools/run_net.py", "--cfg", "a", "b.yaml"]
    assert (tmp_path / "told").exists() == queued
    if queued:
        assert (tmp_path / "told").read_text() == "requeue 77\n"


@pytest.mark.parametrize("status", [75, 138])
def test_the_signal_reaches_the_tasks(tmp_path, slurm, status):
    """Whatever the training was at, it is queued again."""
    command = ["bash", "scripts/slurm/one_node.sbatch"]
    env = {**slurm, "WAIT": "1", "STATUS": str(status)}
    with subprocess.Popen(command, cwd=REPO, env=env) as job:
        deadline = time.monotonic() + 30
        while not (tmp_path / "1").exists() or not (tmp_path / "0").exists():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.2)  # the traps are set
        job.send_signal(signal.SIGUSR1)
        assert job.wait(timeout=30) == status
    assert (tmp_path / "asked0").exists()
    assert (tmp_path / "asked1").exists()
    assert (tmp_path / "told").read_text() == "requeue 77\n"


def test_headers():
    for name in ("one_node", "several_nodes"):
        text = (REPO / f"scripts/slurm/{name}.sbatch").read_text()
        for line in ("--requeue", "--signal=B:USR1@", "--ntasks-per-node", "--open-mode=append"):
            assert f"#SBATCH {line}" in text
