"""The bad files that people and machines make, each by name: one error that says what to do."""

import csv
import io
import pickle
import re
import zipfile

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slowfast.checkpoint.io import CheckpointError, read_checkpoint
from slowfast.config import load_cfg
from slowfast.config.keys import ConfigError
from slowfast.datasets.annotations import AnnotationError, read_csv, read_lines
from slowfast.datasets.decode import FrameCountError, VideoError, open_video
from slowfast.datasets.decode.frames import FrameFolderReader
from slowfast.datasets.epic_kitchens import read_segments
from slowfast.datasets.kinetics import Kinetics
from slowfast.deploy.serve.limits import Limits, ServeError
from slowfast.utils.errors import UserError, shortened
from slowfast.utils.safe_pickle import load_pickle
from tests.fuzz.checkpoints import Code, bomb, many_views, saved
from tests.fuzz.configs import BOMB, LIST_BOMB
from tests.videos import decode_all, remux, write_video

FEW = settings(
    max_examples=100, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip


# ---- config -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "a.yaml:.* aliases stand for more than"),
        (LIST_BOMB, "a.yaml:.* aliases stand for more than"),
        ("a: &a [*a]\n", "a.yaml:1: .*contains itself"),
        ("a: " + "[" * 5000, "a.yaml: .*nested too deeply"),
        ("a: " + "x" * 300_000, "a.yaml: .*300003 characters"),
        ("a: !!python/object/apply:os.system [echo run]", "a.yaml:1: .*constructor"),
        ("DATA: {NUM_FRAMES: 1" + "0" * 500 + "}", "NUM_FRAMES in .*a.yaml:1"),
        ('_BASE_: "a\\0b"', "no config file"),
        ("_BASE_: /dev/zero", "is no config file"),
        ("DIST_BACKEND:", "DIST_BACKEND in .*a.yaml:1: expected one of"),
    ],
    ids=["bomb", "lists", "circle", "deep", "long", "code", "number", "zero", "device", "nothing"],
)
def test_configs(text, message, tmp_path):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        load_cfg(tmp_path / "a.yaml")
    assert len(str(error.value)) < 1500


@FEW
@given(text=st.text())
def test_any_text_is_a_config_or_an_error(text, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(text, "utf-8", "surrogatepass")
    try:
        load_cfg(path)
    except ConfigError as error:
        assert str(path) in str(error)


@FEW
@given(name=st.sampled_from(["DATA.NUM_FRAMES", "SOLVER.STEPS", "MODEL.ARCH", "OUTPUT_DIR"]),
       value=st.text() | st.integers() | st.floats() | st.lists(st.integers() | st.text()))  # fmt: skip
def test_any_value_of_a_key(name, value):
    try:
        cfg = load_cfg((), [name, value])
    except ConfigError as error:
        assert "." in str(error)
        assert len(str(error)) < 1500
    else:
        assert cfg.is_frozen()


# ---- lists --------------------------------------------------------------------------------------

PATHS = st.text(
    st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=20
)


@FEW
@given(
    rows=st.lists(st.tuples(PATHS, st.integers(0, 9)), min_size=1, max_size=8),
    separator=st.sampled_from(",;\t|"),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    mark=st.sampled_from(["", "\ufeff"]),
)
def test_lists_come_back(rows, separator, newline, mark, tmp_path):
    """Whatever the separator, the line ends and the mark, with quotes where they are needed."""
    rows = [("a.mp4", 1), *((path.replace('"', "") + ".mp4", label) for path, label in rows)]
    file = io.StringIO()
    writer = csv.writer(file, delimiter=separator, lineterminator=newline, quoting=csv.QUOTE_ALL)
    writer.writerows(rows)
    (tmp_path / "train.csv").write_bytes((mark + file.getvalue()).encode())
    (tmp_path / "a.mp4").touch()
    records = Kinetics(tmp_path, [10]).records("train")
    assert [(record.name, record.labels) for record in records] == rows


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("a.mp4 1".encode("utf-16"), "not UTF-8"),
        ("a.mp4 1".encode("utf-16-le"), "zero bytes, as UTF-16"),
        ("\xe9.mp4 1".encode("latin-1"), "not UTF-8"),
        (b"a.mp4 " + b"1" * 200_000, "longer than 100000 characters"),
        (b"a.mp4 1\n" + b"x" * 2_000_000, "train.csv:2: longer"),
    ],
)
def test_lists_of_other_kinds(data, message, tmp_path):
    (tmp_path / "train.csv").write_bytes(data)
    with pytest.raises(AnnotationError, match=message):
        list(read_lines(tmp_path / "train.csv"))
    with pytest.raises(AnnotationError, match=message):
        list(read_csv(tmp_path / "train.csv"))


