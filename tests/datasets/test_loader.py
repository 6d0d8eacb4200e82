"""Batches: reproducible whatever the workers, whole at test, honest about unreadable videos."""

import functools
import time

import numpy as np
import pytest
import torch

from slowfast.datasets.base import (
    ClipRecord,
    DataError,
    Failure,
    VideoDataset,
    gather_views,
    open_record,
    segment,
)
from slowfast.datasets.decode import FrameCountError, VideoError, open_video
from slowfast.datasets.dummy import DummyReader, DummyVideos
from slowfast.datasets.epoch_batches import EpochBatches
from slowfast.datasets.loader import Loader, collate_labels
from slowfast.datasets.sampling import ClipSampler
from slowfast.datasets.transforms import EvalTransform, TrainTransform
from tests.videos import B_FRAMES, decode_all, write_video

NUM_VIDEOS = 7


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    return [
        ClipRecord(
            write_video(folder / f"{i}.mp4", 20 + i, options=B_FRAMES), i % 3, f"list.csv:{i + 1}"
        )
        for i in range(NUM_VIDEOS)
    ]


def train_set(records, **options):
    return VideoDataset(
        records,
        split="train",
        sampler=ClipSampler(num_frames=4, stride=2),
        transform=TrainTransform(crop_size=32, jitter_scales=(36, 44)),
        **options,
    )


def eval_set(records, split="val", num_views=0, num_crops=1, num_frames=4, **options):
    return VideoDataset(
        records,
        split=split,
        sampler=ClipSampler(num_frames=num_frames, stride=2, num_views=num_views),
        transform=EvalTransform(crop_size=32, short_side=36, num_crops=num_crops),
        num_crops=num_crops,
        **options,
    )


def same(one, two):
    return (
        torch.equal(one.clips[0], two.clips[0])
        and torch.equal(one.labels, two.labels)
        and torch.equal(one.clip_ids, two.clip_ids)
        and torch.equal(one.times, two.times)
    )


def test_batches_do_not_depend_on_workers_or_on_the_global_generator(records):
    def epoch(number, **options):
        loader = Loader(train_set(records, seed=3), batch_size=2, seed=3, **options)
        loader.set_epoch(number)
        return list(loader)

    torch.manual_seed(0)
    state = torch.get_rng_state()
    first = epoch(1)
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(99)
    assert all(map(same, first, epoch(1, num_workers=2)))
    assert all(map(same, first, epoch(1, num_workers=1, prefetch_factor=4)))
    assert not any(map(same, first, epoch(2)))
    assert len(first) == 3
    assert first[0].clips[0].shape == (2, 3, 4, 32, 32)
    assert first[0].clips[0].dtype == torch.uint8


def test_spawned_workers(records):
    loaders = [
        Loader(train_set(records), batch_size=3, num_workers=n, start_method=m)
        for n, m in ((0, None), (1, "spawn"))
    ]
    assert all(map(same, *map(list, loaders)))


def test_persistent_workers_follow_the_epoch(records):
    loader = Loader(train_set(records), batch_size=3, num_workers=2)
    plain = Loader(train_set(records), batch_size=3)
    for epoch in range(3):
        loader.set_epoch(epoch)
        plain.set_epoch(epoch)
        assert all(map(same, loader, plain))
        next(iter(loader))  # leaving early disturbs nothing


def test_validation_is_deterministic_complete_and_central(records):
    batches = list(Loader(eval_set(records), batch_size=2))
    assert all(map(same, batches, Loader(eval_set(records, seed=5), batch_size=2)))
    assert torch.cat([b.clip_ids for b in batches]).tolist() == list(range(NUM_VIDEOS))
    first = batches[0]
    assert first.meta["names"] == [records[0].path, records[1].path]
    assert first.meta["io_seconds"] > 0
    assert first.meta["transform_seconds"] > 0
    assert first.labels.tolist() == [0, 1]
    start = round(6 / 30, 4)  # 20 frames, a clip of 8: from frame 6 to 13
    np.testing.assert_allclose(first.times[0], [start, 13 / 30], atol=1e-3)


class CountingReader:
    """PyAV, counting its reads."""

    opened, reads = 0, 0

    def __init__(self, record):
        self.inner = open_video(record.path)
        CountingReader.opened += 1

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def read(self, *arguments):
        CountingReader.reads += 1
        return self.inner.read(*arguments)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.inner.close()


