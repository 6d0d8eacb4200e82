"""Frames judged by predictions, and how that reaches the clips that are drawn."""

import numpy as np
import pytest
import torch

from slowfast.datasets.base import ClipRecord, VideoDataset
from slowfast.datasets.dummy import DummyReader
from slowfast.datasets.frame_weights import FrameWeights, Verdict
from slowfast.datasets.loader import Loader
from slowfast.datasets.sampling import ClipSampler
from slowfast.datasets.transforms import TrainTransform

TOTAL = DummyReader.num_frames


def test_sums_until_enough_is_seen():
    weights = FrameWeights(coverage=0.8)
    weights.add(Verdict(3, 0, 6, 10, 0.5))
    assert weights.get(3) is None  # 60 % seen
    weights.add(Verdict(3, 4, 8, 10, -0.7))
    assert weights.get(3) is None  # exactly 80 %
    weights.add(Verdict(3, 8, 9, 10, 0.25))
    expected = [1.5, 1.5, 1.5, 1.5, 0, 0, 0, 0, 1.25, 1]
    np.testing.assert_allclose(weights.get(3), expected, rtol=1e-6)
    assert weights.get(0) is None
    assert weights.num_judged == 1


def test_a_video_that_turns_out_longer_starts_afresh():
    weights = FrameWeights(coverage=0.1)
    weights.add(Verdict(0, 0, 5, 10, -1.0))
    weights.add(Verdict(0, 0, 5, 12, 1.0))
    assert len(weights.get(0)) == 12
    assert weights.get(0)[0] == 2


@pytest.mark.parametrize("videos", [0, 3])
def test_state_round_trip(tmp_path, videos):
    weights = FrameWeights(0.0)
    for video in range(videos):
        weights.add(Verdict(7 * video, 1, 4, 5 + video, 0.1 * video))
    torch.save(weights.state_dict(), tmp_path / "state.pt")
    other = FrameWeights(0.0)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for video in range(15):
        a, b = weights.get(video), other.get(video)
        assert (a is None and b is None) or np.array_equal(a, b)
    assert other.num_judged == videos


def dataset():
    records = [ClipRecord(f"dummy/train/{i}", i % 2, f"list:{i}") for i in range(6)]
    return VideoDataset(
        records,
        split="train",
        sampler=ClipSampler(num_frames=4, stride=5),
        transform=TrainTransform(crop_size=8, jitter_scales=(8, 10)),
        reader=DummyReader,
        seed=1,
    )


def spans(loader):
    found = {}
    for batch in loader:
        for video, span in zip(batch.clip_ids.tolist(), batch.meta["spans"], strict=True):
            found[video] = span
    return found


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_clips_are_drawn_by_weight_in_every_worker(workers):
    loader = Loader(dataset(), batch_size=2, num_workers=workers)
    weights = FrameWeights(coverage=0.8)
    loader.use_frame_weights(weights)
    loader.set_epoch(0)
    before = spans(loader)
    assert all(total == TOTAL and 0 <= first < stop <= TOTAL
               for first, stop, total in before.values())  # fmt: skip
    weights.add(Verdict(2, 0, 200, TOTAL, -1.0))  # the last third shows the label
    weights.add(Verdict(2, 200, TOTAL, TOTAL, 1.0))
    for epoch in range(1, 4):
        loader.set_epoch(epoch)
        assert spans(loader)[2][1] > 200
    loader.set_epoch(0)
    again = spans(loader)
    assert {v: s for v, s in again.items() if v != 2} == {v: s for v, s in before.items() if v != 2}
