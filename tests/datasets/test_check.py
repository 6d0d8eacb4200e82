"""Each kind of fault is planted once, and found: nothing else is."""

import os
import runpy
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slowfast.config import load_cfg
from slowfast.datasets.annotations import AnnotationError
from slowfast.datasets.bad_list import leave_out, read_bad_list, write_bad_list
from slowfast.datasets.base import UNLABELLED, ClipRecord, open_record
from slowfast.datasets.check import lists
from slowfast.datasets.check.files import FileCheck, FileJob, content_digest
from slowfast.datasets.check.problems import KINDS
from slowfast.datasets.check.scan import Checker, build_checker
from slowfast.reports import data_check
from tests.videos import B_FRAMES, SHARED_CLIPS, write_video

TOOL = Path(__file__).parents[2] / "tools" / "check_data.py"
check_file = partial(FileCheck, open_record, num_frames=4, stride=2)


def check(path, *, deep=False, **bounds):
    record = ClipRecord(str(path), 0, "train.csv:1", **bounds)
    return check_file(deep=deep)(FileJob(str(path), (("train", record),)))


def kinds(problems):
    return [problem.kind for problem in problems]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("good") / "a.mp4", 40, options=B_FRAMES)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts", "b.mp4"])
def test_a_good_file_has_no_problems(tmp_path, name, deep):
    sound = {"audio": True} if name == "b.mp4" else {}
    assert check(write_video(tmp_path / name, 40, options=B_FRAMES, **sound), deep=deep) == []


@pytest.mark.skipif(not SHARED_CLIPS.is_dir(), reason="no shared clips here")
def test_real_clips_have_no_problems():
    paths = [*SHARED_CLIPS.glob("*.mp4"), *SHARED_CLIPS.glob("*.avi")]
    assert len(paths) >= 8
    assert [found for path in paths for found in check(path, deep=True)] == []


def cut(source, target, share):
    data = Path(source).read_bytes()
    Path(target).write_bytes(data[: int(len(data) * share)])
    return target


@pytest.mark.parametrize("b_frames", [0, 3])
def test_zero_duration(tmp_path, b_frames):
    """An MP4 whose table of times gives every frame none."""
    path = Path(write_video(tmp_path / "a.mp4", 20, options={"g": "5", "bf": str(b_frames)}))
    data = bytearray(path.read_bytes())
    for box in (b"stts", b"ctts"):
        place = data.find(box)
        entries = int.from_bytes(data[place + 8 : place + 12], "big") if place > 0 else 0
        for first in range(place + 12, place + 12 + 8 * entries, 8):
            data[first + 4 : first + 8] = bytes(4)
    path.write_bytes(data)
    (found,) = check(path)
    assert (found.kind, found.loads) == ("empty", False)
    assert "all" in found.detail
    assert "at the same time" in found.detail


def test_missing_empty_and_not_a_video(tmp_path):
    assert kinds(check(tmp_path / "a.mp4")) == ["missing"]
    (tmp_path / "a.mp4").touch()
    assert kinds(check(tmp_path / "a.mp4")) == ["empty"]
    (tmp_path / "a.mp4").write_bytes(b"<html>not found</html>" * 40)
    (found,) = check(tmp_path / "a.mp4")
    assert (found.kind, found.loads) == ("unreadable", False)


@pytest.mark.parametrize("name", ["a.mp4", "fast.mp4", "a.avi", "a.mkv"])
def test_truncated(tmp_path, name):
    fast = {"movflags": "faststart"} if name == "fast.mp4" else None
    whole = write_video(
        tmp_path / f"whole{name}", 120, options={"g": "12"}, size=(128, 96), container_options=fast
    )
    found = kinds(check(cut(whole, tmp_path / name, 0.5)))
    assert ("truncated" in found) or (name == "a.avi" and "frame_count" in found), found


