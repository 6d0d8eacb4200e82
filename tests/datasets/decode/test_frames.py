"""Folders of numbered images: which are read, at what size, what is said when one is missing."""

import sys

import numpy as np
import pytest
from PIL import Image

from slowfast.datasets.decode.base import Region, VideoError
from slowfast.datasets.decode.frames import (
    FrameFolderReader,
    detect_pattern,
    is_frame_path,
    name_pattern,
    scan_frames,
)


def picture(number, width=96, height=64):
    """A smooth picture whose colours tell its number."""
    y, x = np.mgrid[:height, :width]
    red = np.full_like(x, 20 * (number % 12))
    return np.stack([red, 255 * x // width, 255 * y // height], axis=-1).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Images 3 to 8, without 5."""
    for number in (3, 4, 6, 7, 8):
        Image.fromarray(picture(number)).save(tmp_path / f"img_{number:05d}.jpg", quality=95)
    (tmp_path / "notes.txt").write_text("not a frame")
    return tmp_path


@pytest.fixture(params=["simplejpeg", "pillow"])
def decoder(request, monkeypatch):
    if request.param == "simplejpeg":
        pytest.importorskip("simplejpeg")
        return
    monkeypatch.setitem(sys.modules, "simplejpeg", None)  # as if not installed


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("00001.jpg", "{:05d}.jpg"),
        ("frame_0000000001.JPG", "frame_{:010d}.JPG"),
        ("img_00012.png", "img_{:05d}.png"),
        ("7.jpg", "{:d}.jpg"),
        ("cam2_007.jpeg", "cam2_{:03d}.jpeg"),
        ("{a}_01.jpg", "{{a}}_{:02d}.jpg"),
        ("cover.jpg", None),
        ("00001.txt", None),
    ],
)
def test_name_pattern(name, pattern):
    assert name_pattern(name) == pattern
    if pattern:
        assert is_frame_path(f"/some/where/{pattern}")


def test_numbers_without_leading_zeros_find_their_files(tmp_path):
    for number in (9, 10, 11):
        Image.fromarray(picture(number)).save(tmp_path / f"{number}.png")
    assert scan_frames(tmp_path)[1:] == (9, 11, 3)
    frames = FrameFolderReader(tmp_path).read([9, 10, 11])
    assert frames[:, 0, 0, 0].tolist() == [180, 200, 220]


def test_scan(folder):
    assert scan_frames(folder) == ("img_{:05d}.jpg", 3, 8, 5)
    assert detect_pattern(folder) == "img_{:05d}.jpg"
    with pytest.raises(VideoError, match=r"no image named like frame_0000000001\.jpg"):
        scan_frames(folder, "frame_{:010d}.jpg")
    (folder / "empty").mkdir()
    with pytest.raises(VideoError, match=r"empty: no numbered image"):
        scan_frames(folder / "empty")
    with pytest.raises(VideoError, match="nowhere"):
        scan_frames(folder / "nowhere")


def test_frame_i_is_the_image_numbered_i(folder, decoder):
    with FrameFolderReader(folder, fps=10) as reader:
        assert (reader.num_frames, reader.width, reader.height) == (9, 96, 64)
        np.testing.assert_allclose(reader.times, np.arange(9) / 10)
        frames = reader.read([8, 3, 3, 6])
    assert frames.shape == (4, 64, 96, 3)
    assert frames.dtype == np.uint8
    for frame, number in zip(frames, [8, 3, 3, 6], strict=True):
        assert np.abs(frame.astype(int) - picture(number)).mean() < 3


@pytest.mark.parametrize("short_side", [100, 64, 48, 32, 20, 7])
def test_scaled(folder, decoder, short_side):
    frames = FrameFolderReader(folder / "img_{:05d}.jpg").read([4], short_side)
    width = 96 * short_side // 64
    assert frames.shape == (1, short_side, width, 3)
    expected = np.asarray(Image.fromarray(picture(4)).resize((width, short_side), 2))
    assert np.abs(frames[0].astype(int) - expected).mean() < 4


@pytest.mark.parametrize("size", [(30, 40), (24, 32), (15, 20), (60, 80), (6, 8)])
def test_region(folder, decoder, size):
    reader = FrameFolderReader(folder / "img_{:05d}.jpg")
    frames = reader.read_region([4, 6, 4], Region(8, 12, 30, 40, size))
    assert frames.shape == (3, *size, 3)
    np.testing.assert_array_equal(frames[0], frames[2])
    part = Image.fromarray(picture(4)[8:38, 12:52])
    expected = np.asarray(part.resize(size[::-1], Image.Resampling.BILINEAR))
    assert np.abs(frames[0].astype(int) - expected).mean() < 8


def test_portrait_and_png(tmp_path):
    Image.fromarray(picture(1, width=30, height=50)).convert("RGBA").save(tmp_path / "001.png")
    frames = FrameFolderReader(tmp_path).read([1], 15)
    assert frames.shape == (1, 25, 15, 3)


def test_only_the_asked_images_are_opened(folder, monkeypatch):
    opened = []
    real_open = open
    monkeypatch.setattr(
        "builtins.open", lambda path, *a: opened.append(path) or real_open(path, *a)
    )
    monkeypatch.setattr("os.listdir", lambda *_: pytest.fail("listed the folder"))
    monkeypatch.setattr("os.scandir", lambda *_: pytest.fail("listed the folder"))
    reader = FrameFolderReader(folder / "img_{:05d}.jpg", first=6, last=8)
    reader.read([7, 7, 6])
    assert {str(path)[-9:] for path in opened} == {"00006.jpg", "00007.jpg"}
    assert reader.num_frames == 9


def test_missing_image_names_it_and_the_range(folder):
    reader = FrameFolderReader(folder)
    with pytest.raises(
        VideoError, match=r"img_00005\.jpg: No such file.*5 images, numbered 3 to 8"
    ):
        reader.read([4, 5])
    with pytest.raises(VideoError, match=r"img_00099\.jpg"):
        FrameFolderReader(folder / "img_{:05d}.jpg", first=99, last=120)


@pytest.mark.parametrize(
    ("data", "cause"), [(b"", "an empty file"), (b"no image", "not a readable")]
)
def test_broken_image(folder, decoder, data, cause):
    (folder / "img_00006.jpg").write_bytes(data)
    with pytest.raises(VideoError, match=rf"img_00006\.jpg: {cause}"):
        FrameFolderReader(folder).read([6])


def test_truncated_image(folder, decoder):
    path = folder / "img_00007.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(VideoError, match=r"img_00007\.jpg: cannot be decoded"):
        FrameFolderReader(folder).read([6, 7])


def test_other_size(folder):
    Image.fromarray(picture(1, width=40, height=40)).save(folder / "img_00007.jpg")
    with pytest.raises(VideoError, match=r"img_00007\.jpg: 40x40 pixels, others here are 96x64"):
        FrameFolderReader(folder).read([6, 7])
