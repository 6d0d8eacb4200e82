"""In small what scripts/faults.py does fifty times: kills, damage, disks."""

import json
import runpy
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from tests.faults import forks, report
from tests.faults.damage import damage_often
from tests.faults.disks import Tmpfs, can_mount
from tests.faults.whole import faults, leftovers

linux = pytest.mark.skipif(not hasattr(forks.os, "fork"), reason="forks")


APART = """
import json, sys
from tests.faults import disks, forks, kills
forks.warm_up()
folder, *words = sys.argv[1:]
if words[0] == "disk":
    found = disks.fill_often(folder, 1, targets=("train", "export"))
else:
    found = kills.kill_often(folder, words[0], 2, seed=1)
print(json.dumps(found.as_dict()))
"""


def found_apart(folder, target):
    """What came of it, tried in a process of its own.

    This one has run other tests: libraries have threads here, which a fork lacks and waits for.
    """
    command = [sys.executable, "-c", APART, str(folder), target]
    ended = subprocess.run(
        command, cwd=forks.REPO, stdout=subprocess.PIPE, timeout=400, text=True, check=True
    )
    return SimpleNamespace(**json.loads(ended.stdout.splitlines()[-1]))


@linux
@pytest.mark.slow
@pytest.mark.parametrize("target", ["train", "test", "prune", "distil", "export"])
def test_killed_and_run_again(tmp_path, target):
    found = found_apart(tmp_path, target)
    assert found.problems == []
    assert found.kills == 2
    assert found.finished >= 2


@linux
@pytest.mark.slow
def test_where_nothing_can_be_written(tmp_path):
    found = found_apart(tmp_path, "disk")
    assert found.problems == []
    kinds = 3 if can_mount(tmp_path) else 1
    assert sum(found.tries.values()) == 2 * kinds
    assert found.finished == 2 * (2 if kinds == 3 else 1)


def test_damaged_checkpoints(tmp_path):
    found = damage_often(tmp_path, 150, large_mb=0)
    assert found.problems == []
    assert found.kills == {"flip": 150, "cut": 150}
    assert found.refused["cut"] == 150
    assert found.refused["flip"] > 100  # others hit the padding between the members


def test_half_files_are_seen(tmp_path):
    """The judge of the other tests: it finds a lost end, a wrong checksum, and what is unknown."""
    (tmp_path / "a.json").write_text('{"sha256": {"a.bin": "0"}}')
    (tmp_path / "a.bin").write_bytes(b"1")
    (tmp_path / "b.json").write_text('{"a": 1')
    (tmp_path / "c.npz").write_bytes(b"PK")
    (tmp_path / "d.odd").write_bytes(b"")
    (tmp_path / "e.pyth").write_bytes(b"PK")
    (tmp_path / "f.pyth.tmp").write_bytes(b"PK")
    (tmp_path / "stdout.log").write_bytes(b"half a li")
    assert [text.split()[0].strip(":") for text in faults(tmp_path)] == [
        *("a.json", "b.json", "c.npz", "d.odd", "e.pyth"),
    ]
    assert leftovers(tmp_path) == ["f.pyth.tmp"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("name", ["run_net", "prune", "distill", "quantize"])
def test_a_gpu_that_is_asked_for_and_not_there(name, tmp_path, capsys):
    words = ["DEVICE", "cuda", "OUTPUT_DIR", str(tmp_path / "out"), "DATA.DUMMY_LOAD", "True"]
    words += ["MODEL.MODEL_NAME", "TinyNet", "MODEL.ARCH", "tiny", "NUM_GPUS", "1"]
    path = tmp_path / "net.pyth"
    torch.save({"model_state": {}}, path)
    model = {"prune": ["--model_path", str(path)], "quantize": ["--model_path", str(path)],
             "distill": ["--teacher_model", str(path)]}  # fmt: skip
    with pytest.raises(SystemExit) as stop:
        forks.tool(f"{name}.py")([*model.get(name, []), *words])
    assert stop.value.code == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(errors) == 1


def test_tables(tmp_path):
    """What the scripts write between the markers of the page."""
    killed = {"seconds": 3.0, "kills": 50, "files": 300, "unfinished": 2, "finished": 18,
              "problems": []}  # fmt: skip
    results = report.add(tmp_path / "a.json", "train", killed)
    results = report.add(tmp_path / "a.json", "disk", {
        "tries": {"train full": 3, "train read-only": 1}, "files": 9, "finished": 3, "problems": []
    })  # fmt: skip
    text = report.table(results)
    assert "| train (3.0 s) | 50 | 300 | 2 | 17 | 0 |" in text
    assert "3 on a full tmpfs, 1 read-only; 9 files" in text
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- faults -->\nold\n<!-- /faults -->\nafter\n")
    report.update(page, "faults", text)
    assert page.read_text().startswith("before\n<!-- faults -->\n| run")
    assert "old" not in page.read_text()
    with pytest.raises(ValueError, match="no markers <!-- endurance -->"):
        report.update(page, "endurance", text)


def test_a_mount_is_undone(tmp_path):
    if not can_mount(tmp_path):
        pytest.skip("not permitted")
    with Tmpfs(tmp_path / "disk", 2**16) as disk:
        with pytest.raises(OSError, match="No space left"):
            (disk.folder / "a").write_bytes(bytes(2**17))
        disk.grow()
        (disk.folder / "a").write_bytes(bytes(2**17))
    assert not (tmp_path / "disk").exists()


def test_the_scripts_take_their_options():
    for name, words in (
        ("faults", "--target train disk --kills 3 --seed 1 --update"),
        ("endurance", "--target stream --steps 300"),
    ):
        script = runpy.run_path(str(forks.REPO / "scripts" / f"{name}.py"))
        args = script["parser"]().parse_args(words.split())
        assert args.output.name == f"{name}.json"
