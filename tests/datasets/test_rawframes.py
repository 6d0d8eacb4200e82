"""Raw frames: both annotation formats, and the exchanged columns of the 7-column one."""

import logging

import pytest

from slowfast.config import load_cfg
from slowfast.datasets.annotations import AnnotationError
from slowfast.datasets.missing import MissingVideosError
from slowfast.datasets.rawframes import RawFrames, pair_up


def make(root, text, name="train.txt", videos=("a", "b c"), images=(1, 10)):
    root.mkdir(exist_ok=True)
    (root / name).write_text(text)
    for video in videos:
        folder = root / "rawframes" / video
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(images[0], images[1] + 1):
            (folder / f"{number:05d}.jpg").touch()
    return root


def test_two_columns_take_the_whole_folder(tmp_path):
    make(tmp_path, "a 3\n\nb c 0\n")
    first, second = RawFrames(tmp_path).records("train")
    assert first.path == str(tmp_path / "rawframes" / "a" / "{:05d}.jpg")
    assert (first.start_frame, first.end_frame, first.labels) == (1, 10, 3)
    assert (second.name, second.labels) == ("b c", 0)
    assert second.source == f"{tmp_path / 'train.txt'}:3"


def test_seven_columns_count_from_zero_and_exclude_the_end(tmp_path):
    make(tmp_path, "a 3 0 10 2 8 25\nb c 1 0 10 0 10 29.97\n")
    first, second = RawFrames(tmp_path).records("train")
    assert (first.start_frame, first.end_frame) == (3, 8)  # images of frame ids 2 to 7
    assert (first.fps, first.labels, first.name) == (25.0, 3, "a_00003_00008")
    assert (second.start_frame, second.end_frame, second.fps) == (1, 10, 29.97)


def test_layouts(tmp_path):
    make(tmp_path / "custom_dataset", "a 0\n")
    assert len(RawFrames(tmp_path).records("train")) == 1
    make(tmp_path / "prefix", "rawframes/a 0\n")
    assert len(RawFrames(tmp_path / "prefix").records("train")) == 1


def test_other_names_and_first_numbers_are_found_out(tmp_path):
    folder = tmp_path / "rawframes_rgb" / "v"
    folder.mkdir(parents=True)
    for number in range(4):
        (folder / f"img_{number:05d}.jpg").touch()
    (tmp_path / "train.txt").write_text("v 0\n")
    (record,) = RawFrames(tmp_path).records("train")
    assert record.path.endswith("img_{:05d}.jpg")
    assert (record.start_frame, record.end_frame) == (0, 3)


def test_test_split_falls_back_to_val(tmp_path, caplog):
    make(tmp_path, "a 0\n", name="val.txt")
    with caplog.at_level(logging.INFO):
        assert len(RawFrames(tmp_path).records("test")) == 1
    assert "no list of the test split" in caplog.text
    with pytest.raises(AnnotationError, match=r"no train\.txt in"):
        RawFrames(tmp_path).records("train")
    assert len(RawFrames(tmp_path, lists={"train": "val.txt"}).records("train")) == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a 3 2 8 0 10 25", r"train\.txt:1: .*columns 3-4 and 5-6 are exchanged.*<video start>"),
        ("a 3 0 10 8 12 25", r"train\.txt:1: the clip \(8 to 12\) is not within the video"),
        ("a 3 0 10 8 8 25", "nothing between start and end"),
        ("a 3 0 10 2 8 0", "fps is 0"),
        ("a 3 0 10 2.5 8 25", r"clip start is '2\.5'"),
        ("a 5 10", "3 columns, expected 2"),
        ("a 3 0 10 2 8", "6 columns, expected 2"),
        ("a", "1 columns, expected 2"),
        ("a b", "label is 'b'"),
        ("a -1", "label is -1"),
        ("a 4", "label is 4, expected 0 to 3"),
    ],
)
def test_bad_lines(tmp_path, line, message):
    make(tmp_path, line + "\n")
    with pytest.raises(AnnotationError, match=message):
        RawFrames(tmp_path, num_classes=4).records("train")


def test_folder_name_that_ends_in_a_number(tmp_path):
    make(tmp_path, "take 3 2\n", videos=["take 3"])
    assert RawFrames(tmp_path).records("train")[0].labels == 2


def test_missing_and_empty_folders(tmp_path):
    make(tmp_path, "a 0\nnowhere 1\n")
    message = r"train\.txt:2: no folder of images \(00001\.jpg, \.\.\.\) for 'nowhere'; looked for"
    with pytest.raises(MissingVideosError, match=message) as caught:
        RawFrames(tmp_path).records("train")
    assert caught.value.videos == {"nowhere": f"{tmp_path}/train.txt:2"}
    assert [record.name for record in caught.value.found] == ["a"]
    (tmp_path / "rawframes" / "nowhere").mkdir()
    for line in ("nowhere 1", "nowhere 1 0 5 0 5 30"):
        make(tmp_path, f"a 0\n{line}\ngone 1\n")
        with pytest.raises(MissingVideosError, match=r"'nowhere' and 1 more: gone;"):
            RawFrames(tmp_path).records("train")
    make(tmp_path, "\n")
    with pytest.raises(AnnotationError, match="no lines"):
        RawFrames(tmp_path).records("train")


def test_several_lists_and_roots(tmp_path):
    make(tmp_path / "one", "a 0\n", name="mine.txt")
    (tmp_path / "two").mkdir()
    make(tmp_path / "two" / "custom_dataset", "a 1\nb c 2\n", name="mine.txt")
    (tmp_path / "two" / "mine.txt").write_text("a.mp4 1\n")  # what the frames were dumped from
    roots = [str(tmp_path / "one"), str(tmp_path / "two")]
    options = [
        "TRAIN.DATASET", "rawframes", "RAWFRAMES.TRAIN_ROOTS", str(roots),
        "RAWFRAMES.TRAIN_LISTS", "[mine.txt]", "MODEL.NUM_CLASSES", "3",
    ]  # fmt: skip
    family = RawFrames.from_cfg(load_cfg(None, options))
    assert [record.labels for record in family.records("train")] == [0, 1, 2]
    assert [line.label for line in family.lines("train")] == [0, 1, 2]
    short = RawFrames.from_cfg(load_cfg(None, [*options, "MODEL.NUM_CLASSES", "2"]))
    with pytest.raises(AnnotationError, match=r"mine\.txt:2"):
        short.records("train")


def test_lists_and_roots_that_do_not_go_together():
    assert pair_up(["r"], ["a", "b"]) == [("r", "a"), ("r", "b")]
    assert pair_up(["r", "s"], ["a", "b"]) == [("r", "a"), ("s", "b")]
    with pytest.raises(AnnotationError, match=r"3 annotation files .* and 2 data roots"):
        pair_up(["r", "s"], ["a", "b", "c"])


def test_a_list_that_is_not_there(tmp_path):
    make(tmp_path / "custom_dataset", "a 0\n")
    family = RawFrames(tmp_path, lists={"train": "other.txt"})
    with pytest.raises(AnnotationError, match=r"no annotation file .*other\.txt"):
        family.records("train")
