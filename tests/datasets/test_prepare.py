"""A prepared copy shows the same pictures at the same times, in less time."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from slowfast.datasets.decode import VideoError, open_video
from slowfast.datasets.decode.frames import FrameFolderReader
from slowfast.datasets.meccano import Meccano
from slowfast.datasets.prepare.encode import Recipe, encode_video, is_copy, stamp
from slowfast.datasets.prepare.folder import rename_videos
from tests.videos import B_FRAMES, decode_all, picture, write_video

VARIABLE = np.cumsum(np.random.default_rng(3).choice([11, 33, 34, 90, 400], 40)).tolist()
KINDS = {
    "h264": ("a.mp4", {"options": B_FRAMES}),
    "sound": ("a.mp4", {"options": B_FRAMES, "audio": True}),
    "variable_rate": ("a.mp4", {"options": B_FRAMES, "times_ms": VARIABLE}),
    "late_start": ("a.mkv", {"times_ms": [5000 + 40 * i for i in range(40)]}),
    "avi": ("a.avi", {"codec": "mpeg4", "options": {"g": "12", "bf": "2"}}),
    "raw": ("a.h264", {"options": B_FRAMES}),
    "rotated": ("a.mp4", {"rotation": -90}),
    "upside_down": ("a.mp4", {"rotation": 180}),
    "odd_rate": ("a.mp4", {"rate": 23}),
}  # fmt: skip


def difference(one, other):
    """Mean absolute difference of two sequences of pictures."""
    return np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(one, other, strict=True)])


@pytest.mark.parametrize("kind", KINDS)
def test_same_frames_at_the_same_times(tmp_path, kind):
    name, options = KINDS[kind]
    source = write_video(tmp_path / name, 40, size=(96, 64), **options)
    target = str(tmp_path / "out" / "a.mp4")
    assert encode_video(source, target, Recipe(crf=4)) == 40
    with open_video(source) as before, open_video(target) as after:
        assert (after.width, after.height) == (before.width, before.height)
        np.testing.assert_allclose(after.times, before.times, atol=1.2e-5)
    assert difference(decode_all(source), decode_all(target)) < 4
    with av.open(target) as container:
        assert [stream.type for stream in container.streams] == ["video"]
    assert os.listdir(tmp_path / "out") == ["a.mp4"]


@pytest.mark.parametrize(
    ("matrix", "pixels"),
    [("bt709", "yuv420p"), ("smpte170m", "yuv420p"), ("bt709", "yuvj420p"), ("bt709", "yuv444p")],
)
def test_colours_are_those_of_the_source(tmp_path, matrix, pixels):
    path, size = str(tmp_path / "a.mp4"), (96, 64)
    number = {"bt709": 1, "smpte170m": 6}[matrix]
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "4"})
        stream.width, stream.height, stream.pix_fmt = *size, pixels
        stream.codec_context.colorspace = number
        stream.codec_context.color_range = 2 if pixels == "yuvj420p" else 1
        for i in range(12):
            picture = np.full((64, 96, 3), [200, 30 + 5 * i, 60], np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame = frame.reformat(
                *size,
                pixels,
                dst_colorspace=number,
                dst_color_range=2 if pixels == "yuvj420p" else 1,
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    target = str(tmp_path / "b.mp4")
    encode_video(path, target, Recipe(crf=4))
    before, after = (open_video(p).read(range(12)) for p in (path, target))
    assert abs(int(before[0, 5, 5, 0]) - 200) < 12  # the test's own conversion holds
    assert np.abs(before.astype(int) - after).mean() < 3


def test_keyframes_come_regularly_and_the_index_first(tmp_path):
    source = write_video(tmp_path / "a.mp4", 50, options={"g": "250"})
    target = str(tmp_path / "b.mp4")
    encode_video(source, target, Recipe(gop=8))
    with av.open(target) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        keys = sorted(p.pts for p in packets if p.is_keyframe)
        stamps = sorted(p.pts for p in packets)
    assert [stamps.index(key) for key in keys] == list(range(0, 50, 8))
    data = Path(target).read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize(
    ("size", "short", "expected"),
    [((320, 240), 120, (160, 120)), ((240, 320), 120, (120, 160)), ((96, 64), 256, (96, 64)),
     ((98, 66), 33, (48, 32))],
)  # fmt: skip
def test_short_side_is_scaled_and_never_enlarged(tmp_path, size, short, expected):
    source = write_video(tmp_path / "a.mp4", 4, size=size)
    encode_video(source, str(tmp_path / "b.mp4"), Recipe(short_side=short))
    with open_video(str(tmp_path / "b.mp4")) as reader:
        assert (reader.width, reader.height) == expected


def test_a_copy_knows_what_it_was_made_from(tmp_path):
    source, target = write_video(tmp_path / "a.mp4", 8), str(tmp_path / "b.mp4")
    encode_video(source, target, Recipe())
    assert is_copy(target, stamp(source, Recipe()))
    assert not is_copy(target, stamp(source, Recipe(gop=8)))
    os.utime(source, ns=(1, 1))
    assert not is_copy(target, stamp(source, Recipe()))
    assert not is_copy(str(tmp_path / "none.mp4"), "x")


def test_damaged_sources_leave_nothing_behind(tmp_path):
    whole = Path(write_video(tmp_path / "a.mp4", 60, size=(128, 96)))
    data = bytearray(whole.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 600] = bytes(600)
    whole.write_bytes(data)
    with pytest.raises(VideoError, match=r"a\.mp4"):
        encode_video(str(whole), str(tmp_path / "out" / "a.mp4"), Recipe())
    assert os.listdir(tmp_path / "out") == []


TOOL = Path(__file__).parents[2] / "tools" / "prepare_videos.py"


@pytest.fixture
def dataset(tmp_path):
    root = tmp_path / "data"
    write_video(root / "v" / "a.mp4", 20, size=(96, 64))
    write_video(root / "v" / "my clip.avi", 20, codec="mpeg4")
    write_video(root / "v" / "up.MP4", 20, format="mp4")
    (root / "v" / "broken.mp4").write_bytes(b"no video")
    (root / "train.csv").write_text(f"v/a.mp4 0\nv/my clip.avi 1\n{root}/v/up.MP4 2\n")
    (root / "val.csv").write_bytes(b"v/broken.mp4,3\r\nv/my clip.avi,0\r\n")
    (root / "notes.docx").write_text("x")
    return root


def run(*words):
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(TOOL))["main"]([str(word) for word in words])
    return stop.value.code


def test_tool_prepares_resumes_and_names_what_it_dropped(dataset, tmp_path, capsys):
    out = tmp_path / "out"
    words = ("--data_dir", dataset, "--output_dir", out, "--workers", 0, "--short_side", 32)
    assert run(*words) == 1
    shown = capsys.readouterr().out
    assert "3 videos (0 were there)" in shown
    assert f"dropped: {dataset}/v/broken.mp4: cannot be opened" in shown
    assert "times faster" in shown
    assert sorted(os.listdir(out)) == ["train.csv", "v", "val.csv"]
    assert sorted(os.listdir(out / "v")) == ["a.mp4", "my clip.mp4", "up.MP4"]
    expected = f"v/a.mp4 0\nv/my clip.mp4 1\n{out}/v/up.MP4 2\n"
    assert (out / "train.csv").read_text() == expected
    assert (out / "val.csv").read_bytes() == b"v/broken.mp4,3\r\nv/my clip.mp4,0\r\n"

    kept = (out / "v" / "a.mp4").stat()
    (out / "v" / "my clip.mp4").unlink()
    (dataset / "v" / "broken.mp4").unlink()
    assert run(*words) == 0
    assert "3 videos (2 were there)" in capsys.readouterr().out
    assert (out / "v" / "a.mp4").stat().st_mtime_ns == kept.st_mtime_ns
    run(*words[:-1], 48)  # another recipe: all anew
    assert "3 videos (0 were there)" in capsys.readouterr().out


def write_images(folder, count=12, size=(96, 64), suffix="jpg"):
    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        Image.fromarray(picture(number, *size)).save(folder / f"{number:05d}.{suffix}")


def test_folders_of_images_are_scaled(tmp_path, capsys):
    """MECCANO's layout: names, lists and everything else stay as they are."""
    root, out = tmp_path / "data", tmp_path / "out"
    write_images(root / "RGB_frames/Train/0001")
    write_images(root / "RGB_frames/Train/0002", size=(40, 30), suffix="png")
    (root / "RGB_frames/Train/0001/cover.jpg").write_bytes(b"not numbered")
    (root / "MECCANO_train_actions.csv").write_text("0001,3,a,00001.jpg,00012.jpg\n")
    words = ("--data_dir", root, "--output_dir", out, "--workers", 0, "--short_side", 32)
    assert run(*words) == 0
    shown = capsys.readouterr().out
    assert "2 videos (0 were there)" in shown
    assert "times faster" in shown
    small, before = out / "RGB_frames/Train/0001", str(root / "RGB_frames/Train/0001")
    assert sorted(path.name for path in small.glob("[!.]*")) == [
        f"{number:05d}.jpg" for number in range(1, 13)
    ]
    with Image.open(small / "00003.jpg") as image:
        assert image.size == (48, 32)
    with Image.open(out / "RGB_frames/Train/0002/00003.png") as image:
        assert image.size == (40, 30)  # it is small already
    (record,) = Meccano(out).records("train")
    with FrameFolderReader(record.path) as new, FrameFolderReader(before) as old:
        assert difference(new.read([1, 7, 12]), old.read([1, 7, 12], 32)) < 8

    kept = (small / "00002.jpg").stat().st_mtime_ns
    (small / "00003.jpg").unlink()
    (root / "RGB_frames/Train/0001/00005.jpg").write_bytes(b"broken")
    assert run(*words) == 1
    shown = capsys.readouterr().out
    assert "1 videos (1 were there)" in shown
    assert "0001: 1 of 12 images: 00005.jpg (" in shown
    assert (small / "00003.jpg").exists()
    assert (small / "00002.jpg").stat().st_mtime_ns == kept
    (root / "RGB_frames/Train/0001/00005.jpg").unlink()
    assert run(*words[:-1], 20) == 0  # another size: all anew
    with Image.open(small / "00002.jpg") as image:
        assert image.size == (30, 20)


