"""Frame i is the i-th frame of decoding the whole file, whatever the file is like."""

import pickle
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from slowfast.datasets.decode import FrameCountError, VideoError, open_video, scaled_size
from slowfast.datasets.decode import pyav as pyav_module
from slowfast.datasets.decode.index import FrameIndex, IndexCache, KeyFrame
from slowfast.datasets.decode.pyav import PyAVReader
from slowfast.datasets.decode.sources import ContainerSource
from tests.videos import (
    B_FRAMES,
    OPEN_GOP,
    assert_exact,
    decode_all,
    remux,
    selections,
    write_video,
)

VARIABLE = np.cumsum([random.Random(3).choice([11, 33, 34, 90, 400]) for _ in range(40)]).tolist()

MPEG4 = {"codec": "mpeg4"}
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov"}
X265 = {"x265-params": "keyint=12:bframes=3:log-level=none"}
VP9 = {"deadline": "realtime", "cpu-used": "8"}
LATE = [5000 + 40 * i for i in range(40)]

KINDS = {
    "h264": ("a.mp4", {"options": B_FRAMES}),
    "h264_one_gop": ("a.mp4", {"options": {"g": "250", "bf": "2"}}),
    "h264_intra": ("a.mp4", {"options": {"g": "1"}}),
    "h264_audio": ("a.mp4", {"options": B_FRAMES, "audio": True}),
    "h264_open_gop_mkv": ("a.mkv", {"options": OPEN_GOP}),
    "h264_open_gop_mp4": ("a.mp4", {"options": OPEN_GOP}),
    "h264_intra_refresh": ("a.mkv", {"options": {"x264-params": "intra-refresh=1:keyint=12"}}),
    "h264_ts": ("a.ts", {"options": B_FRAMES}),
    "h264_avi": ("a.avi", {"options": B_FRAMES}),
    "h264_raw": ("a.h264", {"options": B_FRAMES}),
    "h264_variable_rate": ("a.mp4", {"options": B_FRAMES, "times_ms": VARIABLE}),
    "h264_variable_rate_mkv": ("a.mkv", {"options": B_FRAMES, "times_ms": VARIABLE}),
    "h264_late_start": ("a.mkv", {"options": B_FRAMES, "times_ms": LATE}),
    "h264_two_streams": ("a.mp4", {"options": B_FRAMES, "streams": 2}),
    "h264_fragmented": ("a.mp4", {"options": B_FRAMES, "container_options": FRAGMENTED}),
    "hevc": ("a.mp4", {"codec": "libx265", "options": X265}),
    "mpeg4_avi": ("a.avi", {**MPEG4, "options": {"g": "12", "bf": "2"}}),
    "mpeg4_avi_no_b": ("a.avi", {**MPEG4, "options": {"g": "12", "bf": "0"}}),
    "mpeg4_mp4": ("a.mp4", {**MPEG4, "options": {"g": "12", "bf": "2"}, "audio": True}),
    "vp9": ("a.webm", {"codec": "libvpx-vp9", "num_frames": 16, "options": VP9}),
    "ffv1": ("a.mkv", {"codec": "ffv1", "num_frames": 8}),
    "rotated": ("a.mp4", {"options": B_FRAMES, "rotation": -90}),
    "upside_down": ("a.mp4", {"options": B_FRAMES, "rotation": 180}),
}  # fmt: skip


@pytest.fixture(params=KINDS, scope="module")
def video(request, tmp_path_factory):
    name, arguments = KINDS[request.param]
    arguments = dict(arguments)
    return write_video(tmp_path_factory.mktemp(request.param) / name, **arguments)


def test_equals_decoding_the_whole_file(video):
    assert_exact(video)


