"""MECCANO's annotations and layouts, written by hand into ``tmp_path``."""

import pytest

from slowfast.config import load_cfg
from slowfast.datasets.annotations import AnnotationError
from slowfast.datasets.meccano import Meccano, read_segments

HEADER = "video_id,action_id,action_name,start_frame,end_frame\n"
ROWS = "0001,12,take_bolt,00034.jpg,00057.jpg\n0003,0,check_booklet,00001.jpg,00001.jpg\n"


def make(root, annotation="MECCANO_train_actions.csv", text=HEADER + ROWS, places=("frames",)):
    path = root / annotation
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    for place in places:
        for video in ("0001", "0003"):
            (root / place / video).mkdir(parents=True)
    return root


@pytest.mark.parametrize(
    "annotation",
    ["MECCANO_train_actions.csv", "train.csv", "Train.csv", "meccano_train_actions.csv",
     "annotations/MECCANO_train_actions.csv", "MECCANO_action_annotations/train.csv"],
)  # fmt: skip
@pytest.mark.parametrize("header", [HEADER, ""])
def test_annotation_names_and_headers(tmp_path, annotation, header):
    make(tmp_path, annotation, header + ROWS)
    first, second = Meccano(tmp_path).records("train")
    line = 2 if header else 1
    assert first.path == str(tmp_path / "frames" / "0001" / "{:05d}.jpg")
    assert (first.start_frame, first.end_frame) == (34, 57)  # both inclusive
    assert (second.start_frame, second.end_frame) == (1, 1)
    assert (first.labels, second.labels) == (12, 0)
    assert (first.fps, first.name) == (12.0, "0001_00034_00057")
    assert first.source == f"{tmp_path / annotation}:{line}"


@pytest.mark.parametrize(
    "place",
    ["RGB_frames/Train", "RGB_frames/train", "RGB_frames", "frames/Train", "frames/TRAIN",
     "frames", "Train", "train", "", "RGB_frames/Val"],
)  # fmt: skip
def test_frame_folders(tmp_path, place):
    make(tmp_path, places=[place])
    records = Meccano(tmp_path).records("train")
    assert [record.path for record in records] == [
        str(tmp_path / place / video / "{:05d}.jpg") for video in ("0001", "0003")
    ]


def test_split_folder_comes_before_others(tmp_path):
    make(tmp_path, places=["RGB_frames/Val", "RGB_frames/Train"])
    assert "Train" in Meccano(tmp_path).records("train")[0].path


def test_path_prefix_and_ids_without_zeros(tmp_path):
    make(tmp_path / "data", text=ROWS.replace("0001", "1"), places=[])
    for video in ("01", "0003"):
        (tmp_path / "elsewhere" / video).mkdir(parents=True)
    records = Meccano(tmp_path / "data", path_prefix=str(tmp_path / "elsewhere")).records("train")
    assert [record.path.split("/")[-2] for record in records] == ["01", "0003"]
    inside = make(tmp_path / "other", places=["my/frames"])
    assert "my/frames" in Meccano(inside, path_prefix="my/frames").records("train")[0].path
    below = make(tmp_path / "official", places=["frames/rgb"])  # the dataset's own loader
    assert "frames/rgb" in Meccano(below, path_prefix="rgb").records("train")[0].path


@pytest.mark.parametrize("place", ["RGB_Videos", "videos/train", "RGB_frames", ""])
def test_original_videos(tmp_path, place):
    make(tmp_path, places=[])
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    for video in ("0001.mp4", "0003.MP4"):
        (tmp_path / place / video).touch()
    first, second = Meccano(tmp_path).records("train")
    assert first.path == str(tmp_path / place / "0001.mp4")
    assert second.path == str(tmp_path / place / "0003.MP4")
    assert (first.start_frame, first.end_frame) == (None, None)
    assert first.start_s == pytest.approx(33 / 12)  # image 34 is the 34th, shown from 33/12 s on
    assert first.end_s == pytest.approx(57 / 12)


def test_class_names_with_commas_and_unnamed_classes(tmp_path):
    make(tmp_path, text="0001,5,take,the,bolt,00034.jpg,00057.jpg\n")
    dataset = Meccano(tmp_path)
    assert dataset.records("train")[0].labels == 5
    assert len(dataset.class_names["action"]) == 61
    assert dataset.class_names["action"][4:6] == ["4", "take,the,bolt"]


def test_file_names_decide_width_and_suffix(tmp_path):
    make(tmp_path, text="0001,5,a,0000034.png,0000057.png\n0003,5,a,34,57\n")
    records = Meccano(tmp_path).records("train")
    assert [record.path.split("/")[-1] for record in records] == ["{:07d}.png", "{:05d}.jpg"]


