import os

import pytest
import torch

from slowfast.utils import device
from slowfast.utils.device import resolve_amp_dtype, resolve_device
from slowfast.utils.distributed import LaunchPlan, launch, plan_launch
from slowfast.utils.errors import UserError
from slowfast.utils.seed import derive_seed, derived_generator

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@no_gpu
def test_auto_finds_what_there_is():
    assert resolve_device("auto").type in ("cpu", "mps")
    assert resolve_device("cpu") == torch.device("cpu")


@no_gpu
def test_a_gpu_that_is_not_there():
    with pytest.raises(UserError, match=r"DEVICE is 'cuda' but torch .*DEVICE auto or cpu"):
        resolve_device("cuda")
    with pytest.raises(UserError, match="DEVICE is 'cuda'"):
        plan_launch(1, device="cuda")


def test_unknown_device():
    with pytest.raises(ValueError, match="DEVICE is 'tpu'; known: auto, cuda, mps, cpu"):
        resolve_device("tpu")


def test_precision():
    assert resolve_amp_dtype(False, "fp16", "cpu") is None
    assert resolve_amp_dtype(True, "fp16", "cpu") is torch.float16
    with pytest.raises(ValueError, match="AMP_DTYPE is 'fp8'"):
        resolve_amp_dtype(True, "fp8", "cpu")


@no_gpu
@pytest.mark.parametrize("num_gpus", [0, 1, 8])
def test_one_process_without_gpus(num_gpus):
    assert plan_launch(num_gpus).processes == 1


def test_shards_need_an_address():
    with pytest.raises(ValueError, match="--init_method"):
        plan_launch(0, device="cpu", num_shards=2)
    with pytest.raises(ValueError, match="--shard_id 2"):
        plan_launch(0, device="cpu", num_shards=2, shard_id=2, init_method="tcp://a:1")


def test_a_single_process_is_this_one():
    assert launch(lambda a, b: a + b, (1, 2), LaunchPlan(device="cpu")) == 3


def test_derived_seeds_do_not_collide():
    places = [(seed, epoch, step, rank) for seed in range(3) for epoch in range(8)
              for step in range(40) for rank in range(4)]  # fmt: skip
    assert len({derive_seed(*place) for place in places}) == len(places)
    assert all(0 <= derive_seed(*place) < 2**63 for place in places)
    assert derived_generator(1, 2).initial_seed() == derive_seed(1, 2) != derive_seed(2, 1)


@no_gpu
def test_cpu_processes_share_the_cores():
    cores = len(os.sched_getaffinity(0))
    plan = plan_launch(0, cpu_processes=1000)
    assert (plan.processes, plan.threads) == (cores, 1 if cores > 1 else 0)
    assert plan_launch(0, cpu_processes=1) == LaunchPlan()


def fail():
    raise FileNotFoundError("no such video: a.mp4")


@pytest.mark.slow
def test_an_error_in_several_processes_is_one_line_and_a_status(capfd):
    with pytest.raises(SystemExit) as caught:
        launch(fail, (), LaunchPlan(processes=2, device="cpu"))
    assert caught.value.code == 2
    error = capfd.readouterr().err
    assert "error: no such video: a.mp4" in error
    assert "Traceback" not in error


def test_wrong_bf16_gradients_are_not_trained_with(monkeypatch, caplog):
    for sound, auto in ((True, torch.bfloat16), (False, None)):
        monkeypatch.setattr(device, "has_sound_bf16_gradients", lambda sound=sound: sound)
        caplog.clear()
        assert device.training_dtype(torch.bfloat16, "auto", "cpu") == auto
        assert device.training_dtype(torch.bfloat16, "bf16", "cpu") == torch.bfloat16
        assert device.training_dtype(None, "auto", "cpu") is None
        assert device.resolve_amp_dtype(True, "auto", "cpu") == torch.bfloat16  # forward passes
        told = [record.getMessage() for record in caplog.records]
        assert ["full precision" in text for text in told] == ([] if sound else [True, False])