def test_damage_in_the_middle_needs_the_deep_check(tmp_path):
    path = Path(write_video(tmp_path / "a.mp4", 60, options={"g": "12"}, size=(128, 96)))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 600] = bytes(600)
    path.write_bytes(data)
    assert check(path) == []
    assert kinds(check(path, deep=True)) == ["unreadable"]


def test_too_short_and_segments(good):
    found = check(good, start_s=0.2, end_s=0.3)
    assert kinds(found) == ["too_short"]
    assert "3 frames, a clip spans 8" in found[0].detail
    job = FileJob(good, (("train", ClipRecord(good, 0, "", start_s=0.2, end_s=0.4)),))
    assert check_file(mode="segment")(job) == []
    assert kinds(check(good, start_s=0.5, end_s=1.33)) == []
    assert kinds(check(good, start_s=0.5, end_s=1.4)) == []  # within two frames of the end
    (beyond,) = check(good, start_s=0.5, end_s=3.0)
    assert (beyond.kind, beyond.loads) == ("segment", True)
    assert "ends at 3.00 s, the video at 1.33 s" in beyond.detail
    (after,) = check(good, start_s=2.0, end_s=3.0, name="seg_7")
    assert (after.kind, after.name, after.loads) == ("segment", "seg_7", False)
    assert "segment" in kinds(check(good, start_s=0.8, end_s=0.2))


def test_wrong_frame_count(good, tmp_path):
    """An AVI whose header claims more frames than the file holds."""
    path = Path(write_video(tmp_path / "a.avi", 30, codec="mpeg4", options={"g": "12"}))
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"avih", 8 + 16), (b"strh", 8 + 32)):
        place = data.index(mark) + offset
        assert int.from_bytes(data[place : place + 4], "little") == 30
        data[place : place + 4] = (45).to_bytes(4, "little")
    path.write_bytes(data)
    found = check(path)
    assert "frame_count" in kinds(found)
    assert any("claims 45 frames, there are 30" in problem.detail for problem in found)


def test_frame_folders(tmp_path):
    for number in [*range(1, 11), *range(14, 21)]:
        Image.new("RGB", (32, 24)).save(tmp_path / f"{number:05d}.jpg")
    path = tmp_path / "{:05d}.jpg"
    assert check(path, start_frame=1, end_frame=10) == []
    (missing,) = check(path, start_frame=8, end_frame=17)
    assert (missing.kind, missing.loads) == ("missing", False)
    assert "3 of its 10 images are not there, first 11" in missing.detail
    assert kinds(check(path, start_frame=18, end_frame=40)) == ["segment"]
    assert kinds(check(tmp_path / "none" / "{:05d}.jpg", start_frame=1, end_frame=2)) == ["missing"]
    (tmp_path / "00005.jpg").write_bytes(b"broken")
    assert check(path, start_frame=1, end_frame=10) == []
    (broken,) = check(path, deep=True, start_frame=1, end_frame=10)
    assert (broken.kind, "00005.jpg" in broken.detail) == ("unreadable", True)


