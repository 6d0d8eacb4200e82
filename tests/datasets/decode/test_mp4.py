"""The tables of plain MP4 files say what FFmpeg says; all others are left to it."""

import dataclasses
import random
import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from slowfast.datasets.decode import FrameCountError, VideoError, open_video
from slowfast.datasets.decode import pyav as pyav_module
from slowfast.datasets.decode.index import CACHE
from slowfast.datasets.decode.mp4 import read_frame_table
from slowfast.datasets.decode.pyav import PyAVReader
from slowfast.datasets.decode.sources import ContainerSource, TableSource
from tests.datasets.test_decode import KINDS, VARIABLE, X265
from tests.videos import (
    B_FRAMES,
    OPEN_GOP,
    SHARED_CLIPS,
    assert_exact,
    decode_all,
    remux,
    write_video,
)

FASTSTART = {"movflags": "faststart"}
PLAIN = {
    "b_frames": {"options": B_FRAMES},
    "one_gop": {"options": {"g": "250", "bf": "2"}},
    "pyramid": {"num_frames": 90, "options": {"preset": "slow", "bf": "8", "g": "90"}},
    "intra": {"options": {"g": "1"}},
    "audio": {"options": B_FRAMES, "audio": True},
    "audio_faststart": {"options": B_FRAMES, "audio": True, "container_options": FASTSTART},
    "open_gop": {"options": OPEN_GOP},
    "variable_rate": {"options": B_FRAMES, "times_ms": VARIABLE},
    "two_streams": {"options": B_FRAMES, "streams": 2},
    "hevc": {"codec": "libx265", "options": X265},
    "turned": {"options": B_FRAMES, "rotation": -90},
    "turned_back": {"options": B_FRAMES, "rotation": 90},
    "upside_down": {"options": B_FRAMES, "rotation": 180},
    "few_frames": {"num_frames": 4},
}


def assert_as_ffmpeg_says(path):
    table = read_frame_table(path)
    assert table is not None
    with ContainerSource(path, 1) as source:
        stream = source.stream
        packets = [packet for packet in source.container.demux(stream) if packet.size]
        start = min(packet.pts for packet in packets)
        assert table.pts.tolist() == [packet.pts - start for packet in packets]
        assert table.key.tolist() == [packet.is_keyframe for packet in packets]
        assert table.offsets.tolist() == [packet.pos for packet in packets]
        assert table.sizes.tolist() == [packet.size for packet in packets]
        assert table.rate == stream.average_rate
        assert table.time_base == stream.time_base
        assert table.extradata == stream.codec_context.extradata
        assert (table.width, table.height) == (stream.width, stream.height)
        assert table.stream_index == stream.index
        assert table.codec == stream.codec_context.name
    with av.open(path) as container:
        assert table.rotation == next(container.decode(video=0)).rotation % 360
    return table


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
@pytest.mark.parametrize("kind", PLAIN)
def test_plain_files(tmp_path, kind, suffix):
    path = write_video(tmp_path / f"a.{suffix}", **PLAIN[kind])
    assert_as_ffmpeg_says(path)
    CACHE.clear()
    assert_exact(path)
    assert CACHE.get(path).table is not None, "read by its table to the end"


@pytest.mark.skipif(not SHARED_CLIPS.is_dir(), reason="the real clips are not here")
def test_real_clips():
    paths = [str(path) for path in sorted(SHARED_CLIPS.glob("*.mp4"))]
    assert len(paths) == 7
    for path in paths:
        assert_as_ffmpeg_says(path)


@pytest.mark.parametrize(
    "kind", ["h264_fragmented", "h264_ts", "h264_avi", "h264_raw", "mpeg4_mp4", "vp9"]
)
def test_others_are_left_to_ffmpeg(tmp_path, kind):
    name, arguments = KINDS[kind]
    assert read_frame_table(write_video(tmp_path / name, **arguments)) is None


def test_hidden_frames_are_left_to_ffmpeg(tmp_path):
    whole = write_video(tmp_path / "a.mp4", options=B_FRAMES)
    assert read_frame_table(remux(whole, tmp_path / "b.mp4", shift=-512 * 18)) is None


def test_a_late_start_hides_nothing(tmp_path):
    whole = write_video(tmp_path / "a.mp4", options=B_FRAMES)
    path = remux(whole, tmp_path / "b.mp4", shift=512 * 300)
    assert_as_ffmpeg_says(path)
    assert_exact(path)


def test_frames_that_nothing_refers_to_are_not_read(tmp_path):
    """Opening reads the tables only, a clip the packets from its keyframe on."""
    path = write_video(tmp_path / "a.mp4", options=B_FRAMES)
    expected = decode_all(path)
    table = read_frame_table(path)
    start = int(np.flatnonzero(table.key)[2])
    data = bytearray(Path(path).read_bytes())
    for offset, size in zip(table.offsets[:start], table.sizes[:start], strict=True):
        data[offset : offset + size] = bytes(size)
    Path(path).write_bytes(data)
    with open_video(path) as reader:
        np.testing.assert_array_equal(reader.read([30])[0], expected[30])
        with pytest.raises(VideoError, match=r"a\.mp4"):
            reader.read([3])