def test_kinds_are_what_they_claim(tmp_path):
    with PyAVReader(write_video(tmp_path / "a.mp4", options=B_FRAMES)) as reader:
        assert len(reader._index.keys) == 4
        assert (np.diff(reader._index.positions) < 0).any(), "no B-frames: nothing is reordered"
        assert not reader._index.counted
    with PyAVReader(write_video(tmp_path / "b.mkv", times_ms=LATE)) as reader:
        assert reader._index.pts[0] >= 5000
        assert reader.times[0] == 0
    path = write_video(tmp_path / "c.mp4", options=B_FRAMES, times_ms=VARIABLE)
    with PyAVReader(path) as reader:
        np.testing.assert_allclose(
            reader.times, (np.array(VARIABLE) - VARIABLE[0]) / 1e3, atol=1e-3
        )


@pytest.mark.parametrize("threads", [0, 2])
def test_threads_change_nothing(tmp_path, threads):
    assert_exact(write_video(tmp_path / "a.mp4", options=B_FRAMES), threads=threads)


def test_scaling_equals_scaling_every_frame(tmp_path):
    path = write_video(tmp_path / "a.mp4", options=B_FRAMES, size=(96, 64))
    expected = decode_all(path, size=scaled_size(96, 64, 40))
    with open_video(path) as reader:
        frames = reader.read([30, 2, 17], short_side=40)
    assert frames.shape == (3, 40, 60, 3)
    for frame, index in zip(frames, [30, 2, 17], strict=True):
        np.testing.assert_array_equal(frame, expected[index])


@pytest.mark.parametrize(("size", "short_side"), [((192, 128), 50), ((64, 48), 60), ((96, 64), 41)])
def test_scaling_is_bilinear(tmp_path, size, short_side):
    """Against torch's anti-aliased filter on the full-size RGB frame."""
    path = write_video(tmp_path / "a.mp4", 8, options={"qp": "4"}, size=size)
    with open_video(path) as reader:
        (small,), (full,) = reader.read([5], short_side), reader.read([5])
    full = torch.from_numpy(full.copy()).permute(2, 0, 1)[None].float()
    target = functional.interpolate(full, small.shape[:2], mode="bilinear", antialias=True)[0]
    difference = torch.from_numpy(small).permute(2, 0, 1) - target
    assert difference.abs().mean() < 4
    assert difference.mean().abs() < 2


def test_rotation_turns_clockwise_for_minus_90_and_scales_upright(tmp_path):
    plain = decode_all(write_video(tmp_path / "plain.mp4"))
    with open_video(write_video(tmp_path / "turned.mp4", rotation=-90)) as reader:
        assert (reader.width, reader.height) == (48, 64)
        turned = np.rot90(plain[5], -1).astype(int)  # of another encoding: nearly the same
        assert np.abs(reader.read([5])[0] - turned).mean() < 2
        assert reader.read([5], short_side=24).shape == (1, 32, 24, 3)


@pytest.mark.parametrize(("space", "red", "blue"), [(1, 0.2126, 0.0722), (5, 0.299, 0.114)])
@pytest.mark.parametrize("full", [False, True])
def test_colours_follow_matrix_and_range(tmp_path, space, red, blue, full):
    """Against the defining equations of BT.709 and BT.601."""
    import av

    colour = np.array([200, 30, 60])
    weights = np.array([red, 1 - red - blue, blue])
    luma = colour @ weights / 255
    chroma = [(colour[2] / 255 - luma) / (2 - 2 * blue), (colour[0] / 255 - luma) / (2 - 2 * red)]
    scale, offset, chroma_scale = (255, 0, 255) if full else (219, 16, 224)
    values = [luma * scale + offset, *(c * chroma_scale + 128 for c in chroma)]
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"qp": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = space, 1 + full
        frame = av.VideoFrame(64, 48, "yuv420p")
        frame.colorspace, frame.color_range = space, 1 + full
        for plane, value in zip(frame.planes, values, strict=True):
            plane.update(bytes([round(value)]) * plane.buffer_size)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with open_video(str(tmp_path / "a.mp4")) as reader:
        for short_side in (None, 24):
            pixel = reader.read([0], short_side)[0, 5, 5]
            assert np.abs(pixel.astype(int) - colour).max() <= 3


# -- only what is needed ---------------------------------------------------------------------------


