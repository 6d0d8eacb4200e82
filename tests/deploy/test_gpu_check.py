"""The GPU's checks run on the CPU, in small; without a GPU they say so in one line."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from slowfast.datasets.decode import open_video
from slowfast.deploy.benchmarks.gpu.compute import MODES
from slowfast.deploy.benchmarks.gpu.plan import CONFIGS, GpuPlan, plan_check
from slowfast.deploy.benchmarks.gpu.processes import WAYS
from slowfast.deploy.benchmarks.gpu.run import CHECKS, run_checks
from slowfast.deploy.benchmarks.playback import write_sample
from slowfast.utils.device import DeviceError

REPO = Path(__file__).parents[2]
ENV = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.mark.slow
def test_the_script_on_the_cpu(tmp_path):
    command = ["bash", "scripts/gpu_check.sh", "--device", "cpu", "--output", tmp_path / "a.json"]
    done = subprocess.run(command, cwd=REPO, env=ENV, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found == json.loads((tmp_path / "a.json").read_text())
    assert found["ok"]
    assert set(CHECKS) <= set(found)
    assert set(found["training"]["tiny"]) == set(MODES) - {"bf16 compiled"}
    assert set(found["processes"]["2 processes"]) == {*WAYS, "scaling"}
    assert found["parity"]["tiny"]["logits"] < 1e-6  # of the CPU with itself
    assert found["latency"]["tiny"]["f32 batch 2"]["p99_ms"] > 0
    assert found["overlap"]["steps"] == 2
    assert found["decoding"]["pyav"]["difference"] == 0
    assert found["decoding"]["torchcodec_cuda"] == {"skipped": "needs a GPU"}
    assert len(done.stderr.splitlines()) >= len(CHECKS)


@no_gpu
def test_without_a_gpu(tmp_path):
    done = subprocess.run(["bash", "scripts/gpu_check.sh"], cwd=REPO, env=ENV,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 3
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("no NVIDIA GPU to check: torch")
    with pytest.raises(DeviceError, match="--device cpu runs the same code"):
        plan_check("cuda")


@no_gpu
def test_nvdec_without_a_gpu(tmp_path):
    path = write_sample(tmp_path / "a.mp4", 4)
    with pytest.raises(DeviceError, match="torchcodec_cuda needs an NVIDIA GPU"):
        open_video(str(path), "torchcodec_cuda")


def test_one_failure_stops_no_other():
    def fail(plan):
        raise ValueError("no")

    checks = {"a": fail, "b": lambda plan: {"x": {"ok": False}}, "c": lambda plan: {"n": 1}}
    plan = plan_check("cpu")
    found = run_checks(plan, checks)
    assert found["failed"] == ["a", "b"]
    assert found["a"]["error"] == "ValueError: no"
    assert (found["c"]["n"], found["c"]["ok"], found["ok"]) == (1, True, False)
    late = replace(plan, began=time.perf_counter() - 1000)
    found = run_checks(late, checks)
    assert (found["skipped"], found["ok"]) == (["a", "b", "c"], False)


def test_the_networks_load():
    plan = GpuPlan()
    for name in CONFIGS:
        for options in [*MODES.values(), *WAYS.values()]:
            plan.config(str(REPO / name), options)