# -- where the table is wrong ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [{"offsets": 3}, {"sizes": -2}, {"delay": -9}],
)
def test_wrong_tables_do_not_give_wrong_frames(tmp_path, monkeypatch, change):
    path = write_video(tmp_path / "a.mp4", options=B_FRAMES)
    right = read_frame_table(path)
    wrong = {name: getattr(right, name) + by for name, by in change.items()}
    monkeypatch.setattr(
        pyav_module, "read_frame_table", lambda _: dataclasses.replace(right, **wrong)
    )
    expected = decode_all(path)
    CACHE.clear()
    with open_video(path) as reader:
        for indices in ([30, 2, 17], range(40)):
            for number, frame in zip(indices, reader.read(indices), strict=True):
                np.testing.assert_array_equal(frame, expected[number])


@pytest.mark.parametrize("change", [{"width": 32}, {"rotation": 90}])
def test_other_pictures_than_announced(tmp_path, monkeypatch, change):
    """Then the plan for the clip is void: the caller chooses anew, as the dataset does."""
    path = write_video(tmp_path / "a.mp4", options=B_FRAMES)
    wrong = dataclasses.replace(read_frame_table(path), **change)
    monkeypatch.setattr(pyav_module, "read_frame_table", lambda _: wrong)
    CACHE.clear()
    if "rotation" in change:  # of the container alone: nothing in the stream contradicts it
        with open_video(path) as reader:
            assert (reader.width, reader.height) == (48, 64)
        return
    with open_video(path) as reader:
        with pytest.raises(FrameCountError, match=r"frame \d+ is 64x48.*40 frames of 64x48 found"):
            reader.read([7])
        assert reader.width == 64
        np.testing.assert_array_equal(reader.read([7])[0], decode_all(path)[7])


def test_fewer_frames_than_announced(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", options={"g": "5", "bf": "0"})
    right = read_frame_table(path)
    more = {
        name: np.concatenate([getattr(right, name), getattr(right, name)[-1:]])
        for name in ("key", "offsets", "sizes")
    }
    more["pts"] = np.append(right.pts, right.pts[-1] + 512)
    more["sizes"][-1] = 5  # no frame
    wrong = dataclasses.replace(right, **more)
    monkeypatch.setattr(pyav_module, "read_frame_table", lambda _: wrong)
    CACHE.clear()
    with open_video(path) as reader:
        assert reader.num_frames == 41
        with pytest.raises(FrameCountError, match=r"41 frames.*promised, 40 frames"):
            reader.read([40])
        assert reader.num_frames == 40


@pytest.mark.parametrize("seed", range(3))
def test_damaged_tables(tmp_path, seed):
    """Any byte of the tables may be wrong: frames of the right size come, or an error by name."""
    path = write_video(tmp_path / "a.mp4", 12, options=B_FRAMES, container_options=FASTSTART)
    content = Path(path).read_bytes()
    start, stop = content.index(b"moov"), content.index(b"mdat")
    draw = random.Random(seed)
    outcomes = set()
    for _ in range(60):
        damaged = bytearray(content)
        for _ in range(draw.choice([1, 1, 4])):
            damaged[draw.randrange(start, stop)] = draw.randrange(256)
        Path(path).write_bytes(damaged)
        CACHE.clear()
        try:
            with open_video(path) as reader:
                numbers = [reader.num_frames - 1, 0]
                shape = (2, reader.height, reader.width, 3)
                outcomes.add(reader.read(numbers).shape == shape)
        except VideoError as error:
            outcomes.add("error" if "a.mp4" in str(error) else str(error))
    assert outcomes == {True, "error"}


def test_missing_file(tmp_path):
    with pytest.raises(VideoError, match=r"none\.mp4: No such file"):
        read_frame_table(str(tmp_path / "none.mp4"))


# -- decoders are used again ----------------------------------------------------------------------


def test_two_open_readers_do_not_share_a_decoder(tmp_path):
    paths = [
        write_video(tmp_path / f"{name}.mp4", frames, options=B_FRAMES)
        for name, frames in (("a", 40), ("b", 30))
    ]
    expected = [decode_all(path) for path in paths]
    with PyAVReader(paths[0]) as one, PyAVReader(paths[1]) as two:
        assert one.context is not two.context
        for number in (29, 3, 14):
            for reader, frames in zip((one, two), expected, strict=True):
                np.testing.assert_array_equal(reader.read([number])[0], frames[number])
        kept = one.context  # closed last
    with PyAVReader(paths[0]) as reader:
        assert reader.context is kept, "the same parameters: the same decoder"
        np.testing.assert_array_equal(reader.read([20])[0], expected[0][20])


def test_decoders_are_not_used_again_after_an_error(tmp_path):
    path = write_video(tmp_path / "a.mp4", options=B_FRAMES)
    table = read_frame_table(path)
    with TableSource(path, table, 1) as source:
        packets = source.packets(None, None)
        source.context.decode(next(packets))
        context = source.context
    other = shutil.copy(path, tmp_path / "b.mp4")
    with TableSource(other, table, 1) as source:
        assert source.context is not context