def test_names_that_would_collide(dataset, tmp_path):
    write_video(dataset / "v" / "a.mkv", 6)
    write_video(dataset / "w" / "a.mkv", 7)
    (dataset / "v" / "broken.mp4").unlink()
    (dataset / "val.csv").write_text("v/a.mkv 1\nw/a.mkv 0\nv/a.mp4 1\n")
    out = tmp_path / "out"
    assert run("--data_dir", dataset, "--output_dir", out, "--workers", 0) == 0
    assert (out / "val.csv").read_text() == "v/a_mkv.mp4 1\nw/a_mkv.mp4 0\nv/a.mp4 1\n"
    assert [len(decode_all(out / name)) for name in ("v/a_mkv.mp4", "w/a_mkv.mp4", "v/a.mp4")] == [
        6, 7, 20,
    ]  # fmt: skip


def test_the_copy_must_be_elsewhere(dataset, capsys):
    assert run("--data_dir", dataset, "--output_dir", dataset / "new") == 2
    assert "neither in nor above" in capsys.readouterr().err
    assert run("--data_dir", dataset / "gone", "--output_dir", dataset.parent / "new") == 2
    assert "is not a folder" in capsys.readouterr().err


def test_rename_videos():
    renamed = {"a.avi": "a.mp4", "my clip.avi": "my clip.mp4", "B.AVI": "B.mp4"}
    for text, expected in {
        "x/a.avi 3": "x/a.mp4 3",
        "3,x/my clip.avi,a.avi": "3,x/my clip.mp4,a.mp4",
        '"x/my clip.avi" 1\n7 B.AVI': '"x/my clip.mp4" 1\n7 B.mp4',
        "c.avi 1 a.avi.txt 2": "c.avi 1 a.avi.txt 2",
        '{"file": "a.avi"}': '{"file": "a.mp4"}',
    }.items():
        assert rename_videos(text, renamed) == expected


@pytest.mark.slow
def test_killed_runs_leave_whole_files_only(dataset, tmp_path):
    """Partial files have other names and never count as copies."""
    out = tmp_path / "out"
    command = ["timeout", "-s", "KILL", "2.5", sys.executable, str(TOOL), "--workers", "2"]
    environment = {**os.environ, "PYTHONPATH": str(TOOL.parents[1])}
    command += ["--data_dir", str(dataset), "--output_dir", str(out), "--preset", "veryslow"]
    subprocess.run(command, check=False, env=environment, capture_output=True)
    for path in (out / "v").glob("*") if out.exists() else []:
        if not path.name.startswith("."):
            assert len(decode_all(path)) == 20
    assert run("--data_dir", dataset, "--output_dir", out, "--workers", 0) == 1
    names = {p.name for p in (out / "v").iterdir()}
    assert names == {"a.mp4", "my clip.mp4", "up.MP4"}