def test_truncated_images_and_a_wrong_number_of_them(tmp_path):
    for number in range(1, 11):
        noise = np.random.default_rng(number).integers(0, 255, (24, 32, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number:05d}.jpg")
    path = tmp_path / "{:05d}.jpg"
    assert check(path, start_frame=1, end_frame=10, claimed_frames=10) == []
    (wrong,) = check(path, start_frame=1, end_frame=10, claimed_frames=12)
    assert (wrong.kind, wrong.loads) == ("frame_count", True)
    assert "claims 12 images, there are 10" in wrong.detail
    cut(tmp_path / "00010.jpg", tmp_path / "00010.jpg", 0.6)
    assert kinds(check(path, start_frame=1, end_frame=10)) == ["unreadable"]
    (tmp_path / "00010.jpg").write_bytes(b"")
    assert kinds(check(path, start_frame=1, end_frame=10)) == ["empty"]


def record(path, label=0, **rest):
    return ClipRecord(path, label, f"list:{path}", **rest)


def test_labels_duplicates_overlaps():
    train = [record("a", 1), record("b", 7), record("c"), record("c", 1)]
    splits = {"train": train, "val": [record("b"), record("d", -1)]}
    wrong = list(lists.wrong_labels(splits, {"action": 7}))
    assert [(p.path, p.split) for p in wrong] == [("b", "train"), ("d", "val")]
    unknown = {"test": [record("e", UNLABELLED)]}  # a challenge's: nothing wrong, no class
    assert not list(lists.wrong_labels(unknown, {"action": 7}))
    assert lists.count_classes(unknown, ["action"]) == {"action": {"test": {}}}
    assert "action 7, the model's classes are 0 to 6" in wrong[0].detail
    assert [(p.path, p.detail) for p in lists.duplicates(splits)] == [
        ("c", "also list:c, another label")
    ]
    assert [(p.path, p.split) for p in lists.overlaps(splits)] == [("b", "train, val")]


def test_labels_that_count_from_one():
    splits = {"train": [record("a", 1), record("b", 2)], "val": [record("c", 2)]}
    for wrong in lists.wrong_labels(splits, {"action": 2}):
        assert wrong.detail.endswith("no label is 0: do they count from 1?")
    splits["val"].append(record("d", 0))
    assert not any("from 1" in p.detail for p in lists.wrong_labels(splits, {"action": 2}))


def test_segments_of_one_video_overlap_only_where_they_share_moments():
    parts = {
        "train": [record("v", start_s=0, end_s=5), record("v", start_s=9, end_s=12)],
        "val": [record("v", start_s=5, end_s=9)],
        "test": [record("v", start_s=4.5, end_s=5.5)],
    }
    assert [p.split for p in lists.overlaps(parts)] == ["train, test", "val, test"]
    frames = {
        "train": [record("f", start_frame=1, end_frame=10)],
        "val": [record("f", start_frame=10, end_frame=12)],
        "test": [record("f", start_frame=13, end_frame=20)],
    }
    assert [p.split for p in lists.overlaps(frames)] == ["train, val"]


def test_a_split_that_repeats_another_is_no_overlap():
    same = [record("a"), record("b")]
    checker = Checker({"train": [record("c")], "val": same, "test": list(same)}, None, {})
    assert lists.same_lists(checker.splits) == {"test": "val"}


def test_labels_of_several_tasks():
    splits = {"train": [record("a", {"verb": 2, "noun": 9}), record("b", {"verb": 5, "noun": 1})]}
    (wrong,) = lists.wrong_labels(splits, {"verb": 4, "noun": 10})
    assert "verb 5" in wrong.detail
    counts = lists.count_classes(splits, ["verb", "noun"])
    assert counts["noun"]["train"] == {9: 1, 1: 1}
    multi = list(lists.by_task((1, 3), ["action"]))
    assert multi == [("action", 1), ("action", 3)]


def test_bad_list_round_trip(tmp_path, caplog):
    path = tmp_path / "bad.txt"
    write_bad_list(path, [("/d/a b.mp4", "empty: 0\nbytes"), ("seg_1", "segment: x")])
    assert read_bad_list(path) == {"/d/a b.mp4", "seg_1"}
    assert path.read_text().splitlines()[0] == "# empty: 0 bytes"
    records = [record("/d/a b.mp4"), record("/d/c.mp4"), record("/d/c.mp4", name="seg_1")]
    assert leave_out(records, path) == [records[1]]
    assert "2 of 3 videos left out" in caplog.text
    assert leave_out(records, "") == records
    with pytest.raises(AnnotationError, match=r"no\.txt: no such file; tools/check_data"):
        leave_out(records, tmp_path / "no.txt")
    with pytest.raises(AnnotationError, match="names all 1 videos"):
        leave_out(records[:1], path)


@pytest.fixture
def dataset(tmp_path, good):
    """Kinetics lists with one fault of several kinds."""
    root = tmp_path / "data"
    root.mkdir()
    for name in ("a", "b", "c", "d"):
        write_video(root / f"{name}.mp4", 40 + ord(name), options=B_FRAMES)
    cut(root / "c.mp4", root / "cut.mp4", 0.7)
    shutil.copy(root / "a.mp4", root / "copy_of_a.mp4")
    (root / "zero.mp4").touch()
    rows = ["a.mp4 0", "b.mp4 1", "c.mp4 9", "cut.mp4 0", "zero.mp4 1", "gone.mp4 1", "b.mp4 1"]
    (root / "train.csv").write_text("\n".join(rows))
    (root / "val.csv").write_text("copy_of_a.mp4 0\nd.mp4 1\nb.mp4 1")
    return root


def overrides(root):
    return [
        *("DATA.PATH_TO_DATA_DIR", str(root), "TRAIN.DATASET", "kinetics"),
        *("TEST.DATASET", "kinetics", "MODEL.NUM_CLASSES", "2"),
        *("DATA.NUM_FRAMES", "8", "DATA.SAMPLING_RATE", "1", "PROGRESS", "none"),
    ]


EXPECTED = {
    ("truncated", "cut.mp4"), ("empty", "zero.mp4"), ("missing", "gone.mp4"),
    ("label", "c.mp4"), ("duplicate", "b.mp4"), ("overlap", "b.mp4"), ("overlap", "copy_of_a.mp4"),
}  # fmt: skip


def test_whole_dataset(dataset):
    cfg = load_cfg((), overrides(dataset))
    result = build_checker(cfg, ["train", "val", "test"], content=True).run(
        workers=0, progress="none"
    )
    found = {(problem.kind, os.path.basename(problem.path)) for problem in result.problems}
    assert found == EXPECTED
    assert result.records == {"train": 7, "val": 3, "test": 3}
    assert result.same == {"test": "val"}
    bad = {os.path.basename(path) for path, _ in result.bad_videos()}
    assert bad == {"cut.mp4", "zero.mp4", "gone.mp4"}
    assert set(result.counts()) <= set(KINDS)
    assert result.classes["action"]["train"] == {0: 2, 1: 4, 9: 1}


@pytest.mark.slow
def test_tool(dataset, tmp_path, capsys):
    main = runpy.run_path(str(TOOL))["main"]
    out = tmp_path / "out"
    words = [*overrides(dataset), "--output_dir", str(out), "--workers", "2", "--content"]
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 1
    shown = capsys.readouterr().out
    assert "8 problems" not in shown
    assert "7 problems" in shown
    assert (out / "classes.png").read_bytes()[:4] == b"\x89PNG"
    assert (out / "problems.csv").read_text().count("\n") == 8
    # What the list leaves behind is clean but for what loading can live with.
    records = build_checker(load_cfg((), overrides(dataset)), ["train"]).splits["train"]
    assert len(leave_out(records, out / "bad_videos.txt")) == 4
    allowed = ["truncated", "empty", "missing", "label", "duplicate", "overlap"]
    with pytest.raises(SystemExit) as stop:
        main([*overrides(dataset), "--output_dir", str(out), "--workers", "0", "--allow", *allowed])
    assert stop.value.code == 0


def test_lists_that_cannot_be_read_are_a_problem(tmp_path):
    cfg = load_cfg((), overrides(tmp_path))
    result = build_checker(cfg, ["train"]).run(workers=0, progress="none")
    assert kinds(result.problems) == ["annotation"]
    assert result.bad_videos() == []
    assert data_check.problem_table(result).rows[0][2] == 1


def test_content_digest_of_a_folder(tmp_path):
    for folder, colour in (("a", "red"), ("b", "red"), ("c", "blue")):
        (tmp_path / folder).mkdir()
        for number in range(1, 6):
            Image.new("RGB", (16, 16), colour).save(tmp_path / folder / f"{number:05d}.png")
    one, two, three = (content_digest(str(tmp_path / f / "{:05d}.png")) for f in "abc")
    assert one == two != three
    assert content_digest(str(tmp_path / "d" / "{:05d}.png")) == ""