def test_all_views_of_a_video_come_from_one_decode(records):
    views, crops = 3, 3
    dataset = eval_set(records, "test", views, crops, reader=CountingReader)
    assert dataset.num_views == 9
    CountingReader.opened = CountingReader.reads = 0
    (batch,) = Loader(dataset, batch_size=NUM_VIDEOS)
    assert CountingReader.opened == CountingReader.reads == NUM_VIDEOS
    clips = batch.clips[0]
    assert clips.shape == (NUM_VIDEOS * 9, 3, 4, 32, 32)
    assert batch.clip_ids.tolist() == list(range(NUM_VIDEOS * 9))
    assert batch.labels.tolist() == [r.labels for r in records for _ in range(9)]
    for video, record in enumerate(records):  # every view as if it had been read alone
        frames = np.stack(decode_all(record.path, size=(48, 36)))
        chosen = dataset.sampler.clips(len(frames), 30.0)
        for view, numbers in enumerate(chosen):
            transform = dataset.transform
            alone = transform.apply(frames[numbers], transform.plan(48, 64))
            start = video * 9 + view * 3
            assert torch.equal(clips[start : start + 3], alone)


def test_gather_views():
    frames = torch.arange(5, dtype=torch.uint8).reshape(1, 1, 5, 1, 1).expand(2, 3, 5, 1, 1).clone()
    frames[1] += 100
    views = gather_views(frames, [0, 2, 4, 6, 8], [[0, 4], [8, 8]])
    assert views.shape == (4, 3, 2, 1, 1)
    assert views[:, 0, :, 0, 0].tolist() == [[0, 2], [100, 102], [4, 4], [104, 104]]


# -- shares ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", [1, 2, 3])
def test_training_shares_are_equal_disjoint_and_reshuffled(world):
    def epoch(number):
        shares = []
        for rank in range(world):
            batches = EpochBatches(23, 3, train=True, rank=rank, world_size=world, seed=1)
            batches.epoch = number
            keys = list(batches)
            assert len(keys) == len(batches) == 23 // world // 3
            assert all(len(batch) == 3 for batch in keys)
            shares.append([index for batch in keys for _, index in batch])
        return shares

    first, second = epoch(0), epoch(1)
    seen = [index for share in first for index in share]
    assert len(set(seen)) == len(seen)
    assert first != second
    assert first == epoch(0)


@pytest.mark.parametrize("world", [1, 2, 3, 30])
def test_evaluation_shares_are_complete(world):
    seen = []
    for rank in range(world):
        batches = EpochBatches(23, 4, train=False, rank=rank, world_size=world)
        keys = list(batches)
        assert len(keys) == len(batches)
        seen += [index for batch in keys for _, index in batch]
    assert sorted(seen) == list(range(23))


def test_too_few_training_videos(records):
    with pytest.raises(
        DataError, match=r"7 training videos do not fill one batch.*2 processes x 4"
    ):
        Loader(train_set(records), batch_size=4, world_size=2)


# -- unreadable videos -----------------------------------------------------------------------------


@pytest.fixture
def some_bad(records, tmp_path):
    """Two of nine cannot be read."""
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(b"nonsense" * 50)
    broken = [
        ClipRecord(str(p), 0, f"list.csv:{n}") for p, n in ((bad, 8), (tmp_path / "no.mp4", 9))
    ]
    return [*records, *broken]


@pytest.mark.parametrize("workers", [0, 2])
def test_training_replaces_unreadable_videos(some_bad, workers, caplog):
    loader = Loader(train_set(some_bad), batch_size=3, num_workers=workers)
    names, seen = set(), []
    for epoch in range(2):
        loader.set_epoch(epoch)
        for batch in loader:
            assert len(batch.clips[0]) == 3
            names |= set(batch.meta["bad_videos"])
            seen.append(batch.clip_ids)
    assert names == {record.path for record in some_bad[NUM_VIDEOS:]} == set(loader.bad_videos)
    assert caplog.text.count("replaced by another video") == 2, "each is logged once"
    assert "bad.mp4: cannot be opened" in caplog.text
    assert "(listed in list.csv:8)" in caplog.text
    assert torch.cat(seen).max() < NUM_VIDEOS
    again = Loader(train_set(some_bad), batch_size=3)
    again.set_epoch(1)
    assert torch.equal(torch.cat([b.clip_ids for b in again]), torch.cat(seen[3:]))


def test_too_many_unreadable_videos_stop_training(some_bad):
    loader = Loader(train_set(some_bad), batch_size=9, max_bad_videos=1)
    with pytest.raises(
        DataError, match=r"(?s)2 training videos.*MAX_BAD_VIDEOS allows 1.*bad\.mp4.*no"
    ):
        list(loader)


