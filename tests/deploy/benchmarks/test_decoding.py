"""The parts of loading are told apart, and the yardsticks do what they claim."""

import pytest
from PIL import Image

from slowfast.datasets.base import ClipRecord, VideoDataset
from slowfast.datasets.decode import VideoError, open_video
from slowfast.datasets.decode.baseline import read_segment
from slowfast.datasets.decode.floor import decode_only
from slowfast.datasets.decode.frames import FrameFolderReader
from slowfast.datasets.sampling import ClipSampler
from slowfast.datasets.transforms import TrainTransform
from slowfast.deploy.benchmarks.decoding import (
    FLOOR,
    IMAGES,
    REFERENCE,
    choose_clip,
    installed_backends,
    measure_clips,
    random_clips,
)
from slowfast.reports.loading import loading_tables
from tests.videos import B_FRAMES, decode_all, picture, write_video

SCALES = (36, 40)


def train_set(records):
    return VideoDataset(
        records,
        split="train",
        sampler=ClipSampler(4, 2),
        transform=TrainTransform(crop_size=32, jitter_scales=SCALES),
    )


@pytest.fixture
def videos(tmp_path):
    paths = [write_video(tmp_path / f"{n}.mp4", 30 + n, options=B_FRAMES) for n in range(3)]
    return [ClipRecord(path, 0, "list.csv:1") for path in paths]


@pytest.fixture
def images(tmp_path):
    for number in range(1, 21):
        Image.fromarray(picture(number)).save(tmp_path / f"{number:05d}.jpg", quality=95)
    return ClipRecord(
        str(tmp_path / "{:05d}.jpg"), 0, "list.csv:1", start_frame=2, end_frame=19, fps=12
    )


def measure(records, backends=(), clips=4):
    return measure_clips(
        train_set(records), backends, clips=clips, jitter_scales=SCALES, crop_size=32
    )


def test_every_part_of_a_video_clip(videos):
    result = measure(videos, ["pyav"])
    ways = result["contenders"]
    assert result["clips"] == 4
    assert set(ways) == {"pyav", REFERENCE, FLOOR}
    shares = ways["pyav"]["share_percent"]
    assert {"open", "decode", "scale", "augment", "collate"} <= shares.keys()
    assert sum(shares.values()) == pytest.approx(100)
    assert min(shares.values()) >= -1
    for way in ways.values():
        assert 0 < way["ms_per_clip"]["q25"] <= way["ms_per_clip"]["q75"]
    assert ways["pyav"]["decoding_over_floor"]["median"] > 0.5
    tables = loading_tables(result | {"machine": {"threads": 1}})
    assert [len(table.rows) for table in tables] == [3, 1, 2]
    assert "x PySlowFast" in tables[0].markdown()


def test_every_part_of_an_image_clip(images):
    ways = measure([images])["contenders"]
    assert set(ways) == {IMAGES, REFERENCE, FLOOR}
    assert {"read", "decode", "scale"} <= ways[IMAGES]["share_percent"].keys()


def test_installed_backends(videos):
    backends = installed_backends()
    assert "pyav" in backends
    assert set(backends) <= measure(videos, clips=1)["contenders"].keys()


def test_the_clip_is_the_one_that_is_loaded(videos):
    dataset = train_set(videos)
    for clip in random_clips(dataset, 7):
        item = dataset[clip.key]
        assert item.name == clip.record.path
        first, last = clip.numbers[0], clip.numbers[-1]
        assert item.times[0].tolist() == pytest.approx([first / 30, last / 30], abs=1e-3)
    assert len({clip.record.path for clip in random_clips(dataset, 3)}) == 3


def test_unreadable_videos_are_left_out(videos, tmp_path):
    bad = ClipRecord(str(tmp_path / "bad.mp4"), 0, "list.csv:9")
    (tmp_path / "bad.mp4").touch()
    assert len(list(random_clips(train_set([*videos, bad]), 8))) == 6
    with pytest.raises(VideoError, match=r"bad\.mp4"):
        measure([bad])


def test_floor_decodes_what_reading_decodes(videos, images):
    with open_video(videos[0].path) as reader:
        assert decode_only(reader, [0], None)() == 1
        assert decode_only(reader, list(range(30)), None)() == 30
        run = decode_only(reader, [5, 27], None)
        assert run() == run() >= 2
    with FrameFolderReader(images.path) as reader:
        assert decode_only(reader, [3, 5, 3], 20)() == 2
    clip = choose_clip(train_set(videos), (0, 1))
    assert len(decode_all(clip.record.path)) == 31


def test_meccano_way_reads_evenly_spaced_images(images):
    frames = read_segment(images.path, 2, 19, 4)
    with FrameFolderReader(images.path) as reader:
        expected = reader.read([2, 7, 13, 19])
    assert abs(frames.astype(int) - expected).mean() < 2
