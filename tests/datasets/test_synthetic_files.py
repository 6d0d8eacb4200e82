"""The synthetic dataset on disk: layout, determinism, interruption, foreign files."""

import csv
import json
import runpy
from collections import Counter
from pathlib import Path

import pytest

from slowfast.datasets.synthetic import (
    ACTIONS,
    OutputDirError,
    SyntheticOptions,
    list_clips,
    make_synthetic,
    timeline,
)

OPTIONS = SyntheticOptions(
    num_clips=20, num_frames=8, size=32, split_ratio=(0.5, 0.25, 0.25), difficulty=0.3
)
TOOL = Path(__file__).parents[2] / "tools/make_synthetic.py"


def contents(root):
    return {
        str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()
    }


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_synthetic(tmp_path_factory.mktemp("data") / "synthetic", OPTIONS)


def test_kinetics_lists(dataset):
    for split, count in (("train", 10), ("val", 5), ("test", 5)):
        rows = [line.split(" ") for line in (dataset / f"{split}.csv").read_text().splitlines()]
        assert len(rows) == count
        for path, label in rows:
            assert (dataset / path).is_file()
            assert Path(path).parts[:3] == ("videos", split, ACTIONS[int(label)].name)
    assert len(list(dataset.rglob("*.mp4"))) == 20
    assert not list(dataset.rglob("*.part"))


def test_label_tables(dataset):
    names = json.loads((dataset / "class_names.json").read_text())
    assert names == {action.name: k for k, action in enumerate(ACTIONS)}
    assert len(json.loads((dataset / "verb_names.json").read_text())) == 12
    assert len(json.loads((dataset / "object_names.json").read_text())) == 20
    with (dataset / "actions.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 61
    assert all(row["action"] == f"{row['verb']}_{row['object']}" for row in table)
    with (dataset / "clips.csv").open() as file:
        clips = list(csv.DictReader(file))
    assert Counter(row["split"] for row in clips) == {"train": 10, "val": 5, "test": 5}


def test_kinetics_loader_reads_it(dataset):
    from slowfast.datasets.kinetics import Kinetics

    records = Kinetics(dataset, [61]).records("test")
    assert [record.labels for record in records] == [
        spec.action for spec in list_clips(OPTIONS) if spec.split == "test"
    ]


def test_a_clip_knows_its_number_of_frames(dataset):
    import av

    with av.open(str(next(dataset.rglob("*.mp4")))) as container:
        stream = container.streams.video[0]
        assert (stream.frames, stream.width, stream.height) == (8, 32, 32)


def test_every_file_is_in_the_manifest(dataset):
    manifest = json.loads((dataset / "manifest.json").read_text())
    assert sorted([*manifest["files"], "manifest.json"]) == list(contents(dataset))


@pytest.mark.slow
def test_workers_do_not_change_a_byte(dataset, tmp_path):
    calls = []
    root = make_synthetic(
        tmp_path / "parallel", OPTIONS, workers=2, progress=lambda *call: calls.append(call)
    )
    assert contents(root) == contents(dataset)
    assert calls[-1] == (20, 20)


def test_a_finished_dataset_is_left_alone(dataset):
    before = {path: path.stat().st_mtime_ns for path in dataset.rglob("*")}
    make_synthetic(dataset, OPTIONS)
    assert before == {path: path.stat().st_mtime_ns for path in dataset.rglob("*")}


def test_a_lost_clip_is_rendered_again(tmp_path):
    root = make_synthetic(tmp_path / "d", OPTIONS)
    whole = contents(root)
    next(root.rglob("*.mp4")).unlink()
    assert contents(make_synthetic(root, OPTIONS)) == whole


class StopError(Exception):
    pass


def interrupted(root, options, monkeypatch, *, after=9):
    """A run that dies while it writes clip number ``after``."""
    count = 0
    real = timeline.render_clip

    def dying(*arguments):
        nonlocal count
        count += 1
        if count > after:
            raise StopError
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(timeline, "render_clip", dying)
        with pytest.raises(StopError):
            make_synthetic(root, options)
    return root


def test_an_interrupted_run_is_continued(dataset, tmp_path, monkeypatch):
    root = interrupted(tmp_path / "d", OPTIONS, monkeypatch)
    clips = {path: path.stat().st_mtime_ns for path in root.rglob("*.mp4")}
    assert len(clips) == 9
    assert not (root / "manifest.json").exists()
    make_synthetic(root, OPTIONS)
    assert contents(root) == contents(dataset)
    assert all(path.stat().st_mtime_ns == time for path, time in clips.items())


def test_other_options_clear_an_unfinished_run_but_nothing_else(dataset, tmp_path, monkeypatch):
    other = SyntheticOptions(num_clips=12, num_frames=8, size=32, seed=1)
    root = interrupted(tmp_path / "d", other, monkeypatch)
    (root / "notes.txt").write_text("mine")
    (root / "videos/mine.mp4").write_text("mine")
    make_synthetic(root, OPTIONS)
    kept = {"notes.txt": b"mine", "videos/mine.mp4": b"mine"}
    assert contents(root) == contents(dataset) | kept


def test_a_finished_dataset_is_replaced_only_on_request(tmp_path):
    old = SyntheticOptions(num_clips=3, num_frames=8, size=32)
    new = SyntheticOptions(num_clips=2, num_frames=8, size=32)
    root = make_synthetic(tmp_path / "d", old)
    with pytest.raises(OutputDirError, match=r"num_clips 3, asked for 2.*--overwrite"):
        make_synthetic(root, new)
    make_synthetic(root, new, overwrite=True)
    assert len(list(root.rglob("*.mp4"))) == 2


def test_a_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years")
    with pytest.raises(OutputDirError, match="not empty"):
        make_synthetic(tmp_path, OPTIONS, overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "years"


def test_a_manifest_cannot_point_outside(tmp_path):
    root = tmp_path / "d"
    root.mkdir()
    (tmp_path / "precious").write_text("x")
    record = {"fingerprint": "other", "files": ["../precious"], "options": {}}
    (root / "manifest.json").write_text(json.dumps(record))
    with pytest.raises(OutputDirError, match="outside"):
        make_synthetic(root, OPTIONS, overwrite=True)
    assert (tmp_path / "precious").exists()


def test_a_foreign_manifest_is_refused(tmp_path):
    (tmp_path / "manifest.json").write_text("[1]")
    with pytest.raises(OutputDirError, match="not a manifest"):
        make_synthetic(tmp_path, OPTIONS)


def test_unknown_layout_and_no_workers(tmp_path):
    with pytest.raises(ValueError, match=r"unknown layout 'imagenet'.*kinetics"):
        make_synthetic(tmp_path, SyntheticOptions(layout="imagenet"))
    with pytest.raises(ValueError, match="workers must be at least 1"):
        make_synthetic(tmp_path, OPTIONS, workers=0)


def test_tool(tmp_path, caplog, capsys):
    main = runpy.run_path(str(TOOL))["main"]
    arguments = ["--output_dir", str(tmp_path / "d"), "--num_clips", "3", "--frames", "8"]
    main([*arguments, "--size", "32", "--workers", "1"])
    assert len(list((tmp_path / "d").rglob("*.mp4"))) == 3
    with pytest.raises(SystemExit):
        main([*arguments, "--size", "33"])
    assert "size must be even" in capsys.readouterr().err
