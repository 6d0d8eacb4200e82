"""Core ML and ExecuTorch: written, and checked as far as this system can."""

from dataclasses import replace

import pytest

from slowfast.deploy.export.files import describe, export_files
from slowfast.deploy.export.info import ExportError, read_info
from slowfast.deploy.runtime import load_runtime
from slowfast.utils.errors import UserError
from tests.deploy.test_parity import small_network

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["SlowFast", "ResNetLSTM"])
def test_core_ml(name, tmp_path):
    coremltools = pytest.importorskip("coremltools")
    model, info = small_network(name)
    (found,) = export_files(model, info, tmp_path, "m", ["coreml"])
    assert found.path.name == "m.mlpackage"
    assert "NOT RUN: Core ML runs on Apple's systems" in describe(found)
    info = read_info(found.path)  # checksums of everything inside
    assert (info.batch, info.parity["executed"]) == (1, False)
    assert info.parity["operations"]["conv"] > 10
    assert any(file.endswith("weight.bin") for file in info.sha256)
    inputs = coremltools.models.MLModel(str(found.path), skip_model_load=True).get_spec()
    assert [entry.name for entry in inputs.description.input] == list(info.inputs)
    with pytest.raises(UserError, match="does not run here"):
        load_runtime(found.path)


def test_core_ml_replaces_what_was_there(tmp_path):
    pytest.importorskip("coremltools")
    model, info = small_network("TinyNet")
    for _ in range(2):
        (found,) = export_files(model, info, tmp_path, "m", ["coreml"])
        read_info(found.path)


def test_core_ml_takes_no_uint8_frames(tmp_path):
    pytest.importorskip("coremltools")
    model, info = small_network("TinyNet")
    with pytest.raises(ExportError, match="leave out --normalize_inside"):
        export_files(model, replace(info, normalized_inside=True), tmp_path, "m", ["coreml"])


def test_executorch_runs_networks_of_2d_operations(tmp_path):
    pytest.importorskip("executorch.exir")
    model, info = small_network("ResNetLSTM")
    (found,) = export_files(model, info, tmp_path, "m", ["executorch"], tolerance=1e-4)
    assert found.info.parity["executed"]
    assert found.info.parity["max_difference"] < 1e-4


def test_executorch_writes_the_others(tmp_path):
    """No kernel for 3-D convolutions: the description says that the file was not run."""
    pytest.importorskip("executorch.exir")
    model, info = small_network("TinyNet")
    (found,) = export_files(model, info, tmp_path, "m", ["executorch"])
    assert found.path.stat().st_size > 1000
    assert not found.info.parity["executed"]
    assert "NOT RUN: its kernels for CPUs lack an operation" in describe(found)
