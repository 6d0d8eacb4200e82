"""Importing a package stays cheap: heavy libraries load at the call that needs them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]
HEAVY = {
    "av", "cv2", "matplotlib", "onnxruntime", "pytorchvideo", "rich", "scipy", "sklearn",
    "tensorboard", "torch_pruning", "torchcodec", "torchvision",
}  # fmt: skip
PACKAGES = [
    "slowfast",
    *sorted(f"slowfast.{path.parent.name}" for path in (REPO / "slowfast").glob("*/__init__.py")),
]


def python(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=REPO, env=environment
    ).stdout


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_import_is_light_and_silent(package):
    loaded = python("-W", "error::UserWarning", "-c", f"import {package}, sys; print(*sys.modules)")
    assert loaded.count("\n") == 1, "prints at import"
    assert not HEAVY & set(loaded.split())


def test_there_are_packages_to_check():
    assert len(PACKAGES) > 8


def test_slowfast_and_its_config_do_not_load_torch():
    for package in ("slowfast", "slowfast.config"):
        assert "torch" not in python("-c", f"import {package}, sys; print(*sys.modules)").split()


def best_seconds(*arguments, runs=3):
    """The fastest of a few runs: others may use the machine meanwhile."""
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        python(*arguments)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def test_import_slowfast_takes_under_a_tenth_of_a_second():
    empty = best_seconds("-c", "pass")
    assert best_seconds("-c", "import slowfast") - empty < 0.1


def test_help_comes_within_two_seconds():
    assert best_seconds("tools/run_net.py", "--help") < 2
