"""Videos in class folders: classes, splits, and what happens when one is missing."""

from collections import Counter

import pytest

from slowfast.datasets.base import DataError, read_class_names
from slowfast.datasets.video_folder import VideoFolder, divide


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return root


def names(folder, split):
    return {record.name for record in folder.records(split)}


def test_split_folders(tmp_path):
    touch(
        tmp_path,
        *("Train/run/1.mp4", "Train/run/deep/2.AVI", "Train/eat it/3.mkv", "Train/run/.6.mp4"),
        *("Train/run/notes.txt", "Train/empty/readme.md", "validation/run/4.mp4"),
        "test/walk/5.mp4",
    )
    folder = VideoFolder(tmp_path, num_classes=3)
    assert folder.class_names == {"action": ["eat it", "run", "walk"]}
    assert names(folder, "train") == {
        "Train/run/1.mp4",
        "Train/run/deep/2.AVI",
        "Train/eat it/3.mkv",
    }
    assert [record.labels for record in folder.records("train")] == [0, 1, 1]
    assert [record.labels for record in folder.records("val")] == [1]
    assert [record.labels for record in folder.records("test")] == [2]


def test_missing_splits(tmp_path, caplog):
    folder = VideoFolder(touch(tmp_path, "train/a/1.mp4", "val/a/2.mp4"))
    assert names(folder, "test") == {"val/a/2.mp4"}
    assert "testing on the validation videos" in caplog.text
    with pytest.raises(DataError, match=r"no val videos \(\['train'\]\)"):
        VideoFolder(touch(tmp_path / "b", "train/a/1.mp4")).records("val")


def test_ratio(tmp_path):
    touch(tmp_path, *(f"{label}/{label}_{i}.mp4" for label in "abc" for i in range(20)))
    folder = VideoFolder(tmp_path, ratio=[0.7, 0.15, 0.15])
    splits = {split: folder.records(split) for split in ("train", "val", "test")}
    assert {split: len(records) for split, records in splits.items()} == {
        "train": 42,
        "val": 9,
        "test": 9,
    }
    paths = [record.path for records in splits.values() for record in records]
    assert len(set(paths)) == 60, "a video in two splits, or in none"
    for records in splits.values():
        assert len(set(Counter(record.labels for record in records).values())) == 1
    assert [r.path for r in VideoFolder(tmp_path).records("val")] == [r.path for r in splits["val"]]


def test_division_depends_on_names_alone(tmp_path):
    """Golden: the same files on any machine and for ever."""
    videos = [tmp_path / f"{i}.mp4" for i in range(10)]
    shares = divide(videos, [0.6, 0.2, 0.2])
    assert [[int(v.stem) for v in share] for share in shares] == GOLDEN
    moved = [video.parent / "elsewhere" / video.name for video in reversed(videos)]
    assert [[v.name for v in s] for s in divide(moved, [3, 1, 1])] == [
        [v.name for v in s] for s in shares
    ]


GOLDEN = [[0, 4, 5, 7, 8, 9], [2, 6], [1, 3]]


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(0, [0, 0, 0]), (1, [1, 0, 0]), (2, [1, 1, 0]), (3, [1, 1, 1]), (7, [5, 1, 1])],
)
def test_small_classes_fill_train_first(tmp_path, count, sizes):
    videos = [tmp_path / f"{i}.mp4" for i in range(count)]
    assert [len(share) for share in divide(videos, [0.7, 0.15, 0.15])] == sizes


def test_no_test_share(tmp_path):
    touch(tmp_path, *(f"a/{i}.mp4" for i in range(10)))
    folder = VideoFolder(tmp_path, ratio=[0.8, 0.2, 0])
    assert names(folder, "test") == names(folder, "val")


def test_errors_name_the_fix(tmp_path):
    touch(tmp_path, "a/1.mp4", "b/2.mp4")
    with pytest.raises(DataError, match=r"holds 2 classes \(a, b.*NUM_CLASSES is 400: set it to 2"):
        VideoFolder(tmp_path, num_classes=400)
    with pytest.raises(DataError, match="is not a folder"):
        VideoFolder(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no videos in folders named after their classes"):
        VideoFolder(touch(tmp_path / "c", "1.mp4"))
    with pytest.raises(DataError, match="SPLIT_RATIO"):
        VideoFolder(tmp_path, ratio=[1])


def test_files_of_class_names(tmp_path):
    (tmp_path / "names.json").write_text('{"ab": 1, "mi": 2, "zu": 0}')
    assert read_class_names(tmp_path / "names.json") == ["zu", "ab", "mi"]
    (tmp_path / "names.txt").write_text("zu\nab\n\n")
    assert read_class_names(tmp_path / "names.txt") == ["zu", "ab"]
    (tmp_path / "bad.json").write_text('{"zu": 1, "ab": 2}')
    with pytest.raises(DataError, match=r"bad\.json: .*ids 0 to N - 1"):
        read_class_names(tmp_path / "bad.json")
    with pytest.raises(DataError, match=r"nowhere\.txt cannot be read"):
        read_class_names(tmp_path / "nowhere.txt")
