import os
import pickle
from pathlib import Path

import pytest
import torch

from slowfast.checkpoint.io import (
    CheckpointError,
    last_checkpoint,
    list_checkpoints,
    prune_checkpoints,
    read_checkpoint,
    read_last_checkpoint,
    write_checkpoint,
)
from slowfast.utils.files import WriteError


@pytest.fixture
def write(tiny, tmp_path):
    optimizer = torch.optim.SGD(tiny.parameters(), 0.1)

    def run(*epochs, **options):
        for epoch in epochs:
            path = write_checkpoint(
                tmp_path, epoch=epoch, model=tiny, optimizer=optimizer, cfg_yaml="{}", **options
            )
        return path

    return run


def test_file_name_and_keys_are_pyslowfasts(write, tmp_path, tiny):
    path = write(0, 9)
    assert last_checkpoint(tmp_path) == path
    assert path == tmp_path / "checkpoints" / "checkpoint_epoch_00010.pyth"
    state = read_checkpoint(path)
    assert set(state) == {"epoch", "model_state", "optimizer_state", "cfg"}
    assert state["epoch"] == 9
    for name, value in tiny.state_dict().items():
        assert torch.equal(state["model_state"][name], value)


def test_task_prefix(write, tmp_path):
    path = write(3, task="ssl")
    assert path.name == "ssl_checkpoint_epoch_00004.pyth"
    assert last_checkpoint(tmp_path) is None
    assert last_checkpoint(tmp_path, "ssl") == path


def test_newest_by_number_not_by_name(write, tmp_path):
    write(99998, 99999)
    assert last_checkpoint(tmp_path).name == "checkpoint_epoch_100000.pyth"


def test_nothing_to_resume_from(tmp_path):
    assert last_checkpoint(tmp_path) is None
    assert read_last_checkpoint(tmp_path) is None


def test_other_files_are_not_checkpoints(write, tmp_path):
    path = write(0)
    for name in ("best.pyth", "checkpoint_epoch_00009.pyth.tmp", "checkpoint_epoch_x.pyth"):
        (path.parent / name).write_bytes(b"")
    assert list_checkpoints(tmp_path) == [path]


def test_an_interrupted_write_leaves_the_old_file(write, monkeypatch):
    path = write(0)
    before = path.read_bytes()

    def killed(state, file):
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", killed)
    with pytest.raises(WriteError, match=r"cannot write .*no space"):
        write(0)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_the_bytes_are_on_disk_before_the_name(write, monkeypatch):
    events = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(
        Path, "replace", lambda self, other: (events.append("rename"), replace(self, other))[1]
    )
    write(0)
    assert events == ["fsync", "rename", "fsync"]


def test_missing_file(write, tmp_path):
    path = write(0)
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*nope.*also has checkpoint_"):
        read_checkpoint(path.with_name("nope.pyth"))
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        read_checkpoint(tmp_path / "nowhere" / "nope.pyth")


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.999])
def test_truncated_at_any_length(write, share):
    write(0)
    path = write(1)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(CheckpointError, match=r"00002\.pyth .*damaged.*also has .*00001\.pyth"):
        read_checkpoint(path)


def test_one_flipped_bit(write):
    path = write(0)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"damaged: wrong checksum|damaged: .*cut short"):
        read_checkpoint(path)


class Evil:
    def __reduce__(self):
        return (os.system, ("touch /tmp/slowfast_evil",))


@pytest.mark.parametrize("how", ["torch", "pickle", "whole model"])
def test_foreign_objects_are_refused(tmp_path, how, tiny):
    path = tmp_path / "foreign.pyth"
    if how == "pickle":
        path.write_bytes(pickle.dumps({"model_state": Evil()}))
    else:
        torch.save({"model_state": Evil() if how == "torch" else tiny}, path)
    with pytest.raises(CheckpointError, match=r"foreign\.pyth holds Python objects.*refused"):
        read_checkpoint(path)
    assert not os.path.exists("/tmp/slowfast_evil")


def test_not_a_dictionary(tmp_path):
    torch.save(torch.zeros(2), tmp_path / "tensor.pyth")
    with pytest.raises(CheckpointError, match="holds a Tensor"):
        read_checkpoint(tmp_path / "tensor.pyth")


def test_falls_back_over_damaged_files(write, tmp_path, caplog):
    good = write(0)
    for epoch in (1, 2):
        path = write(epoch)
        path.write_bytes(path.read_bytes()[:100])
    found, state = read_last_checkpoint(tmp_path)
    assert found == good
    assert state["epoch"] == 0
    assert caplog.text.count("passing over an unreadable checkpoint") == 2
    names = "checkpoint_epoch_00003.pyth, checkpoint_epoch_00002.pyth"
    assert f"falling back to {good} instead of {names}" in caplog.text
    good.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"none of the 3 .*AUTO_RESUME"):
        read_last_checkpoint(tmp_path)


def test_pruning_keeps_the_newest_and_the_best(write, tmp_path):
    best = write(0).with_name("best.pyth")
    best.write_bytes(b"best")
    write(1, 2, 3)
    assert prune_checkpoints(tmp_path, 0) == []
    assert len(prune_checkpoints(tmp_path, 2)) == 2
    assert [p.name for p in list_checkpoints(tmp_path)] == [
        "checkpoint_epoch_00003.pyth",
        "checkpoint_epoch_00004.pyth",
    ]
    assert best.exists()
