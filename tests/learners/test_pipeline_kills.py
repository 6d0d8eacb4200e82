"""A pipeline that is killed again and again ends with what it ends with when it is left alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.quick import QuickPython
from tests.small import write_config, write_folders

REPO = Path(__file__).parents[2]
CHANGES = """
TINY: {WIDTH: 4}
DATA: {NUM_FRAMES: 8}
TEST: {NUM_ENSEMBLE_VIEWS: 1}
"""
PIPELINE = """
PIPELINE:
  STUDENT_CFG_FILE: student.yaml
  PRUNE: --prune_ratio 0.3 --finetune_epochs 1
  DISTILL: --loss kd
  QUANTIZE: --backend onnxruntime --calibration_clips 4
  FORMATS: [onnx]
  RUNTIME: onnx
"""


@pytest.fixture
def quick_python(tmp_path):
    python = QuickPython(tmp_path / "quick")
    yield python
    python.close()


@pytest.mark.slow
def test_ten_kills_change_nothing(quick_python, tmp_path):
    """One in each of ten stages, at a random moment of it; one in two leaves the stage alone."""
    data = write_folders(tmp_path / "videos")
    write_config(tmp_path / "student.yaml", data, CHANGES)
    config = write_config(tmp_path / "teacher.yaml", data, CHANGES + PIPELINE)
    words = ["--config", str(config), "--data_dir", str(data)]
    script = [sys.executable, str(REPO / "scripts/pipeline_kills.py")]
    options = ["--output_dir", str(tmp_path / "out"), "--python", str(quick_python.program)]
    done = subprocess.run(
        [*script, *options, "--kills", "10", "--", *words],
        cwd=REPO, capture_output=True, text=True, check=False, timeout=580,
        env=os.environ | {"PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    log = tmp_path / "out/pipeline.log"
    said = log.read_text()[-3000:] if log.exists() else ""
    assert done.returncode == 0, done.stdout + done.stderr + said
    lines = done.stdout.splitlines()
    assert lines[-2].startswith("10 kills; ")
    assert lines[-1] == "all the same"
    # The stages that were hit were hit: most were running, and none had to start over from nothing.
    assert sum("it was running" in line for line in lines) >= 5
    assert int(lines[-2].split()[2]) >= 12