def test_a_quote_that_nobody_closes_swallows_no_rows(tmp_path):
    (tmp_path / "a.csv").write_text('a,"b\nc,"d"\ne,f\n')
    with pytest.raises(AnnotationError, match=r"a\.csv:1: not comma-separated"):
        list(read_csv(tmp_path / "a.csv"))


@pytest.mark.parametrize("time", ["00:00:nan", "00:00:inf", "-1:00:00", "00:61:00", "00:00:1e3"])
def test_times_that_are_none(time, tmp_path):
    head = (
        "narration_id,participant_id,video_id,start_timestamp,stop_timestamp,start_frame,stop_frame"
    )
    (tmp_path / "a.csv").write_text(f"{head}\na,P01,P01_01,{time},00:10:00.0,1,2\n")
    with pytest.raises(AnnotationError, match=r"a\.csv:2: start_timestamp .* expected HH:MM:SS"):
        read_segments(tmp_path / "a.csv")


# ---- checkpoints --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (saved({"model_state": Code()}), "holds Python objects"),
        (saved({"model_state": Code()}, zipped=False), "holds Python objects"),
        (pickle.dumps({"model_state": Code()}, protocol=2), "holds Python objects"),
        (bomb(), "would unpack to 2147483648 bytes"),
        (many_views(), "would fill more than"),
        (saved({"x": bytearray(5)}), "asks for a bytearray"),
        (b"", "damaged"),
    ],
    ids=["code", "old code", "pickle", "bomb", "views", "bytearray", "empty"],
)
def test_checkpoints(data, message, tmp_path, capfd):
    path = tmp_path / "a.pyth"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=message) as error:
        read_checkpoint(path)
    assert str(path) in str(error.value)
    assert "run" not in capfd.readouterr().out


@pytest.mark.parametrize("call", [
    b"cbuiltins\nset\ncbuiltins\nrange\nJ\xff\xff\xff\x7f\x85R\x85R.",  # two billion numbers
    b"\x80\x05\x96" + b"\x00" * 4 + b"\x10\0\0\0" + b".",  # 64 GiB
    b"]r\xff\xff\xff\x7f.",  # the two billionth object of the file
    b"cnumpy\ndtype\n}X\x01\0\0\0aK\x01sb.",  # another numpy from now on
])  # fmt: skip
def test_pickles_that_want_memory_or_change_the_reader(call, tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(call)
    try:
        assert load_pickle(path) == []
    except UserError as error:
        assert str(path) in str(error)


@FEW
@given(data=st.binary(max_size=60))
def test_any_bytes_as_a_pickle(data, tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(data)
    try:
        load_pickle(path)
    except UserError as error:
        assert str(path) in str(error)


def test_archives_are_only_read(tmp_path):
    """Names that lead out of an archive lead nowhere: nothing is ever extracted."""
    path = tmp_path / "a.pyth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../escaped/data.pkl", pickle.dumps({}))
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(path)
    assert sorted(p.name for p in tmp_path.parent.rglob("escaped")) == []
    source = "".join(p.read_text("utf-8") for p in _sources())
    assert not re.search(
        r"\.extractall?\(|unpack_archive|shell=True|os\.system\(|\beval\(\w*['\"]", source
    )
    assert not re.search(r"pickle\.loads?\(|weights_only=False|allow_pickle=True", source)


def _sources():
    from pathlib import Path

    import slowfast

    return Path(slowfast.__file__).parent.rglob("*.py")


# ---- videos -------------------------------------------------------------------------------------


def encode(path, pictures, *, codec="libx264"):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options={"preset": "ultrafast"})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    return str(path)


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (63, 47)])
def test_videos_of_few_and_odd_pixels(size, tmp_path):
    path = write_video(tmp_path / "a.mkv", 4, codec="ffv1", size=size)
    expected = decode_all(path)
    with open_video(path) as reader:
        np.testing.assert_array_equal(reader.read(range(4)), expected)
        assert reader.read([1], 8).shape == (1, *_short_side_8(*size), 3)