def test_only_unreadable_videos(some_bad):
    with pytest.raises(DataError, match="10 draws in a row gave no readable video"):
        list(Loader(train_set(some_bad[NUM_VIDEOS:]), batch_size=2))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(("split", "views"), [("val", 0), ("test", 2)])
def test_evaluation_fails_with_one_clear_error(some_bad, workers, split, views):
    loader = Loader(eval_set(some_bad, split, views), batch_size=4, num_workers=workers)
    with pytest.raises(
        VideoError, match=r"bad\.mp4: cannot be opened: .*\(listed in list\.csv:8\)$"
    ) as e:
        list(loader)
    assert "Traceback" not in str(e.value)


class Stuck(DummyReader):
    def read(self, *_):
        time.sleep(8)


class OutOfMemory(DummyReader):
    """The kernel ends its process, as it does with the largest one when memory is short."""

    def read(self, *_):
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)


class Crash(DummyReader):
    def read(self, *_):
        import os

        os._exit(3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reader", "timeout", "message"),
    [(Stuck, 2, r"timed out.*LOADER.TIMEOUT.*moment: dummy/val/0\. .*dummy/val/0, dummy/val/1"),
     (OutOfMemory, 0, r"(?:signal: Killed|exited).*NUM_WORKERS.*moment: dummy/val/0\. The batch"),
     (OutOfMemory, 30, r"(?:signal: Killed|exited).*NUM_WORKERS.*moment: dummy/val/0\. The batch"),
     (Crash, 0, r"exited unexpectedly.*NUM_WORKERS.*dummy/val/0, dummy/val/1")],
)  # fmt: skip
def test_stuck_and_dead_workers_name_the_batch(reader, timeout, message):
    dataset = eval_set(DummyVideos([4]).records("val")[:4], reader=reader)
    with pytest.raises(DataError, match=message):
        next(iter(Loader(dataset, batch_size=2, num_workers=1, timeout=timeout)))


class Recounting(DummyReader):
    """Finds out while reading that the video is shorter than announced."""

    def read(self, indices, short_side=None):
        if Recounting.num_frames == 300:
            Recounting.num_frames, self.times = 20, self.times[:20]
            raise FrameCountError(self.path, "20 decode")
        assert max(indices) < 20
        return super().read(indices, short_side)


def test_frames_are_chosen_anew_when_their_number_turns_out_different(monkeypatch):
    monkeypatch.setattr(Recounting, "num_frames", 300, raising=False)
    dataset = eval_set(DummyVideos([4]).records("test")[:1], "test", 3, reader=Recounting)
    assert not isinstance(dataset[0, 0], Failure)


# -- records ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "first", "count"),
    [
        ({}, 0, 300),
        ({"start_s": 1.0}, 30, 270),
        ({"start_s": 1.0, "end_s": 2.0}, 30, 30),
        ({"start_s": 9.0, "end_s": 99.0}, 270, 30),
        ({"start_s": 1.01, "end_s": 1.02}, 31, 1),
        ({"start_frame": 10, "end_frame": 19}, 10, 10),
        ({"start_frame": 290, "end_frame": 400}, 290, 10),
    ],
)
def test_segments(limits, first, count):
    record = ClipRecord("dummy/1", 0, "list:1", **limits)
    assert segment(record, DummyReader(record)) == (first, count)


def test_segment_after_the_end():
    record = ClipRecord("dummy/1", 0, "list:1", start_s=11.0)
    with pytest.raises(
        VideoError, match=r"dummy/1: the segment starts after .*300 frames, 9\.97 s"
    ):
        segment(record, DummyReader(record))


def test_clips_stay_in_their_segment(records):
    record = ClipRecord(records[6].path, 0, "l:1", start_frame=10, end_frame=13)
    item = eval_set([record])[0, 0]
    np.testing.assert_allclose(item.times[0], [10 / 30, 13 / 30], atol=1e-3)


def test_labels():
    assert collate_labels([1, 2]).tolist() == [1, 2]
    tasks = collate_labels([{"verb": 1, "noun": 2}, {"verb": 3, "noun": 4}])
    assert {task: ids.tolist() for task, ids in tasks.items()} == {"verb": [1, 3], "noun": [2, 4]}
    assert collate_labels([(0, 2), ()], 3).tolist() == [[1, 0, 1], [0, 0, 0]]


def test_items_are_stored_channels_last(records):
    (batch,) = Loader(train_set(records), batch_size=NUM_VIDEOS)
    assert batch.clips[0].is_contiguous(memory_format=torch.channels_last_3d)


def test_open_record_passes_the_backend_on(records):
    with pytest.raises(KeyError, match="unknown decoding backend 'nope'"):
        functools.partial(open_record, backend="nope")(records[0])
