"""The cache gives what decoding gives, forgets what changed, and stays within its bounds."""

import os
import pickle
import random
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from slowfast.config import load_cfg
from slowfast.datasets.base import ClipRecord, VideoDataset, open_record
from slowfast.datasets.decode import FrameCountError, VideoError, open_video
from slowfast.datasets.decode.cache import (
    BLOCK,
    CachedOpener,
    CachedReader,
    DiskCache,
    build_cached,
)
from slowfast.datasets.decode.frames import FrameFolderReader
from slowfast.datasets.sampling import ClipSampler
from slowfast.datasets.transforms import EvalTransform
from tests.videos import B_FRAMES, write_video

SIDE = 32
PICKS = [[0], [39, 0, 3, 3, 20], list(range(40)), [15, 16, 17], [37, 5]]


class Counting:
    """Opens readers and counts the frames they are asked for."""

    def __init__(self):
        self.opened, self.decoded = 0, 0

    def __call__(self, record):
        self.opened += 1
        reader = open_record(record)
        read = reader.read

        def counted(numbers, short_side=None):
            self.decoded += len(numbers)
            return read(numbers, short_side)

        reader.read = counted
        return reader


@pytest.fixture
def cache(tmp_path):
    (tmp_path / "cache").mkdir()
    return DiskCache(tmp_path / "cache", 10**9)


@pytest.fixture
def video(tmp_path):
    return ClipRecord(write_video(tmp_path / "a.mp4", 40, size=(96, 64), options=B_FRAMES), 0, "t")


@pytest.fixture
def count():
    return Counting()


def opener(cache, count, short_side=SIDE):
    return CachedOpener(count, cache, short_side)


@pytest.mark.parametrize("again", [False, True])
def test_same_pixels_as_decoding(cache, video, count, again):
    open_cached = opener(cache, count)
    with open_video(video.path) as reader:
        expected = reader.read(range(40), SIDE)
        facts = (reader.num_frames, reader.fps, reader.width, reader.height)
        times = reader.times
    if again:
        open_cached(video).read(range(40), SIDE)
        count.opened = count.decoded = 0
    for picks in PICKS:
        with open_cached(video) as reader:
            np.testing.assert_array_equal(reader.read(picks, SIDE), expected[picks])
            assert (reader.num_frames, reader.fps, reader.width, reader.height) == facts
            np.testing.assert_array_equal(reader.times, times)
    assert (count.opened, count.decoded) == ((0, 0) if again else (count.opened, 40))


def test_only_needed_blocks_are_decoded(cache, video, count):
    opener(cache, count)(video).read([17, 20], SIDE)
    assert count.decoded == BLOCK
    opener(cache, count)(video).read([16, 31, 33], SIDE)
    assert count.decoded == BLOCK + 40 - 2 * BLOCK


def test_other_sizes(cache, video, count):
    reader = opener(cache, count)(video)
    reader.read(range(40), SIDE)
    count.decoded = 0
    with open_video(video.path) as plain:
        for side in (16, 24):
            expected = plain.read([4, 9], side)
            found = reader.read([4, 9], side)
            assert found.shape == expected.shape
            assert np.abs(found.astype(int) - expected).mean() < 4
        assert count.decoded == 0
        for side in (48, None):  # more than is kept
            np.testing.assert_array_equal(reader.read([4], side), plain.read([4], side))
        assert count.decoded == 2


def test_small_videos_are_kept_as_they_are(cache, video, count):
    reader = opener(cache, count, short_side=64)(video)
    with open_video(video.path) as plain:
        np.testing.assert_array_equal(reader.read([3]), plain.read([3]))
        larger = reader.read([3], 96)
    assert larger.shape == (1, 96, 144, 3)
    assert count.decoded == BLOCK


def test_a_changed_file_is_decoded_anew(cache, tmp_path, video, count):
    opener(cache, count)(video).read([1], SIDE)
    before = os.stat(video.path)
    write_video(video.path, 30, size=(64, 64))
    assert os.stat(video.path).st_mtime_ns != before.st_mtime_ns
    with opener(cache, count)(video) as reader, open_video(video.path) as plain:
        assert reader.num_frames == 30
        np.testing.assert_array_equal(reader.read([1], SIDE), plain.read([1], SIDE))


def test_image_folders(cache, tmp_path, count):
    for number in range(1, 7):
        picture = np.full((64, 96, 3), 30 * number, np.uint8)
        Image.fromarray(picture).save(tmp_path / f"{number:05d}.jpg")
    record = ClipRecord(str(tmp_path / "{:05d}.jpg"), 0, "t", start_frame=1, end_frame=6)
    picks = [2, 5, 2]
    with FrameFolderReader(record.path) as plain:
        expected = plain.read(picks, SIDE)
    for decoded in (2, 2):
        with opener(cache, count)(record) as reader:
            np.testing.assert_array_equal(reader.read(picks, SIDE), expected)
        assert count.decoded == decoded
    Image.fromarray(np.zeros((64, 96, 3), np.uint8)).save(tmp_path / "00002.jpg")
    assert opener(cache, count)(record).read(picks, SIDE)[0].max() < 5
    assert count.decoded == 3
    (tmp_path / "00005.jpg").unlink()
    with pytest.raises(VideoError, match=r"00005\.jpg"):
        opener(cache, count)(record).read([5], SIDE)


