"""Ways of training in two processes: what equals what. One launch, many checks, on gloo."""

import copy
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from slowfast.checkpoint.io import last_checkpoint, list_states, read_checkpoint
from slowfast.config import load_cfg
from slowfast.engine import Hook, evaluate
from slowfast.engine.parallel import Parallelism, gather, wrap
from slowfast.engine.run import build_training
from slowfast.models.build import build_model
from slowfast.models.layers.batchnorm import SyncedBatchNorm, sync_batchnorm
from slowfast.models.profile import build_model_inputs
from slowfast.models.tiny import TinyNet
from slowfast.utils import distributed
from slowfast.utils.distributed import LaunchPlan, launch
from slowfast.utils.signals import PREEMPTED_STATUS, Preempted
from tests.engine import runs
from tests.engine.test_distributed import env_here, single_videos, wait_for
from tests.engine.test_preemption import Signal
from tests.engine.test_resume import differences, final_state

pytestmark = pytest.mark.slow
REPO = Path(__file__).parents[2]

SYNCED = {"BN__NORM_TYPE": "sync_batchnorm", "MODEL__DROPOUT_RATE": 0.0, "TRAIN__BATCH_SIZE": 8}
USUAL = {
    "SOLVER__ACCUMULATE_STEPS": 2,
    "SOLVER__CLIP_GRAD_L2NORM": 1.0,
    "TRAIN__EMA__ENABLE": True,
    "TRAIN__EMA__DECAY": 0.9,
    "MODEL__DROPOUT_RATE": 0.0,
    "SOLVER__OPTIMIZING_METHOD": "adamw",
    "SOLVER__BASE_LR": 0.01,
}
FSDP = {**USUAL, "DISTRIBUTED__STRATEGY": "fsdp"}


class Losses(Hook):
    """Every batch's loss, the mean over the processes."""

    def __init__(self):
        self.values = []

    def after_batch(self, trainer, batch, output):
        self.values.append(float(distributed.all_reduce_mean(output.loss.detach())))


def train(folder, **options):
    """Losses of a training, its metrics, and its first loss."""
    losses = Losses()
    training = build_training(runs.config(folder, **options), hooks=[losses])
    metrics = training.run()
    return losses.values, metrics, training


def two_processes(folder):
    torch.set_num_threads(1)
    runs.few_videos()
    results = {}
    results["synced"] = train(folder / "synced", **SYNCED)[:2]
    results["synced precise"] = train(folder / "precise", **SYNCED, BN__USE_PRECISE_STATS=True)[:2]
    results["usual"] = train(folder / "usual", **USUAL)[:2]
    for kind in ("fp16", "bf16", "powersgd"):
        options = {"DISTRIBUTED__GRAD_COMPRESSION": kind, "DISTRIBUTED__POWERSGD_START": 2}
        results[kind], _, training = train(folder / kind, **USUAL, **options)
        assert_equal_everywhere(training.trainer.objective.model)
    results["fsdp"], metrics, training = train(folder / "fsdp", **FSDP)
    results["fsdp"] = results["fsdp"], metrics
    held = sum(p.to_local().numel() for p in training.trainer.objective.model.parameters())
    results["held"] = held, sum(p.numel() for p in training.trainer.objective.model.parameters())
    resume_shards(folder)
    preempt_one(folder)
    shard_models()
    evaluate_few()
    if distributed.is_main():
        torch.save(results, folder / "results.pt")


def assert_equal_everywhere(model):
    for tensor in model.parameters():
        other = tensor.detach().clone()
        dist.broadcast(other, src=0)
        assert torch.equal(other, tensor)


def resume_shards(folder):
    """Sharded, killed in the third epoch, and resumed."""
    train(folder / "fsdp parts", **FSDP, SOLVER__MAX_EPOCH=3)
    if distributed.is_main():
        last_checkpoint(folder / "fsdp parts").unlink()
    distributed.barrier()
    values, _, training = train(folder / "fsdp parts", **FSDP)
    assert training.start_epoch == 2
    assert len(values) == 4


def evaluate_few():
    """Also fewer videos than processes: every view is scored once, by one process."""
    torch.manual_seed(0)
    model = TinyNet(num_classes=4).eval()
    videos = list(single_videos())
    for count in (1, 2, 3, 10):
        share = videos[distributed.rank() : count : 2]
        names = [f"v{i}" for i in range(count)]
        predictions = evaluate(model, share, names=names, criterion=nn.CrossEntropyLoss())
        if distributed.is_main():
            with torch.no_grad():
                expected = torch.cat([model.predict(video.clips) for video in videos[:count]])
            assert torch.equal(torch.from_numpy(predictions.scores["action"]), expected)
            assert predictions.names == names


MODELS = ("X3D_T", "SLOWFAST_T", "SLOW_T", "MOBILE_T", "S3D_MOBILENETV3", "RESNET18_LSTM_EPIC")


def shard_models():
    """Every family's parts can be cut: the gradients are those of the whole."""
    for name in MODELS:
        cfg = load_cfg([REPO / f"configs/Synthetic/{name}.yaml"], ["DATA.NUM_FRAMES", "8"])
        torch.manual_seed(0)
        whole = build_model(cfg)
        cut = copy.deepcopy(whole)
        wrap(cut, torch.device("cpu"), Parallelism("fsdp"))
        clips = [torch.randn(2, *shape[1:]) for shape in build_model_inputs(cfg, 32)]
        for model in (whole, cut):
            torch.manual_seed(1)  # dropout
            logits = model(clips)
            tasks = logits.values() if isinstance(logits, dict) else [logits]
            sum(task.square().mean() for task in tasks).backward()
        for one, other in zip(whole.parameters(), cut.parameters(), strict=True):
            torch.testing.assert_close(gather(other.grad), one.grad, rtol=1e-4, atol=1e-5)


