"""Two processes on the CPU: equal parameters, and an evaluation equal to that of one."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

from slowfast.checkpoint.io import last_checkpoint, read_checkpoint
from slowfast.engine import MissingViews, Supervised, Trainer, evaluate, load_predictions
from slowfast.engine.evaluate import share_buffers
from slowfast.engine.run import build_training
from slowfast.engine.schedule import cosine
from slowfast.models.tiny import TinyNet
from slowfast.utils import distributed
from slowfast.utils.distributed import LaunchPlan, launch
from tests.conftest import random_batches
from tests.engine import runs

TWO = LaunchPlan(processes=2, device="cpu")
pytestmark = pytest.mark.slow


def assert_equal_everywhere(tensors):
    for tensor in tensors:
        other = tensor.detach().clone()
        dist.broadcast(other, src=0)
        assert torch.equal(other, tensor)


class NoNorm(TinyNet):
    def forward_features(self, clips):
        return clips[0].mean(dim=(2, 3, 4)).repeat(1, 6)[:, :16]


def train_share(batches, accumulate):
    """One process's share of a training that one process can do in whole."""
    torch.manual_seed(0)
    model = NoNorm(num_classes=4)
    objective = Supervised(model, nn.CrossEntropyLoss())
    reductions = []
    rank, world = distributed.rank(), distributed.world_size()
    if world > 1:
        objective.trainable = DistributedDataParallel(model, find_unused_parameters=True)

        def count(state, bucket):
            reductions.append(bucket.index())
            return allreduce_hook(state, bucket)

        objective.trainable.register_comm_hook(None, count)
    share = [b._replace(clips=[b.clips[0][rank::world]], labels=b.labels[rank::world])
             for b in batches]  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    Trainer(objective, optimizer, cosine(0.05, 2), share, accumulate_steps=accumulate).fit(2)
    # once per optimiser step, not once per batch
    assert world == 1 or reductions.count(0) == {1: 8, 3: 4}[accumulate]
    assert not any(key.startswith("module.") for key in objective.model.state_dict())
    return model


def compare_training(batches, accumulate, path):
    torch.set_num_threads(1)
    model = train_share(batches, accumulate)
    assert_equal_everywhere(model.parameters())
    if distributed.is_main():
        torch.save(model.state_dict(), path)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_two_processes_train_like_one(tmp_path, accumulate):
    batches = random_batches()
    launch(compare_training, (batches, accumulate, tmp_path / "two.pt"), TWO)
    alone = train_share(batches, accumulate).state_dict()
    for name, value in torch.load(tmp_path / "two.pt").items():
        torch.testing.assert_close(value, alone[name], rtol=1e-4, atol=1e-6)


VIDEOS = [f"v{i}" for i in range(10)]


def single_videos():
    (batch,) = random_batches(10, num_batches=1)
    for i in range(10):
        clips, labels, ids = (x[i : i + 1] for x in (batch.clips[0], batch.labels, batch.clip_ids))
        yield batch._replace(clips=[clips], labels=labels, clip_ids=ids)


def evaluate_share(folder):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = TinyNet(num_classes=4)
    statistics = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
    for buffer in statistics:  # as after a training step on different clips
        buffer.add_(distributed.rank())
    share_buffers(model)
    assert distributed.world_size() == 1 or assert_equal_everywhere(statistics) is None
    share = list(single_videos())[distributed.rank() :: distributed.world_size()]
    with pytest.raises(MissingViews, match="v9"):  # in every process
        evaluate(model, [b for b in share if b.clip_ids != 9], names=VIDEOS)
    predictions = evaluate(model, share, names=VIDEOS, criterion=nn.CrossEntropyLoss())
    assert (predictions is not None) == distributed.is_main()
    if predictions is not None:
        assert predictions.loss > 0
        predictions.save(folder / f"of_{distributed.world_size()}")


def test_sharded_evaluation_equals_one_process(tmp_path):
    for world in (2, 3):  # three: the shares are 4, 3 and 3
        launch(evaluate_share, (tmp_path,), LaunchPlan(world, device="cpu"))
    evaluate_share(tmp_path)
    one, two, three = (load_predictions(tmp_path / f"of_{n}.npz") for n in (1, 2, 3))
    for other in (two, three):
        np.testing.assert_array_equal(one.scores["action"], other.scores["action"])
        np.testing.assert_array_equal(one.labels["action"], other.labels["action"])
        assert one.names == other.names == VIDEOS