def test_damage_outside_the_clip_does_not_matter(cache, video):
    """Blocks reach beyond the clip; what is wrong there is the business of other clips."""

    class Damaged:
        num_frames, fps, width, height = 40, 30.0, 8, 8
        times = np.arange(40) / 30

        def read(self, numbers, short_side=None):
            if 9 in numbers:
                raise VideoError(video.path, "frame 9 is damaged")
            return np.zeros((len(numbers), 8, 8, 3), np.uint8)

        def close(self):
            pass

    reader = CachedReader(video.path, Damaged, cache, short_side=8)
    assert reader.read([3, 4], 8).shape == (2, 8, 8, 3)
    with pytest.raises(VideoError, match="frame 9 is damaged"):
        reader.read([9], 8)


def test_a_corrected_number_of_frames_replaces_the_first(cache, video):
    class Corrects:
        fps, width, height = 30.0, 8, 8

        def __init__(self):
            self.num_frames = 41
            self.times = np.arange(41) / 30

        def read(self, numbers, short_side=None):
            if self.num_frames == 41:
                self.num_frames, self.times = 40, np.arange(40) / 30
                raise FrameCountError(video.path, "41 promised, 40 decode")
            return np.full((len(numbers), 8, 8, 3), 5, np.uint8)

        def close(self):
            pass

    reader = CachedReader(video.path, Corrects, cache, short_side=8)
    with pytest.raises(FrameCountError):
        reader.read([40], 8)
    assert reader.num_frames == 40
    assert reader.read([39], 8).min() == 5
    fresh = CachedReader(video.path, lambda: pytest.fail("opened"), cache, short_side=8)
    assert fresh.num_frames == 40


def test_cut_off_entries_are_misses(cache, video, count):
    opener(cache, count)(video).read(range(40), SIDE)
    for path in Path(cache.folder).glob("??/*"):
        path.write_bytes(path.read_bytes()[:-1])
    count.decoded = 0
    with open_video(video.path) as plain, opener(cache, count)(video) as reader:
        np.testing.assert_array_equal(reader.read([7], SIDE), plain.read([7], SIDE))
    assert count.decoded == BLOCK


def test_capacity_holds_and_readers_survive_eviction(tmp_path):
    cache = DiskCache(tmp_path, 50_000)
    data = np.arange(1000, dtype=np.uint8)
    names = [f"{number % 256:02x}{number:038x}" for number in range(300)]
    cache.store(names[0], data)
    kept = cache.open(names[0], 1000)
    most = 0
    for name in names:
        cache.store(name, data)
        most = max(most, cache.used())
    assert 40_000 < most <= 50_000
    while cache.open(names[0]):  # until it was evicted
        for name in names[1:]:
            cache.store(name, data)
    assert kept.read() == data.tobytes()
    cache.store("ff" + "0" * 38, np.zeros(40_000, np.uint8))  # too much of the cache
    assert cache.open("ff" + "0" * 38) is None


def test_a_disk_that_cannot_be_written_only_costs_time(tmp_path, video, count, caplog, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("slowfast.datasets.decode.cache.tempfile.mkstemp", full)
    reader = opener(DiskCache(tmp_path, 10**9), count)(video)
    assert reader.read([1], SIDE).shape == (1, 32, 48, 3)
    assert "No space left" in caplog.text


def hammer(seed, cache, path, expected_sum):
    """Random reads by one of several processes; the number of wrong ones."""
    draw = random.Random(seed)
    record = ClipRecord(path, 0, "t")
    wrong = 0
    for _ in range(60):
        with CachedOpener(open_record, cache, SIDE)(record) as reader:
            number = draw.randrange(40)
            wrong += int(reader.read([number], SIDE).sum()) != expected_sum[number]
    return wrong


@pytest.mark.slow
def test_many_processes_with_little_room(tmp_path, video):
    bytes_all = 40 * 32 * 48 * 3
    cache = DiskCache(tmp_path / "small", bytes_all * 20)
    cache.folder.mkdir()
    tight = DiskCache(cache.folder, bytes_all * 9 // 10)
    with open_video(video.path) as reader:
        sums = [int(frame.sum()) for frame in reader.read(range(40), SIDE).astype(np.int64)]
    with ProcessPoolExecutor(3, get_context("spawn")) as pool:
        for one in (tight, cache):
            job = partial(hammer, cache=one, path=video.path, expected_sum=sums)
            assert list(pool.map(job, range(3))) == [0] * 3
            assert 0 < one.used() <= one.capacity


def test_items_are_the_same_with_and_without(cache, video):
    sampler = ClipSampler(num_frames=8, stride=2)
    transform = EvalTransform(crop_size=SIDE, short_side=SIDE)
    readers = (open_record, CachedOpener(open_record, cache, SIDE))
    plain, cached = (
        VideoDataset([video], split="val", sampler=sampler, transform=transform, reader=reader)
        for reader in readers
    )
    for _ in range(2):
        assert torch.equal(plain[0, 0].clips, cached[0, 0].clips)


def test_build(tmp_path):
    cfg = load_cfg(()).clone()
    cfg.defrost()
    cfg.DATA.CACHE_DIR, cfg.DATA.CACHE_GB = "", 0.5
    assert build_cached(cfg, open_record) is open_record
    cfg.DATA.CACHE_DIR = str(tmp_path / "new")
    cached = build_cached(cfg, open_record)
    assert (cached.cache.capacity, cached.short_side) == (500_000_000, 320)
    assert cached.cache.folder.is_dir()


def test_goes_to_workers(cache, video):
    cached = CachedOpener(open_record, cache, SIDE)
    assert pickle.loads(pickle.dumps(cached)) == cached
