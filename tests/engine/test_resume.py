"""Interrupted and resumed equals uninterrupted, bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from slowfast.checkpoint.io import last_checkpoint, list_checkpoints, read_checkpoint
from slowfast.engine import Hook
from slowfast.engine.run import build_training
from slowfast.engine.weights import ConfigMismatchError
from slowfast.utils.seed import rng_state, set_rng_state
from tests.engine import runs


@pytest.fixture(autouse=True)
def little_data(monkeypatch):
    kwargs = runs.dummy.DummyVideos.__init__.__kwdefaults__
    monkeypatch.setitem(kwargs, "num_videos", 18)


class KilledError(Exception):
    pass


class Kill(Hook):
    def __init__(self, step):
        self.step = step

    def after_batch(self, trainer, batch, output):
        if trainer.step == self.step:
            raise KilledError


def differences(a, b, where=""):
    """Paths at which two nested structures of tensors and plain values differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        found = [f"{where}.{key}: only in one" for key in a.keys() ^ b.keys()]
        return found + [d for key in a.keys() & b.keys() for d in
                        differences(a[key], b[key], f"{where}.{key}")]  # fmt: skip
    if isinstance(a, (list, tuple)) and len(a) == len(b):
        pairs = zip(a, b, strict=True)
        return [d for i, (x, y) in enumerate(pairs) for d in differences(x, y, f"{where}[{i}]")]
    if isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor):
        return [] if a.dtype == b.dtype and torch.equal(a, b) else [where]
    return [] if a == b or (a != a and b != b) else [f"{where}: {a} {b}"]


def final_state(output_dir, epoch=3):
    path = last_checkpoint(output_dir)
    assert path.name == f"checkpoint_epoch_{epoch:05d}.pyth"
    state = read_checkpoint(path)
    state.pop("cfg")  # holds OUTPUT_DIR
    return state


VARIANTS = {
    "plain": {},
    "everything": runs.everything(),
    "fp16": {"TRAIN__MIXED_PRECISION": True, "TRAIN__AMP_DTYPE": "fp16"},
    "bf16 adamw": {"TRAIN__MIXED_PRECISION": True, "SOLVER__OPTIMIZING_METHOD": "adamw"},
    "workers": {"DATA_LOADER__NUM_WORKERS": 2},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_resumed_equals_uninterrupted(tmp_path, name):
    options = VARIANTS[name]
    metrics = build_training(runs.config(tmp_path / "whole", **options)).run()
    for kill_at in (5, 11):  # in the middle of the second epoch, at the end of the third
        training = build_training(runs.config(tmp_path / "parts", **options))
        training.trainer.hooks.append(Kill(kill_at))
        with pytest.raises(KilledError):
            training.run()
    resumed = build_training(runs.config(tmp_path / "parts", **options))
    assert resumed.start_epoch == 2
    assert resumed.run() == metrics
    whole, parts = final_state(tmp_path / "whole"), final_state(tmp_path / "parts")
    assert differences(whole, parts) == []
    assert ("scaler_state" in whole) == (name == "fp16")
    assert len(whole["trainer_state"]["rng"]) == 1


def test_the_comparison_sees_a_difference(tmp_path):
    build_training(runs.config(tmp_path / "a")).run()
    build_training(runs.config(tmp_path / "b", RNG_SEED=2)).run()
    found = differences(final_state(tmp_path / "a"), final_state(tmp_path / "b"))
    assert any("optimizer_state" in where for where in found)
    assert any("rng" in where for where in found)


def test_a_finished_run_has_nothing_left_to_do(tmp_path):
    build_training(runs.config(tmp_path)).run()
    before = final_state(tmp_path)
    again = build_training(runs.config(tmp_path))
    assert again.start_epoch == 3
    assert "best_epoch" in again.run()
    assert differences(before, final_state(tmp_path)) == []


def test_a_damaged_newest_file_is_passed_over(tmp_path, caplog):
    build_training(runs.config(tmp_path)).run()
    expected = final_state(tmp_path)
    newest = last_checkpoint(tmp_path)
    newest.write_bytes(newest.read_bytes()[:1000])
    training = build_training(runs.config(tmp_path))
    assert training.start_epoch == 2
    assert "passing over an unreadable checkpoint" in caplog.text
    training.run()
    assert differences(expected, final_state(tmp_path)) == []


def test_another_network_is_refused(tmp_path):
    build_training(runs.config(tmp_path)).run()
    with pytest.raises(
        ConfigMismatchError, match=r"DATA\.SAMPLING_RATE: 8 in the checkpoint, 4 now"
    ):
        build_training(runs.config(tmp_path, DATA__SAMPLING_RATE=4))
    training = build_training(runs.config(tmp_path, SOLVER__BASE_LR=0.01, SOLVER__MAX_EPOCH=4))
    assert training.start_epoch == 3  # how it is trained may change


def test_without_auto_resume(tmp_path):
    build_training(runs.config(tmp_path)).run()
    assert build_training(runs.config(tmp_path, TRAIN__AUTO_RESUME=False)).start_epoch == 0


def test_a_file_of_pyslowfast_resumes_without_random_state(tmp_path, caplog):
    build_training(runs.config(tmp_path)).run()
    path = last_checkpoint(tmp_path)
    state = read_checkpoint(path)
    del state["trainer_state"]
    torch.save(state, path)
    assert build_training(runs.config(tmp_path, SOLVER__MAX_EPOCH=4)).start_epoch == 3
    assert "has no trainer_state" in caplog.text


def test_rng_state_round_trip():
    import numpy as np

    def draw():
        return random.random(), np.random.rand(), np.random.randn(), torch.rand(2).tolist()

    draw()
    state = rng_state()
    first = draw()
    set_rng_state(state)
    assert draw() == first


def program(output_dir):
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.engine.runs", str(output_dir)]
    return subprocess.Popen(command, cwd=root, env=env, stderr=subprocess.PIPE)


@pytest.mark.slow
def test_survives_kill_9_at_random_moments(tmp_path):
    """Kills three times, each time at a random moment around a checkpoint's writing."""
    chance = random.Random(0)
    whole = program(tmp_path / "whole")
    whole.communicate()
    assert whole.returncode == 0
    for kills in range(3):
        process = program(tmp_path / "parts")
        while process.poll() is None and len(list_checkpoints(tmp_path / "parts")) < kills:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.1)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    last = program(tmp_path / "parts")
    _, errors = last.communicate()
    assert last.returncode == 0, errors.decode()
    assert differences(final_state(tmp_path / "whole"), final_state(tmp_path / "parts")) == []
