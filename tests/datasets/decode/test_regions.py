"""Part of a frame, read and scaled alone, is the same part of the whole frame."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from slowfast.datasets.decode import Region, RegionReader, open_video
from slowfast.datasets.decode import convert as convert_module
from tests.videos import B_FRAMES, write_video

REGION = Region(8, 12, 30, 40, (24, 32))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("regions")
    return write_video(folder / "a.mp4", 12, options=B_FRAMES | {"qp": "4"}, size=(96, 64))


def scaled(pictures, region):
    """The part of full-size RGB frames by torch's anti-aliased filter."""
    rows = slice(region.top, region.top + region.height)
    part = torch.from_numpy(pictures[:, rows, region.left : region.left + region.width].copy())
    part = part.permute(0, 3, 1, 2).float()
    if tuple(part.shape[2:]) != region.size:
        part = functional.interpolate(part, region.size, mode="bilinear", antialias=True)
    return part.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("size", [(24, 32), (30, 40), (60, 80), (15, 20)])
def test_is_the_part_of_the_whole(path, size, in_place, monkeypatch):
    monkeypatch.setattr(convert_module, "IN_PLACE", in_place and convert_module.IN_PLACE)
    region = REGION._replace(size=size)
    with open_video(path) as reader:
        assert isinstance(reader, RegionReader)
        frames, whole = reader.read_region([7, 2, 7], region), reader.read([7, 2, 7])
    assert frames.shape == (3, *size, 3)
    np.testing.assert_array_equal(frames[0], frames[2])
    difference = frames - scaled(whole, region)
    assert np.abs(difference).mean() < 4
    assert abs(difference.mean()) < 2


def test_without_scaling_it_is_the_same_pixels(path):
    """All inside a flat part of the chroma: nothing is interpolated across the cut."""
    region = Region(8, 12, 30, 40, (30, 40))
    with open_video(path) as reader:
        part, whole = reader.read_region([5], region)[0], reader.read([5])[0]
    np.testing.assert_array_equal(part, whole[8:38, 12:52])


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le"])
def test_pixel_formats(tmp_path, pixel_format):
    import av

    path = str(tmp_path / "a.mkv")
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = 96, 64, pixel_format
        ramp = np.add.outer(np.arange(64) * 2, np.arange(96)).astype(np.uint8)
        picture = np.stack([ramp, 255 - ramp, ramp // 2], -1)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode(None))
    with open_video(path) as reader:
        frames, whole = reader.read_region([0], REGION), reader.read([0])
    assert np.abs(frames - scaled(whole, REGION)).mean() < 2


@pytest.mark.parametrize("rotation", [-90, 90, 180])
def test_is_upright(tmp_path, rotation):
    path = write_video(tmp_path / "a.mp4", 4, size=(96, 64), rotation=rotation)
    with open_video(path) as reader:
        whole = reader.read([1])
        height, width = whole.shape[1:3]
        region = Region(10, 6, height - 20, width - 16, (20, 30))
        frames = reader.read_region([1], region)
    assert frames.shape == (1, 20, 30, 3)
    assert np.abs(frames - scaled(whole, region)).mean() < 8


@pytest.mark.parametrize(
    "region",
    [
        Region(0, 0, 64, 96, (64, 96)),
        Region(63, 95, 1, 1, (5, 5)),
        Region(0, 0, 1, 1, (1, 1)),
        Region(61, 0, 3, 96, (3, 7)),
    ],
)
def test_edges(path, region):
    with open_video(path) as reader:
        assert reader.read_region([0], region).shape == (1, *region.size, 3)


def test_odd_frame_sizes(tmp_path):
    import av

    path = str(tmp_path / "a.mkv")
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = 97, 65, "yuv420p"
        picture = np.random.default_rng(0).integers(0, 256, (65, 97, 3), np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode(None))
    with open_video(path) as reader:
        assert reader.read_region([0], Region(0, 0, 65, 97, (32, 32))).shape == (1, 32, 32, 3)
        assert reader.read_region([0], Region(64, 96, 1, 1, (2, 2))).shape == (1, 2, 2, 3)


@pytest.mark.parametrize("turns", range(4))
def test_turned(turns):
    upright = np.arange(20 * 30).reshape(20, 30)
    stored = np.rot90(upright, -turns)
    region = Region(3, 4, 5, 9, (5, 9))
    inner = region.turned(turns, 20, 30)
    part = stored[inner.top : inner.top + inner.height, inner.left : inner.left + inner.width]
    assert part.shape == inner.size
    np.testing.assert_array_equal(np.rot90(part, turns), upright[3:8, 4:13])