def preempt_one(folder):
    """A signal reaches the second process only; both stop at one step, and go on."""
    options = runs.everything()
    train(folder / "whole", **options)
    hooks = [Signal(5, signal.SIGTERM)] if distributed.rank() == 1 else []
    with pytest.raises(Preempted):
        build_training(runs.config(folder / "parts", **options), hooks=hooks).run()
    names = [path.name for path in list_states(folder / "parts")]
    assert names[-1] == "checkpoint_epoch_00001_iter_00004.pyth"  # heard of one step later
    distributed.barrier()
    _, _, training = train(folder / "parts", **options)
    assert training.start_epoch == 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    launch(two_processes, (folder,), LaunchPlan(processes=2, device="cpu"))
    return folder


@pytest.fixture(scope="module")
def results(folder):
    return torch.load(folder / "results.pt")


@pytest.fixture
def alone(tmp_path, monkeypatch):
    monkeypatch.setitem(runs.dummy.DummyVideos.__init__.__kwdefaults__, "num_videos", 18)
    return lambda **options: train(tmp_path, **options)[:2]


def close(values, others, tolerance):
    torch.testing.assert_close(torch.tensor(values), torch.tensor(others), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["synced", "synced precise"])
def test_twice_four_clips_are_eight(results, alone, name):
    options = {"BN__USE_PRECISE_STATS": True} if name == "synced precise" else {}
    losses, metrics = alone(**SYNCED, **options)
    assert len(losses) == 6
    close(results[name][0], losses, 1e-5)
    assert results[name][1] == pytest.approx(metrics, abs=1e-4)


def test_compressed_gradients_train_alike(results):
    losses = results["usual"][0]
    close(results["fp16"], losses, 2e-3)
    close(results["bf16"], losses, 2e-2)
    close(results["powersgd"][:6], losses[:6], 1e-6)  # uncompressed as yet
    assert results["powersgd"] != losses


def test_shards_train_like_copies(results, folder):
    losses, metrics = results["fsdp"]
    close(losses, results["usual"][0], 1e-5)
    assert metrics == pytest.approx(results["usual"][1], abs=1e-4)
    held, of_all = results["held"]
    assert held < 0.6 * of_all
    copies, shards, resumed = (final_state(folder / n) for n in ("usual", "fsdp", "fsdp parts"))
    assert differences(shards, resumed) == []
    for part in ("model_state", "optimizer_state"):
        assert shards[part].keys() == copies[part].keys()
    for name, value in copies["model_state"].items():
        torch.testing.assert_close(shards["model_state"][name], value, rtol=1e-4, atol=1e-5)
    assert build_training(runs.config(folder / "fsdp", **USUAL)).start_epoch == 3  # and alone


def test_processes_agree_where_to_stop(folder):
    assert differences(final_state(folder / "whole"), final_state(folder / "parts")) == []


def test_a_synced_layer_alone_is_the_plain_one():
    plain = TinyNet(num_classes=4)
    synced = sync_batchnorm(TinyNet(num_classes=4), "cpu")
    synced.load_state_dict(plain.state_dict())
    assert sum(isinstance(module, SyncedBatchNorm) for module in synced.modules()) == 2
    clips = [torch.randn(4, 3, 2, 8, 8)]
    assert torch.equal(plain(clips), synced(clips))


JOB = """
import os, signal, sys
from pathlib import Path
import torch
from slowfast.engine import Hook
from slowfast.engine.run import build_training
from slowfast.utils.distributed import LaunchPlan, launch, rank
from tests.engine import runs

class Die(Hook):
    def after_step(self, trainer, batch, output):
        if trainer.step == 7 and rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)

class Tell(Hook):
    def after_step(self, trainer, batch, output):
        (Path(sys.argv[1]) / f"pid{rank()}").write_text(str(os.getpid()))

def job(what):
    torch.set_num_threads(1)
    runs.few_videos()
    options = runs.everything()
    if what == "elastic":
        options["TRAIN__CHECKPOINT_STEPS"] = 2
        hooks = [Die()] if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" else []
    else:
        options["SOLVER__MAX_EPOCH"] = 1000
        hooks = [Tell()]
    build_training(runs.config(sys.argv[1], **options), hooks=hooks).run()

if __name__ == "__main__":
    launch(job, (sys.argv[2],), LaunchPlan(processes=2, device="cpu"))
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "job.py"
    path.write_text(JOB)
    (tmp_path / "run").mkdir()
    return path


def test_torchrun_restarts_killed_workers(tmp_path, script, folder):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone",
                "--nproc_per_node", "2", "--max_restarts", "1"]  # fmt: skip
    command = [*torchrun, str(script), str(tmp_path / "run"), "elastic"]
    env = env_here() | {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}  # see docs/distributed.md
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = differences(final_state(folder / "whole"), final_state(tmp_path / "run"))
    assert [where for where in found if "Losses" not in where] == []


def test_the_process_that_started_the_others_passes_the_signal_on(tmp_path, script):
    command = [sys.executable, str(script), str(tmp_path / "run"), "signal"]
    with subprocess.Popen(command, env=env_here()) as parent:
        for rank in range(2):
            wait_for(tmp_path / "run" / f"pid{rank}")
        os.kill(parent.pid, signal.SIGUSR1)
        assert parent.wait(timeout=60) == PREEMPTED_STATUS
    state = read_checkpoint(list_states(tmp_path / "run")[-1])
    assert state["trainer_state"]["world_size"] == 2