def _short_side_8(width, height):
    return (8, width * 8 // height) if width >= height else (height * 8 // width, 8)


def test_8k(tmp_path):
    grey = np.full((4320, 7680, 3), 128, np.uint8)
    path = encode(tmp_path / "a.mp4", [grey, grey])
    with open_video(path) as reader:
        frames = reader.read([0, 1], 64)
    assert frames.shape == (2, 64, 113, 3)
    assert abs(frames.astype(int) - 128).max() < 4


def test_frames_of_impossible_sizes(tmp_path):
    """A header that says 65535 x 65535 costs no memory."""
    path = tmp_path / "a.mp4"
    data = bytearray(open(write_video(path, 4), "rb").read())
    entry = data.index(b"avc1") + 28
    data[entry : entry + 4] = b"\xff" * 4
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"a\.mp4: .*65535x65535|frames") as error, \
            open_video(str(path)) as reader:  # fmt: skip
        assert reader.read([0]).shape == (1, 48, 64, 3)  # FFmpeg goes by the stream itself
        raise VideoError(str(path), "frames of the right size")
    assert str(path) in str(error.value)


def test_resolution_that_changes(tmp_path):
    first = write_video(tmp_path / "1.h264", 6, format="h264")
    second = write_video(tmp_path / "2.h264", 6, size=(32, 24), format="h264")
    path = tmp_path / "a.h264"
    path.write_bytes(open(first, "rb").read() + open(second, "rb").read())
    with open_video(str(path)) as reader:
        try:
            frames = reader.read(range(reader.num_frames))
        except FrameCountError:
            frames = reader.read(range(reader.num_frames))
    assert frames.shape == (12, 48, 64, 3)  # all in the size of the first
    np.testing.assert_array_equal(frames[:6], decode_all(first))
    small = decode_all(second, size=(64, 48))
    assert np.abs(frames[6:].astype(int) - small).mean() < 6


def test_no_timestamps_and_negative_ones(tmp_path):
    raw = write_video(tmp_path / "a.h264", 8, format="h264")
    with open_video(raw) as reader:
        assert reader.num_frames == 8
        np.testing.assert_array_equal(reader.read(range(8)), decode_all(raw))
    whole = write_video(tmp_path / "a.mp4", 8)
    for name in ("b.mkv", "b.ts"):
        early = remux(whole, tmp_path / name, shift=-20 * 512)
        with open_video(early) as reader:
            np.testing.assert_array_equal(reader.read(range(8)), decode_all(whole))
            assert reader.times[0] == 0
            assert (np.diff(reader.times) > 0).all()


def test_no_frames(tmp_path):
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    with pytest.raises(VideoError, match=r"a\.mkv: "):
        open_video(str(path))


def test_images_and_playlists_called_videos(tmp_path):
    from PIL import Image

    other = write_video(tmp_path / "other.mp4", 4)
    for kind in ("png", "jpeg", "bmp", "tiff", "webp"):
        path = tmp_path / f"{kind}.mp4"
        Image.new("RGB", (64, 48)).save(path, kind)
        with pytest.raises(
            VideoError, match=rf"{kind}\.mp4: is a {kind.upper()} file, not a video"
        ):
            open_video(str(path))
    for number, text in enumerate((
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nother.mp4\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile other.mp4\n",
    )):  # fmt: skip
        path = tmp_path / f"{number}.mp4"
        path.write_text(text)
        with pytest.raises(VideoError, match=r"is a playlist file, not a video"):
            open_video(str(path))
    with open_video(other) as reader:
        assert reader.num_frames == 4


def test_images_of_impossible_sizes(tmp_path):
    """A JPEG header that says 65500 x 65500: not decoded."""
    from PIL import Image

    path = tmp_path / "00001.jpg"
    Image.new("RGB", (64, 48)).save(path)
    data = bytearray(path.read_bytes())
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = b"\xff\xdc" * 2
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"00001\.jpg: "):
        FrameFolderReader(tmp_path)


# ---- requests -----------------------------------------------------------------------------------


@FEW
@given(text=st.text(), data=st.binary(max_size=40))
def test_any_message_to_the_server(text, data):
    live = pytest.importorskip("slowfast.deploy.serve.live")
    app = pytest.importorskip("slowfast.deploy.serve.app")
    for read, value in ((live.parse_order, text), (app.read_top, text)):
        try:
            read(value)
        except ServeError as error:
            assert error.status == 400
    for read in (live.parse_frame, live.decode_jpeg):
        try:
            read(data, Limits())
        except ServeError as error:
            assert 400 <= error.status < 500


@FEW
@given(
    value=st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.tuples(x))
)
def test_values_in_messages_are_short(value):
    assert len(shortened(value, 50)) < 100
