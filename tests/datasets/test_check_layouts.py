"""Checking data whose lists name segments: missing videos, wrong labels, and the list of both."""

import shutil

import numpy as np
import pytest
from PIL import Image

from slowfast.config import load_cfg
from slowfast.datasets.build import build_dataset
from slowfast.datasets.check.scan import build_checker, build_splits
from slowfast.datasets.features import RowClips, open_rows
from slowfast.datasets.missing import MissingVideosError
from slowfast.reports import data_check
from tests.datasets.test_check import cut, kinds, overrides
from tests.videos import write_video


def write_images(folder, count):
    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        Image.new("RGB", (32, 24), (9 * number, 60, 90)).save(folder / f"{number:05d}.jpg")


def write_meccano(root):
    """Video 3 is not there, of video 1 an image."""
    for video in ("0001", "0002"):
        write_images(root / "frames" / video, 20)
    (root / "frames/0001/00007.jpg").unlink()
    rows = [(1, 1, 9), (1, 8, 16), (2, 1, 16), (2, 4, 20), (3, 1, 9), (3, 10, 18)]
    text = "\n".join(f"{v:04d},{v},a,{a:05d}.jpg,{b:05d}.jpg" for v, a, b in rows)
    (root / "train.csv").write_text(text)
    return {"0003", "0001_00001_00009"}, 3


def write_rawframes(root):
    """Video c is not there, of b an image."""
    for video in "abd":
        write_images(root / "rawframes" / video, 20)
    (root / "rawframes/b/00007.jpg").unlink()
    (root / "train.txt").write_text("a 0\nb 1\nc 2\nd 0\n")
    return {"c", "b"}, 2


def write_epic(root):
    """Video P01_02 is not there; the label of the other one is fine."""
    write_images(root / "P01/rgb_frames/P01_01", 1)
    for number in range(1, 41):
        shutil.copy(
            root / "P01/rgb_frames/P01_01/00001.jpg",
            root / f"P01/rgb_frames/P01_01/frame_{number:010d}.jpg",
        )
    (root / "P01/rgb_frames/P01_01/00001.jpg").unlink()
    rows = [
        f"P01_{v:02d}_{i},P01,P01_{v:02d},00:00:00.10,00:00:00.60,{1 + i},{30 + i},3,4"
        for v in (1, 2)
        for i in range(3)
    ]
    columns = "narration_id,participant_id,video_id,start_timestamp,stop_timestamp,start_frame,"
    (root / "EPIC_100_train.csv").write_text(
        "\n".join([f"{columns}stop_frame,verb_class,noun_class", *rows])
    )
    return {"P01_02"}, 3


@pytest.mark.parametrize(
    ("name", "write"), [("meccano", write_meccano), ("epickitchens", write_epic)]
)
def test_every_label_out_of_range_is_listed(tmp_path, name, write):
    write(tmp_path)
    words = [*overrides(tmp_path), "TRAIN.DATASET", name, "MODEL.NUM_CLASSES", "2"]
    if name == "epickitchens":
        words += ["MODEL.TASKS", "[verb, noun]", "MODEL.NUM_CLASSES", "[2, 5]"]
    result = build_checker(load_cfg((), words), ["train"]).run(workers=0, progress="none")
    wrong = [problem for problem in result.problems if problem.kind == "label"]
    assert len(wrong) == {"meccano": 2, "epickitchens": 3}[name]
    assert "the model's classes are 0 to 1" in wrong[0].detail


@pytest.mark.parametrize(
    ("name", "write"),
    [("meccano", write_meccano), ("rawframes", write_rawframes), ("epickitchens", write_epic)],
)
def test_missing_videos_of_lists_with_segments(tmp_path, name, write):
    """All are named, the others are looked at, and the list makes training possible."""
    missing, left = write(tmp_path)
    cfg = load_cfg((), [*overrides(tmp_path), "TRAIN.DATASET", name, "MODEL.NUM_CLASSES", "61"])
    if name == "epickitchens":
        tasks = ["MODEL.TASKS", "[verb, noun]", "MODEL.NUM_CLASSES", "[97, 300]"]
        cfg = load_cfg((), [*overrides(tmp_path), "TRAIN.DATASET", name, *tasks])
    result = build_checker(cfg, ["train"]).run(workers=0, progress="none")
    assert kinds(result.problems) == ["missing"] * len(missing)
    assert {bad for bad, _ in result.bad_videos()} == missing
    with pytest.raises(MissingVideosError):
        build_dataset(cfg, "train")
    data_check.write_check(result, tmp_path / "out")
    cfg.defrost()
    cfg.DATA.BAD_VIDEOS_FILE = str(tmp_path / "out" / "bad_videos.txt")
    dataset = build_dataset(cfg, "train")
    assert len(dataset) == left
    items = [dataset[0, index] for index in range(left)]
    assert not any(item.bad for item in items)


def test_features(tmp_path):
    """Rows are no classes; the last clips of a video may have fewer frames."""
    for name in "abc":
        write_video(tmp_path / "videos" / f"{name}.mp4", 40)
        np.save(file := tmp_path / f"{name}.npy", np.zeros((len(RowClips().centres(40)), 8)))
    words = [
        *(*overrides(tmp_path), "TRAIN.DATASET", "features", "TEST.ENABLE", "False"),
        *("FEATURES.FRAMES_DIR", "videos", "FEATURES.FEATURES_DIR", ".", "FEATURES.NUM_VAL", "1"),
        *("MODEL.NUM_CLASSES", "8"),
    ]
    cfg = load_cfg((), words)
    assert build_splits(cfg) == ["train", "val"]
    result = build_checker(cfg, build_splits(cfg)).run(workers=0, progress="none")
    assert result.problems == []
    assert result.records == {"train": 12, "val": 6}
    data_check.write_check(result, tmp_path / "out")
    data_check.class_table(result)
    cut(tmp_path / "videos" / "a.mp4", tmp_path / "videos" / "a.mp4", 0.5)
    file.unlink()
    open_rows.cache_clear()
    result = build_checker(cfg, ["train", "val"]).run(workers=0, progress="none")
    assert kinds(result.problems) == ["annotation", "annotation"]
    assert "a.mp4" in result.problems[0].detail
    assert "c.npy: cannot be read" in result.problems[1].detail
