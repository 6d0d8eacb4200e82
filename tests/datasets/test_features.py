"""Feature rows: which images belong to which row, and that only the row is read."""

import numpy as np
import pytest

from slowfast.datasets.annotations import AnnotationError
from slowfast.datasets.features import FeatureClips, RowClips, open_rows
from tests.videos import write_video


def make(root, videos, num_images, rows=None, width=4):
    for video in videos:
        folder = root / "rawframes_rgb" / video
        folder.mkdir(parents=True)
        for number in range(num_images):
            (folder / f"img_{number:05d}.jpg").touch()
        count = len(RowClips().centres(num_images)) if rows is None else rows
        (root / "flow").mkdir(exist_ok=True)
        values = np.arange(count * width, dtype=np.float32).reshape(count, width)
        np.save(root / "flow" / f"{video}.npy", values + len(video))
    return FeatureClips(root / "rawframes_rgb", root / "flow", num_val=1)


def loop_clips(num_images):
    """The original's frames of every row: ids in the sorted list of images."""
    total = num_images - 1
    clips, centre = [], 3
    while centre < total:
        clips.append([min(max(centre + offset, 0), total - 1) for offset in range(-2, 4)])
        centre += 6
    return clips


@pytest.mark.parametrize("num_images", [5, 9, 10, 11, 12, 13, 14, 15, 40])
def test_rows_and_their_images(tmp_path, num_images):
    dataset = make(tmp_path, ["v_a", "v_b"], num_images)
    records = dataset.records("train")
    clips = [
        [min(record.start_frame + step, record.end_frame) for step in range(6)]
        for record in records
    ]
    assert clips == loop_clips(num_images)
    assert [record.labels for record in records] == list(range(len(clips)))
    assert {record.path for record in records} == {
        str(tmp_path / "rawframes_rgb" / "v_a" / "img_{:05d}.jpg")
    }


def test_target_is_the_memory_mapped_row(tmp_path):
    dataset = make(tmp_path, ["v_a", "v_long"], 40)
    record = dataset.records("val")[2]
    assert record.name == "v_long_00002"
    np.testing.assert_array_equal(dataset.target(record), np.arange(8, 12) + len("v_long"))
    assert dataset.target(record).dtype == np.float32
    assert isinstance(open_rows(tmp_path / "flow" / "v_long.npy"), np.memmap)


def test_splits(tmp_path):
    dataset = make(tmp_path, ["v_a", "v_b", "v_c"], 10)
    names = {split: [r.name for r in dataset.records(split)] for split in ("train", "val")}
    assert names == {"train": ["v_a_00000", "v_b_00000"], "val": ["v_c_00000"]}
    (tmp_path / "list.txt").write_text("v_b\n")
    chosen = FeatureClips(
        tmp_path / "rawframes_rgb", tmp_path / "flow", lists={"train": tmp_path / "list.txt"}
    )
    assert [record.name for record in chosen.records("train")] == ["v_b_00000"]
    with pytest.raises(AnnotationError, match="none left to train"):
        FeatureClips(tmp_path / "rawframes_rgb", tmp_path / "flow").records("train")


def test_errors(tmp_path):
    with pytest.raises(AnnotationError, match="no folders of images"):
        FeatureClips(tmp_path, tmp_path).records("train")
    dataset = make(tmp_path, ["v_a", "v_b"], 40, rows=5)
    with pytest.raises(
        AnnotationError, match=r"v_a\.npy: 5 feature rows, but the 40 frames.* 6 clips"
    ):
        dataset.records("train")
    (tmp_path / "flow" / "v_b.npy").unlink()
    with pytest.raises(AnnotationError, match=r"v_b\.npy: cannot be read"):
        dataset.records("val")
    np.save(tmp_path / "flow" / "v_b.npy", np.zeros(6))
    with pytest.raises(AnnotationError, match=r"shape \(6,\)"):
        dataset.records("val")
    np.save(tmp_path / "flow" / "v_b.npy", np.array([print]), allow_pickle=True)
    with pytest.raises(AnnotationError, match="cannot be read"):
        dataset.records("val")


@pytest.mark.parametrize("num_frames", [5, 20, 31])
def test_video_files_make_the_same_clips_as_folders_of_images(tmp_path, num_frames):
    folder = make(tmp_path / "images", ["v_a", "v_b"], num_frames).records("train")
    for video in ("v_a", "v_b"):
        write_video(tmp_path / "videos" / "rawframes_rgb" / f"{video}.mp4", num_frames=num_frames)
    (tmp_path / "videos" / "flow").symlink_to(tmp_path / "images" / "flow")
    files = FeatureClips(
        tmp_path / "videos" / "rawframes_rgb", tmp_path / "videos" / "flow", num_val=1
    ).records("train")
    spans = [[(r.start_frame, r.end_frame, r.labels, r.name) for r in x] for x in (folder, files)]
    assert spans[0] == spans[1]
    assert len(spans[0]) > 0
    assert {record.path for record in files} == {
        str(tmp_path / "videos" / "rawframes_rgb" / "v_a.mp4")
    }


def test_videos_in_folders_and_lists(tmp_path):
    for name in ("x/a", "x/b", "y/a"):
        write_video(tmp_path / "videos" / f"{name}.mp4", num_frames=12)
        (tmp_path / "rows" / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "rows" / f"{name}.npy", np.full((2, 3), len(name), np.float32))
    (tmp_path / "val.txt").write_text("x/b\ny/a\n")
    clips = FeatureClips(
        tmp_path / "videos",
        tmp_path / "rows",
        num_val=1,
        lists={"val": tmp_path / "val.txt"},
    )
    assert [r.name for r in clips.records("train")] == [
        f"{name}_0000{row}" for name in ("x/a", "x/b") for row in (0, 1)
    ]
    records = clips.records("val")
    assert [r.name for r in records[::2]] == ["x/b_00000", "y/a_00000"]
    assert clips.target(records[3]).tolist() == [3, 3, 3]


@pytest.mark.parametrize(
    ("rows", "num_images", "fps", "spans"),
    [
        (RowClips(), 16, 30.0, [(1, 6), (7, 12)]),
        (RowClips(interval=1), 4, 30.0, [(0, 2), (0, 2), (0, 2)]),
        (RowClips(interval=4), 10, 30.0, [(0, 5), (4, 8)]),
        (RowClips(num_frames=4, stride=2), 22, 30.0, [(1, 8), (7, 14), (13, 20)]),
        (RowClips(), 30, 60.0, [(0, 11), (5, 16), (11, 22), (17, 28), (23, 28)]),
        (RowClips(), 4, 30.0, []),
    ],
)
def test_spans_of_rows(rows, num_images, fps, spans):
    assert rows.spans(num_images, fps) == spans