def whole_run(folder):
    torch.set_num_threads(1)
    runs.few_videos()
    options = runs.everything()
    for max_epoch, name in ((2, "parts"), (2, "whole"), (2, "parts")):
        cfg = runs.config(folder / name, SOLVER__MAX_EPOCH=max_epoch, **options)
        training = build_training(cfg)
        metrics = training.run()
        assert metrics["top5_err"] == 0.0
        assert_equal_everywhere(training.trainer.objective.model.parameters())
        if name == "parts" and training.start_epoch == 0:
            distributed.barrier()
            if distributed.is_main():  # as if it had been killed in the second epoch
                last_checkpoint(folder / name).unlink()
            distributed.barrier()


def test_two_processes_resume_exactly(tmp_path):
    launch(whole_run, (tmp_path,), TWO)
    whole, parts = (read_checkpoint(last_checkpoint(tmp_path / n)) for n in ("whole", "parts"))
    assert len(whole["trainer_state"]["rng"]) == 2
    assert all(
        torch.equal(value, parts["model_state"][name])
        for name, value in whole["model_state"].items()
    )
    first, second = whole["trainer_state"]["rng"]
    assert not torch.equal(first["torch"], second["torch"])


def test_torchrun(tmp_path):
    script = tmp_path / "job.py"
    script.write_text(
        "from slowfast.utils import distributed as d\n"
        "def job(word):\n"
        "    told = d.gather_objects((word, d.rank(), d.local_rank()))\n"
        "    if d.is_main(): print(told, d.world_size(), d.num_nodes())\n"
        "d.launch(job, ('hi',), d.plan_launch(0, device='cpu'))\n"
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone",
               "--nproc_per_node", "2", str(script)]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert "[('hi', 0, 0), ('hi', 1, 1)] 2 1" in done.stdout, done.stderr


def shard(word, folder):
    told = distributed.gather_objects(f"{word}{distributed.rank()}")
    if distributed.is_main():
        (folder / "told").write_text(" ".join(told))


def test_pyslowfasts_shards(tmp_path):
    """Two "machines" of one process each, as --num_shards and --shard_id start them."""
    method = f"tcp://127.0.0.1:{distributed.free_port()}"
    context = torch.multiprocessing.get_context("spawn")
    plans = [LaunchPlan(1, 2, shard_id, method, "cpu") for shard_id in (0, 1)]
    processes = [
        context.Process(target=launch, args=(shard, ("s", tmp_path), plan)) for plan in plans
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert (tmp_path / "told").read_text() == "s0 s1"


SLEEPERS = """
import os, signal, sys, time
from pathlib import Path
from slowfast.utils.distributed import LaunchPlan, launch, rank

def sleep(folder):
    (Path(folder) / f"pid{rank()}").write_text(str(os.getpid()))
    time.sleep(60)

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as of "command &" in a script
    launch(sleep, (sys.argv[1],), LaunchPlan(processes=2, device="cpu"))
"""


def test_what_is_wrong_for_all_is_said_once(tmp_path):
    script = tmp_path / "job.py"
    script.write_text(
        "from slowfast.utils.distributed import LaunchPlan, launch\n"
        "def job():\n"
        "    open('nothere.csv')\n"
        "if __name__ == '__main__':\n"
        "    launch(job, (), LaunchPlan(processes=2, device='cpu'))\n"
    )
    command = [sys.executable, str(script)]
    done = subprocess.run(command, env=env_here(), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: ")
    assert "nothere.csv" in error
    assert "SLOWFAST_DEBUG" in hint


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells children of their parent's end")
def test_workers_end_with_a_killed_parent(tmp_path):
    script = tmp_path / "sleepers.py"
    script.write_text(SLEEPERS)
    with subprocess.Popen([sys.executable, str(script), str(tmp_path)], env=env_here()) as parent:
        pids = [wait_for(tmp_path / f"pid{i}") for i in range(2)]
        parent.kill()
    deadline = time.monotonic() + 20
    while any(is_running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in pids if is_running(pid)]


def wait_for(path):
    """The number in a file that another process is about to write."""
    deadline = time.monotonic() + 60
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline, f"no {path.name}"
        time.sleep(0.05)
    return int(path.read_text())


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def env_here():
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
