"""Videos to image folders: what is written, what is kept, what is dropped and said to be."""

import os
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slowfast.datasets.annotations import AnnotationError
from slowfast.datasets.decode.frames import FrameFolderReader
from slowfast.datasets.dump import DumpJob, dump_video, frame_folder, read_videos
from slowfast.datasets.rawframes import RawFrames
from tests.videos import decode_all, write_video

TOOL = Path(__file__).parents[2] / "tools" / "dump_frames.py"


@pytest.fixture
def data(tmp_path):
    """The documented usage: the lists lie in the output folder."""
    videos = tmp_path / "videos"
    write_video(videos / "a.b c.mp4", 10, size=(96, 64), rate=25)
    write_video(videos / "sub" / "X.avi", 7, codec="mpeg4", size=(64, 96))
    write_video(videos / "sub" / "noext.mkv", 6)
    write_video(videos / "sub" / "X.mp4", 6)
    (videos / "bad.mp4").write_bytes(b"broken")
    (tmp_path / "train.txt").write_text(
        "a.b c.mp4 2\nsub/X.avi 0\nbad.mp4 1\nsub/X.mp4 1\nsub/noext 1\n"
    )
    (tmp_path / "val.txt").write_text("a.b c.mp4 2\ngone.mp4 3\n")
    return tmp_path


def run(*words):
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOL))["main"]([str(word) for word in words])
    return stop.value.code


def words(data, **options):
    given = {"videos_dir": data / "videos", "output_dir": data, "short_side": 32, "workers": 0}
    pairs = [(f"--{name}", value) for name, value in (given | options).items()]
    lists = ("--annotation", data / "train.txt", data / "val.txt")
    return [word for pair in pairs for word in pair] + [*lists]


def test_documented_usage(data, capsys):
    before = {p: p.read_bytes() for p in (data / "train.txt", data / "val.txt")}
    assert run(*words(data)) == 1
    assert {p: p.read_bytes() for p in before} == before
    root = data / "custom_dataset"
    assert (root / "train.txt").read_text() == (
        "a.b c 2 0 10 0 10 25\nsub/X 0 0 7 0 7 30\nsub/noext 1 0 6 0 6 30\n"
    )
    assert (root / "val.txt").read_text() == "a.b c 2 0 10 0 10 25\n"
    shown = capsys.readouterr().out
    assert "3 videos (0 were there), 3 dropped" in shown
    assert "dropped: bad.mp4: cannot be opened" in shown
    assert "dropped: gone.mp4: no such file" in shown
    assert "dropped: sub/X.mp4: would share its folder with sub/X.avi" in shown

    records = RawFrames(root).records("train")
    assert [(r.labels, r.start_frame, r.end_frame, r.fps) for r in records] == [
        (2, 1, 10, 25.0), (0, 1, 7, 30.0), (1, 1, 6, 30.0),
    ]  # fmt: skip
    with FrameFolderReader(records[0].path, first=1, last=10) as reader:
        images = reader.read(range(1, 11))
    assert images.shape == (10, 32, 48, 3)
    frames = decode_all(data / "videos" / "a.b c.mp4", (48, 32))
    assert np.abs(images.astype(int) - np.stack(frames)).mean() < 8
    with Image.open(root / "rawframes/sub/X/00007.jpg") as image:
        assert image.size == (32, 48)  # the short side of a portrait video


def test_resumes_and_does_anew_what_changed(data, capsys):
    run(*words(data))
    folder = data / "custom_dataset" / "rawframes" / "a.b c"
    image = folder / "00003.jpg"
    stamp = image.stat().st_mtime_ns
    (folder.parent / ".sub_X.partial").mkdir()
    capsys.readouterr()
    run(*words(data))
    assert "3 videos (3 were there)" in capsys.readouterr().out
    assert image.stat().st_mtime_ns == stamp
    image.unlink()  # a folder that is not whole any more
    run(*words(data))
    assert "3 videos (2 were there)" in capsys.readouterr().out
    assert image.exists()
    write_video(data / "videos" / "a.b c.mp4", 5, size=(96, 64), rate=25)
    run(*words(data))
    assert "3 videos (2 were there)" in capsys.readouterr().out
    assert len(list(folder.glob("*.jpg"))) == 5
    run(*words(data, short_side=48))
    assert "3 videos (0 were there)" in capsys.readouterr().out


def test_folders_of_other_origin_are_left_alone(data, capsys):
    folder = data / "custom_dataset" / "rawframes" / "a.b c"
    folder.mkdir(parents=True)
    (folder / "00001.jpg").write_text("mine")
    assert run(*words(data)) == 1
    assert (folder / "00001.jpg").read_text() == "mine"
    assert "was not made by this tool" in capsys.readouterr().out


def test_a_failure_leaves_no_folder(tmp_path):
    video = Path(write_video(tmp_path / "a.mp4", 60, size=(128, 96)))
    content = bytearray(video.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 600] = bytes(600)
    video.write_bytes(content)
    answer = dump_video(DumpJob(str(video), str(tmp_path / "out" / "a")), 32, 90)
    assert isinstance(answer, str)
    assert os.listdir(tmp_path / "out") == []


def test_input_annotations_are_never_overwritten(data, capsys):
    (data / "custom_dataset").mkdir()
    (data / "train.txt").rename(data / "custom_dataset" / "train.txt")
    given = words(data)
    given[given.index(data / "train.txt")] = data / "custom_dataset" / "train.txt"
    assert run(*given) == 2
    assert "would be overwritten" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["a.mp4", "a.mp4 x", "a.mp4 -1"])
def test_bad_lines_are_named(tmp_path, line):
    (tmp_path / "t.txt").write_text(f"ok.mp4 1\n{line}\n")
    with pytest.raises(AnnotationError, match=r"t\.txt:2"):
        read_videos(tmp_path / "t.txt")


def test_a_wrong_folder_of_videos(data, capsys):
    assert run(*words(data, videos_dir=data / "films")) == 2
    assert "--videos_dir" in capsys.readouterr().err


def test_names_are_kept():
    assert frame_folder("Sub/A.B.MP4") == "Sub/A.B"
    assert frame_folder("v.1") == "v.1"


@pytest.mark.slow
def test_two_processes(data):
    assert run(*words(data, workers=2)) == 1
    assert len((data / "custom_dataset" / "train.txt").read_text().splitlines()) == 3