def count_decoded(reader, indices, monkeypatch):
    """Packets given to the decoder and frames converted in one read."""
    packets, original = [], PyAVReader._up_to

    def counting(self, *arguments):
        for packet in original(self, *arguments):
            packets.append(packet.pts)
            yield packet

    monkeypatch.setattr(PyAVReader, "_up_to", counting)
    reader.read(indices)
    return len(packets)


def test_decodes_from_the_keyframe_to_the_last_wanted_frame(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", 60, options=B_FRAMES)
    with open_video(path) as reader:
        assert count_decoded(reader, [24], monkeypatch) == 1
        assert count_decoded(reader, [0, 48], monkeypatch) == 2
        assert count_decoded(reader, [30], monkeypatch) <= 8
        assert count_decoded(reader, list(range(60)), monkeypatch) == 60


def test_segments_seek_only_when_it_saves_decoding():
    keys = tuple(KeyFrame(n, n, n) for n in (0, 12, 24, 36))
    pts = np.arange(48)
    index = FrameIndex(pts / 30, 30.0, 64, 48, 0, pts, pts, keys, False)
    parts = [(key.number, frames) for key, frames in index.segments([1, 10, 13, 25, 47])]
    assert parts == [(0, [1, 10, 13]), (24, [25]), (36, [47])]


@pytest.mark.parametrize(
    ("suffix", "reads"), [("mp4", "read_frame_table"), ("mkv", "scan_packets")]
)
def test_index_is_kept_until_the_file_changes(tmp_path, monkeypatch, suffix, reads):
    cache = IndexCache(entries=2)
    monkeypatch.setattr("slowfast.datasets.decode.pyav.CACHE", cache)
    scans = []
    original = getattr(pyav_module, reads)
    monkeypatch.setattr(pyav_module, reads, lambda *args: scans.append(1) or original(*args))
    path = write_video(tmp_path / f"a.{suffix}", 10)
    for _ in range(3):
        open_video(path).close()
    assert len(scans) == 1
    write_video(path, 20)
    with open_video(path) as reader:
        assert reader.num_frames == 20
    for name in "bc":
        open_video(shutil.copy(path, tmp_path / f"{name}.{suffix}")).close()
    assert len(cache) == 2


def test_indices_of_long_videos_are_not_all_kept(tmp_path):
    cache = IndexCache(frames=25)
    for name in "abc":
        path = write_video(tmp_path / f"{name}.mp4", 10)
        with PyAVReader(path) as reader:
            cache.put(path, reader._index)
    assert len(cache) == 2
    cache.put(path, reader._index)
    assert len(cache) == 2
    path = write_video(tmp_path / "long.mp4", 30)
    with PyAVReader(path) as reader:
        cache.put(path, reader._index)
    assert len(cache) == 1
    assert cache.get(path)


# -- odd and broken files --------------------------------------------------------------------------


def test_cut_at_the_second_keyframe_of_an_open_gop(tmp_path):
    """The copy starts with pictures that refer to what was cut off."""
    whole = write_video(tmp_path / "a.mkv", options=OPEN_GOP)
    assert_exact(remux(whole, tmp_path / "b.mkv", start_key=1))


def test_edit_list_hides_the_frames_before_it(tmp_path):
    """As ``ffmpeg -ss 0.6 -c copy`` writes: decoding starts earlier than showing."""
    whole = write_video(tmp_path / "a.mp4", options=B_FRAMES)
    cut = remux(whole, tmp_path / "b.mp4", shift=-512 * 18)
    shown = assert_exact(cut)
    assert len(shown) < 40


def test_shifted_timestamps(tmp_path):
    whole = write_video(tmp_path / "a.mp4", options=B_FRAMES)
    assert len(assert_exact(remux(whole, tmp_path / "b.mp4", shift=512 * 300))) == 40


def patched(path, edit):
    data = bytearray(Path(path).read_bytes())
    edit(data)
    Path(path).write_bytes(data)
    return path


def test_truncated_mp4_says_so(tmp_path):
    path = write_video(
        tmp_path / "a.mp4", options=B_FRAMES, container_options={"movflags": "faststart"}
    )
    patched(path, lambda data: data.__delitem__(slice(-2000, None)))
    with pytest.raises(VideoError, match=r"a\.mp4: cut short: \d+ of 40 frames lie beyond"):
        open_video(path)


def test_truncated_avi_says_so(tmp_path):
    path = write_video(tmp_path / "a.avi", codec="mpeg4", options={"bf": "0", "g": "1"})
    patched(path, lambda data: data.__delitem__(slice(len(data) * 3 // 4, None)))
    with pytest.raises(VideoError, match=r"a\.avi: cut short: its packet \d+ is incomplete"):
        open_video(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"", "cannot be opened: "),
        (b"not a video" * 99, "cannot be opened"),
    ],
)
def test_unreadable_files_are_named(tmp_path, content, message):
    path = tmp_path / "bad.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(VideoError, match=rf"bad\.mp4: {message}"):
        open_video(str(path))


def test_file_without_video(tmp_path):
    import av

    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        sound = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        frame.sample_rate = 16000
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    with pytest.raises(VideoError, match=r"no video stream .*audio"):
        open_video(str(tmp_path / "a.mp4"))


def test_frames_that_silently_do_not_decode_are_never_shifted(tmp_path, monkeypatch):
    """A decoder that swallows the 21st frame: no frame, no error."""
    path = write_video(tmp_path / "a.mp4", options=B_FRAMES)
    expected = decode_all(path)
    original = PyAVReader._frames
    swallowed = 20 * 512

    def swallow(self, packets):
        return (frame for frame in original(self, packets) if frame.pts != swallowed)

    monkeypatch.setattr(PyAVReader, "_frames", swallow)
    with open_video(path) as reader:
        np.testing.assert_array_equal(reader.read([38])[0], expected[38])
        with pytest.raises(FrameCountError, match="40 frames promised, 39 decode"):
            reader.read([0, 20])
        assert reader.num_frames == 39 == len(reader.times)
        del expected[20]
        for indices in selections(39):
            for i, frame in zip(indices, reader.read(indices), strict=True):
                np.testing.assert_array_equal(frame, expected[i])
    with open_video(path) as reader:
        assert reader.num_frames == 39, "known from now on"


def test_frames_that_come_out_in_another_order_than_their_timestamps(tmp_path, monkeypatch):
    """Then they are counted: presentation order is the order in which they come out."""
    path = write_video(tmp_path / "a.mp4", options=B_FRAMES)
    original = PyAVReader._frames

    def swap(self, packets):
        for frame in original(self, packets):
            number = frame.pts // 512
            frame.pts = (number ^ 1) * 512
            yield frame

    monkeypatch.setattr(PyAVReader, "_frames", swap)
    expected = decode_all(path)
    with open_video(path) as reader:
        with pytest.raises(FrameCountError, match="comes out after frame"):
            reader.read([2, 3, 4])
        for i, frame in zip([2, 3, 30], reader.read([2, 3, 30]), strict=True):
            np.testing.assert_array_equal(frame, expected[i])


def test_a_damaged_frame_is_named(tmp_path):
    path = write_video(tmp_path / "a.mp4", codec="mpeg4", options={"bf": "0", "g": "12"})
    with ContainerSource(path, 1) as source:
        entry = source.stream.index_entries[20]

    def zero(data):
        data[entry.pos : entry.pos + entry.size] = bytes(entry.size)

    patched(path, zero)
    with open_video(path) as reader:
        assert len(reader.read([3, 30])) == 2, "others still read"
        with pytest.raises(VideoError, match=r"a\.mp4: (cannot be decoded at|frame 20)"):
            reader.read([20])


def test_frame_numbers_are_checked(tmp_path):
    with open_video(write_video(tmp_path / "a.mp4", 5)) as reader:
        with pytest.raises(IndexError, match=r"a\.mp4: frame 5 asked for, frames are 0 to 4"):
            reader.read([5])
        assert reader.read([]).shape == (0, 48, 64, 3)


def test_errors_survive_pickling():
    error = pickle.loads(pickle.dumps(VideoError("a.mp4", "cut short")))
    assert (str(error), error.path) == ("a.mp4: cut short", "a.mp4")
