"""What people get wrong about their data: each mistake ends in one line that says what to mend."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.videos import write_video
from tools.run_net import main as run_net

TINY = [
    "MODEL.MODEL_NAME", "TinyNet", "MODEL.ARCH", "tiny", "TINY.WIDTH", "2",
    "MODEL.NUM_CLASSES", "2",
    "DATA.NUM_FRAMES", "2", "DATA.SAMPLING_RATE", "8", "DATA.TRAIN_CROP_SIZE", "16",
    "DATA.TEST_CROP_SIZE", "16", "DATA.TRAIN_JITTER_SCALES", "[16, 18]",
    "DATA_LOADER.NUM_WORKERS", "0", "TRAIN.BATCH_SIZE", "2", "TEST.ENABLE", "False",
    "TRAIN.EVAL_PERIOD", "1", "SOLVER.MAX_EPOCH", "1", "NUM_GPUS", "0", "PROGRESS", "none",
]  # fmt: skip
NAMES = "abcd"
BYTE_ORDER_MARK = "\ufeff"
HEADER = "video_id,action_id,action_name,start_frame,end_frame"


def write_images(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number in range(1, 13):
        picture = np.full((18, 20, 3), 20 * number, np.uint8)
        Image.fromarray(picture).save(folder / f"{number:05d}.jpg")


@pytest.fixture(scope="module")
def roots(tmp_path_factory) -> dict[str, Path]:
    """Four videos in every layout, without lists."""
    found = {name: tmp_path_factory.mktemp(name) for name in ("kinetics", "rawframes", "meccano")}
    for name in NAMES:
        write_video(found["kinetics"] / f"{name}.mp4", 12, size=(32, 24))
        write_images(found["rawframes"] / "rawframes" / name)
    write_images(found["meccano"] / "RGB_frames" / "0001")
    return found


def rows_of(layout: str, first: int = 0) -> list[str]:
    """A correct list with labels from ``first`` on."""
    if layout == "meccano":
        ids = [first + label * 60 for label in (0, 0, 1, 1)]
        return [HEADER, *(f"0001,{label},a,00001.jpg,00012.jpg" for label in ids)]
    ending = ".mp4" if layout == "kinetics" else ""
    return [f"{name}{ending} {first + number % 2}" for number, name in enumerate(NAMES)]


def write_lists(root: Path, layout: str, rows: list[str], *, encoding="utf-8", newline="\n"):
    form = {"kinetics": "{}.csv", "rawframes": "{}.txt", "meccano": "MECCANO_{}_actions.csv"}
    for split in ("train", "val"):
        path = root / form[layout].format(split)
        path.write_bytes(newline.join(rows).encode(encoding))


def train(layout: str, root: Path, out: Path, *words: str) -> None:
    classes = ["MODEL.NUM_CLASSES", "61"] if layout == "meccano" else []
    run_net([
        *TINY, *classes, "TRAIN.DATASET", layout, "TEST.DATASET", layout,
        "DATA.PATH_TO_DATA_DIR", str(root), "OUTPUT_DIR", str(out), *words,
    ])  # fmt: skip


def complaint(capsys, *args) -> str:
    """The one line that a training ends with."""
    with pytest.raises(SystemExit) as stop:
        train(*args)
    assert stop.value.code == 2
    errors = capsys.readouterr().err
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, errors
    assert "Traceback" not in errors
    return lines[0]


LAYOUTS = ("kinetics", "rawframes", "meccano")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_windows_text_files_are_fine(roots, layout, tmp_path, capsys):
    rows = rows_of(layout)
    rows[0] = BYTE_ORDER_MARK + rows[0]
    write_lists(roots[layout], layout, rows, newline="\r\n")
    train(layout, roots[layout], tmp_path)
    assert "error" not in capsys.readouterr().err


@pytest.mark.parametrize("layout", [*LAYOUTS, "video_folder", "epickitchens", "features"])
def test_a_wrong_path(layout, tmp_path, capsys):
    words = []
    if layout == "epickitchens":
        words = ["MODEL.TASKS", "[verb, noun]", "MODEL.NUM_CLASSES", "[97, 300]"]
    line = complaint(capsys, layout, tmp_path / "nowhere", tmp_path / "out", *words)
    assert "nowhere" in line
    assert "is not a folder" in line


def test_no_path(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = complaint(capsys, "kinetics", "", tmp_path / "out")
    assert "DATA.PATH_TO_DATA_DIR (not set: the working directory) holds" in line


@pytest.mark.parametrize("layout", LAYOUTS)
def test_labels_from_one(roots, layout, tmp_path, capsys):
    write_lists(roots[layout], layout, rows_of(layout, first=1))
    line = complaint(capsys, layout, roots[layout], tmp_path)
    assert "(classes count from 0)" in line
    assert ("val.csv:2" in line, "val.txt:2" in line, "MECCANO_val_actions.csv:4" in line).count(
        True
    ) == 1


@pytest.mark.parametrize("layout", ["kinetics", "rawframes"])
@pytest.mark.parametrize("header", ["path label", "video action"])
def test_a_header_where_there_is_none(roots, layout, header, tmp_path, capsys):
    write_lists(roots[layout], layout, [header, *rows_of(layout)])
    line = complaint(capsys, layout, roots[layout], tmp_path)
    assert ":1: label is " in line
    assert "this list has no header" in line


@pytest.mark.parametrize("layout", LAYOUTS)
def test_text_in_another_encoding(roots, layout, tmp_path, capsys):
    rows = rows_of(layout)
    rows.append(rows[-1].replace("a", "\xe9"))
    write_lists(roots[layout], layout, [*rows, rows[-1].replace("d", "\xe9")], encoding="latin-1")
    line = complaint(capsys, layout, roots[layout], tmp_path)
    assert "not UTF-8 text; save it as such" in line
    assert str(roots[layout]) in line


@pytest.mark.parametrize("layout", LAYOUTS)
def test_missing_frames_and_videos(roots, layout, tmp_path, capsys):
    """Named with the line that asks for them, before or in validation."""
    write_lists(roots[layout], layout, [
        *rows_of(layout),
        {"kinetics": "gone.mp4 1", "rawframes": "gone 1",
         "meccano": "0001,1,a,00020.jpg,00030.jpg"}[layout],
    ])  # fmt: skip
    line = complaint(capsys, layout, roots[layout], tmp_path)
    assert ":5" in line or ":6" in line
    assert "gone" in line or "the folder has 12 images, numbered 1 to 12" in line
    if layout != "meccano":  # there it is the images of a folder that is there
        assert "train_epoch" not in (tmp_path / "stdout.log").read_text()


def test_an_image_lost_in_the_middle(roots, tmp_path, capsys):
    root = roots["rawframes"]
    write_lists(root, "rawframes", rows_of("rawframes"))
    lost = root / "rawframes/c/00002.jpg"
    content = lost.read_bytes()
    lost.unlink()
    try:
        line = complaint(capsys, "rawframes", root, tmp_path, "DATA.SAMPLING_RATE", "5")
    finally:
        lost.write_bytes(content)
    assert "the folder has 11 images, numbered 1 to 12" in line
    assert "val.txt:3" in line
