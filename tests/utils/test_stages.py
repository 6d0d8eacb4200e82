import logging
import sys

import pytest

from slowfast.utils.stages import Stage, StageError, describe_files, run_stages

WRITE = """
import pathlib, sys
p = pathlib.Path(sys.argv[1])
p.write_text((p.read_text() if p.exists() else "") + sys.argv[2])
print("wrote", sys.argv[2])
"""


def stage(out, name, text, *, code=WRITE, **options):
    """A stage that appends ``text`` to ``out/name/file``."""
    file = out / name / "file"
    return Stage(name, [sys.executable, "-c", code, str(file), text], out / name, [file], **options)


def chain(out, data="d", train="t", inputs=""):
    return [
        stage(out, "data", data),
        stage(out, "train", train, needs=["data"], inputs=inputs),
        stage(out, "test", "x", needs=["train"]),
    ]


ALL = ["data", "train", "test"]


@pytest.fixture
def ran(caplog):
    """Runs a chain; the names of the stages that ran."""
    caplog.set_level(logging.INFO)

    def run(stages, out, chosen=ALL, **options):
        caplog.clear()
        run_stages(stages, out, chosen=chosen, **options)
        lines = [r.getMessage() for r in caplog.records]
        return [line.split(":")[0] for line in lines if ": done in" in line]

    return run


def content(out):
    return [(out / name / "file").read_text() for name in ALL]


def test_a_second_run_runs_nothing(ran, tmp_path):
    assert ran(chain(tmp_path), tmp_path) == ALL
    assert ran(chain(tmp_path), tmp_path) == []
    assert content(tmp_path) == ["d", "t", "x"]
    assert (tmp_path / "logs" / "train.log").read_text() == "wrote t\n"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"data": "d2"}, ALL),
        ({"train": "t2"}, ["train", "test"]),
        ({"inputs": "LR 0.1"}, ["train", "test"]),
    ],
)
def test_a_change_runs_its_stage_and_all_that_build_on_it(ran, tmp_path, change, expected):
    ran(chain(tmp_path), tmp_path)
    assert ran(chain(tmp_path, **change), tmp_path) == expected
    # Emptied first: nothing of the old run is left (the stages append to their file).
    assert content(tmp_path) == [change.get("data", "d"), change.get("train", "t"), "x"]


def test_a_lost_output_is_made_again(ran, tmp_path):
    ran(chain(tmp_path), tmp_path)
    (tmp_path / "test" / "file").unlink()
    assert ran(chain(tmp_path), tmp_path) == ["test"]


def test_force_runs_the_chosen_stage_and_makes_later_ones_stale(ran, tmp_path):
    ran(chain(tmp_path), tmp_path)
    assert ran(chain(tmp_path), tmp_path, ["train"], force=True) == ["train"]
    assert ran(chain(tmp_path), tmp_path) == ["test"]
    assert content(tmp_path) == ["d", "t", "x"]


def test_an_interrupted_stage_goes_on_from_what_it_wrote(ran, tmp_path):
    code = WRITE + "sys.exit(0 if p.read_text() == 'tt' else 3)"
    stages = chain(tmp_path)
    stages[1] = stage(tmp_path, "train", "t", code=code, needs=["data"])
    with pytest.raises(
        StageError, match=r"'train' failed \(exit status 3\).*train\.log.*run it alone: .*python"
    ):
        ran(stages, tmp_path)
    assert ran(stages, tmp_path) == ["train", "test"]
    assert content(tmp_path) == ["d", "tt", "x"]


def test_after_a_failure_the_rest_that_does_not_need_it_still_runs(ran, tmp_path):
    stages = chain(tmp_path)
    stages[1] = stage(tmp_path, "train", "t", code="sys.exit(3)", needs=["data"])
    stages += [
        stage(tmp_path, "other", "o", needs=["data"]),
        stage(tmp_path, "report", "r", tells=["train", "test", "other"]),
    ]
    chosen = [s.name for s in stages]
    with pytest.raises(StageError, match=r"train: .*exit status.*test: not run: it needs 'train'"):
        ran(stages, tmp_path, chosen)
    assert (tmp_path / "other" / "file").read_text() == "o"
    stages[1] = chain(tmp_path)[1]
    assert ran(stages, tmp_path, chosen) == ["train", "test", "report"]
    assert ran(stages, tmp_path, chosen) == []


def test_a_command_that_does_not_write_its_output_failed(tmp_path):
    stages = [stage(tmp_path, "data", "d", code="pass")]
    with pytest.raises(StageError, match=r"no .*data/file"):
        run_stages(stages, tmp_path, chosen=["data"])


def test_dry_run_writes_nothing_but_shows_all_commands(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    run_stages(chain(tmp_path), tmp_path, chosen=ALL, dry_run=True)
    assert list(tmp_path.iterdir()) == []
    assert [r.getMessage().split(":")[0] for r in caplog.records] == [
        "[1/3] data",
        "[2/3] train",
        "[3/3] test",
    ]


def test_a_needed_stage_must_have_run_with_these_settings(ran, tmp_path):
    with pytest.raises(StageError, match=r"'test' needs 'train'.*--stages train test"):
        ran(chain(tmp_path), tmp_path, ["test"])
    ran(chain(tmp_path), tmp_path)
    with pytest.raises(StageError, match="'test' needs 'train'"):
        ran(chain(tmp_path, train="other"), tmp_path, ["test"])


def test_unknown_stages_are_named(tmp_path):
    with pytest.raises(StageError, match="'tset'; the stages are: data, train, test"):
        run_stages(chain(tmp_path), tmp_path, chosen=["tset"])


def test_files_of_the_user_are_not_overwritten(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine").touch()
    with pytest.raises(StageError, match="did not write"):
        run_stages(chain(tmp_path), tmp_path, chosen=["data"])
    assert (tmp_path / "data" / "mine").exists()


def test_describe_files_sees_an_edit(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("a 0")
    before = describe_files([path])
    path.write_text("a 01")
    assert describe_files([path]) != before


@pytest.mark.parametrize("text", ["", "{", "[1]", "\0" * 40])
def test_a_damaged_note_is_a_run_that_is_not_done(tmp_path, ran, caplog, text):
    ran(chain(tmp_path), tmp_path)
    (note,) = tmp_path.rglob("train.json")
    note.write_text(text)
    assert ran(chain(tmp_path), tmp_path) == ["train", "test"]
    assert "train.json is damaged: train runs again" in caplog.text
    assert (tmp_path / "train/file").read_text() == "t"