def test_verbs_and_objects_are_matched_by_segment(tmp_path):
    same = "0001,12,take_bolt,00034.jpg,00057.jpg\n0001,13,put_bolt,00034.jpg,00057.jpg\n"
    make(tmp_path, text=HEADER + same + "0003,0,check_booklet,00001.jpg,00001.jpg\n")
    (tmp_path / "MECCANO_verb_annotations_train.csv").write_text(
        "3,2,check,00001.jpg,00001.jpg\n1,0,take,00034.jpg,00057.jpg\n1,1,put,00034.jpg,00057.jpg\n"
    )
    (tmp_path / "MECCANO_train_objects.csv").write_text(
        "0001,7,bolt,34,57\n0001,7,bolt,34,57\n0003,19,booklet,1,1\n"
    )
    dataset = Meccano(tmp_path, tasks=("action", "verb", "object"))
    labels = [record.labels for record in dataset.records("train")]
    assert labels == [
        {"action": 12, "verb": 0, "object": 7},
        {"action": 13, "verb": 1, "object": 7},
        {"action": 0, "verb": 2, "object": 19},
    ]
    assert {task: len(names) for task, names in dataset.class_names.items()} == {
        "action": 61, "verb": 12, "object": 20,
    }  # fmt: skip
    assert Meccano(tmp_path, tasks=("verb",)).records("train")[0].labels == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0001,12,take,00034.jpg\n", r"train\.csv:1: 4 fields, expected 5"),
        (HEADER + "0001,x,take,00034.jpg,00057.jpg\n", r"train\.csv:2: action id is 'x'"),
        (HEADER + "0001,61,take,00034.jpg,00057.jpg\n", r"train\.csv:2: action id is 61.*0 to 60"),
        (ROWS + "0001,1,take,start,00057.jpg\n", r"train\.csv:3: first image is 'start'"),
        ("0001,1,take,00058.jpg,00057.jpg\n", r"train\.csv:1: the segment ends"),
        (HEADER, r"train\.csv: no segments"),
        ("", r"train\.csv: no segments"),
    ],
)
def test_bad_lines(tmp_path, text, message):
    make(tmp_path, "train.csv", text)
    with pytest.raises(AnnotationError, match=message):
        Meccano(tmp_path).records("train")


def test_more_or_fewer_classes_than_the_dataset_has(tmp_path):
    """Of your own actions in its layout; the model's number of classes is the limit."""
    make(tmp_path, "train.csv", "0001,70,my_action,1,9\n0003,0,check,1,1\n")
    cfg = load_cfg((), ["DATA.PATH_TO_DATA_DIR", str(tmp_path), "MODEL.NUM_CLASSES", "71"])
    dataset = Meccano.from_cfg(cfg)
    assert [record.labels for record in dataset.records("train")] == [70, 0]
    assert (len(dataset.class_names["action"]), dataset.class_names["action"][70]) == (
        71,
        "my_action",
    )
    few = load_cfg((), ["DATA.PATH_TO_DATA_DIR", str(tmp_path), "MODEL.NUM_CLASSES", "20"])
    with pytest.raises(AnnotationError, match=r"train\.csv:1: action id is 70, expected 0 to 19"):
        Meccano.from_cfg(few).records("train")


def test_blank_lines_and_byte_order_mark_are_skipped(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("\ufeff" + HEADER + "\n" + ROWS + "\n")
    assert [segment.source[-1] for segment in read_segments(path)] == ["3", "4"]


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(AnnotationError, match=r"MECCANO_val_actions\.csv"):
        Meccano(tmp_path).records("val")
    make(tmp_path, "train.csv", places=[])
    with pytest.raises(FileNotFoundError, match=r"train\.csv:2: neither a folder.*'0001'"):
        Meccano(tmp_path).records("train")
    with pytest.raises(AnnotationError, match="no MECCANO verb annotations of train"):
        Meccano(tmp_path, tasks=("action", "verb")).records("train")
    with pytest.raises(ValueError, match=r"\['noun'\]: choose from"):
        Meccano(tmp_path, tasks=("noun",))


def test_verb_missing_for_a_segment(tmp_path):
    make(tmp_path)
    (tmp_path / "MECCANO_train_verbs.csv").write_text("0001,0,take,00034.jpg,00057.jpg\n")
    with pytest.raises(AnnotationError, match=r"actions\.csv:3: no verb for images 1 to 1"):
        Meccano(tmp_path, tasks=("action", "verb")).records("train")


def test_ambiguous_annotations(tmp_path):
    make(tmp_path, "a/train.csv")
    make(tmp_path, "b/train.csv", places=[])
    with pytest.raises(AnnotationError, match="several places"):
        Meccano(tmp_path).records("train")
