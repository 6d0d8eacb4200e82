"""Every backend behind the same protocol, and the files that people really have."""

import subprocess
import sys

import numpy as np
import pytest

from slowfast.datasets.decode import VideoError, open_video
from slowfast.datasets.decode.baseline import read_view
from slowfast.datasets.decode.pyav import PyAVReader
from tests.videos import B_FRAMES, SHARED_CLIPS, assert_exact, decode_all, write_video


@pytest.mark.parametrize("backend", ["opencv", "torchcodec"])
@pytest.mark.parametrize("rotation", [None, -90])
def test_other_backends_read_the_same_frames(tmp_path, backend, rotation):
    """On a file with a constant frame rate; colour conversion may round differently."""
    path = write_video(tmp_path / "a.mp4", options=B_FRAMES, rotation=rotation)
    try:
        reader = open_video(path, backend)
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"{backend} does not load here: {str(error).splitlines()[0]}")
    indices = [37, 0, 12, 13, 5, 5]
    with reader, open_video(path) as exact:
        assert (reader.num_frames, reader.fps) == (exact.num_frames, exact.fps)
        assert (reader.width, reader.height) == (exact.width, exact.height)
        for short_side in (None, 24):
            ours, theirs = exact.read(indices, short_side), reader.read(indices, short_side)
            assert ours.shape == theirs.shape
            difference = np.abs(ours.astype(int) - theirs).mean(axis=(1, 2, 3))
            assert difference.max() < (3 if short_side is None else 12)
    with pytest.raises(VideoError, match="missing"):
        open_video(str(tmp_path / "missing.mp4"), backend)


@pytest.mark.parametrize("name", ["torchvision", "decord"])
def test_names_of_gone_backends_mean_pyav(tmp_path, name, caplog):
    path = write_video(tmp_path / "a.mp4", 5)
    with caplog.at_level("INFO"), open_video(path, name) as reader:
        assert isinstance(reader, PyAVReader)


def test_unknown_backend_lists_those_there_are(tmp_path):
    with pytest.raises(KeyError, match=r"Did you mean 'pyav'.*opencv"):
        open_video(str(tmp_path), "pyva")


def test_decode_package_imports_no_backend():
    code = "import slowfast.datasets.base, slowfast.datasets.build, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not {"av", "cv2", "torchcodec"} & set(loaded.stdout.split())


def test_baseline_reads_the_same_frames(tmp_path):
    path = write_video(tmp_path / "a.mp4", options=B_FRAMES)
    expected = decode_all(path)
    frames = read_view(path, start=8, end=15, num_frames=8)
    for frame, index in zip(frames, range(8, 16), strict=True):
        np.testing.assert_array_equal(frame, expected[index])


# -- real files ------------------------------------------------------------------------------------

COUNTS = {
    "mmaction2_demo.mp4": 280,
    "mmaction2_demo_spatiotemporal_det.mp4": 57,
    "mmaction2_part_0.mp4": 32,
    "mmaction2_test.avi": 164,
    "mmaction2_test.mp4": 300,
    "mmaction2_test_video_structuralize.mp4": 300,
    "torchcodec_nasa_13013.mp4": 325,
}


@pytest.mark.skipif(not SHARED_CLIPS.is_dir(), reason="the real clips are not here")
@pytest.mark.parametrize("name", COUNTS)
def test_real_clips(name):
    assert len(assert_exact(str(SHARED_CLIPS / name))) == COUNTS[name]


@pytest.mark.slow
@pytest.mark.skipif(not SHARED_CLIPS.is_dir(), reason="the real clips are not here")
def test_real_full_hd_clip():
    path = str(SHARED_CLIPS / "mmaction2_demo_skeleton.mp4")
    expected = decode_all(path)
    with open_video(path) as reader:
        assert reader.num_frames == len(expected) == 72
        for indices in ([71, 3, 40], list(range(0, 72, 9))):
            for frame, index in zip(reader.read(indices), indices, strict=True):
                np.testing.assert_array_equal(frame, expected[index])
