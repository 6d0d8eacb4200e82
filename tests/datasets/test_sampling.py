"""Which frames make a clip: tables by hand, and PySlowFast's formula in torch."""

import numpy as np
import pytest
import torch

from slowfast.datasets.sampling import (
    ClipSampler,
    centre_start,
    clip_size,
    frame_indices,
    random_start,
    view_starts,
    weighted_start,
)


@pytest.mark.parametrize(
    ("num_frames", "stride", "fps", "target_fps", "size"),
    [(32, 2, 30, 30, 64), (32, 2, 15, 30, 32), (8, 8, 25, 30, 160 / 3), (16, 5, 60, 30, 160),
     (16, 5, 30, 15, 160), (4, 1, 1, 30, 1)],
)  # fmt: skip
def test_clip_size(num_frames, stride, fps, target_fps, size):
    assert clip_size(num_frames, stride, fps, target_fps) == pytest.approx(size)


GOLDEN = [  # start, size, T, video frames -> indices
    (0, 64, 8, 300, [0, 9, 18, 27, 36, 45, 54, 63]),
    (236, 64, 8, 300, [236, 245, 254, 263, 272, 281, 290, 299]),
    (11.25, 64, 4, 300, [11, 32, 53, 74]),
    (0, 64, 8, 20, [0, 9, 18, 19, 19, 19, 19, 19]),
    (0, 16, 16, 16, list(range(16))),
    (5.999999999999, 4, 4, 100, [6, 7, 8, 9]),
    (7.5, 30, 1, 100, [7]),
    (0, 64, 3, 1, [0, 0, 0]),
]


@pytest.mark.parametrize(("start", "size", "num_frames", "total", "indices"), GOLDEN)
def test_frame_indices(start, size, num_frames, total, indices):
    assert frame_indices(start, size, num_frames, total) == indices


@pytest.mark.parametrize(
    ("num_frames", "stride"), [(32, 2), (8, 8), (4, 16), (16, 5), (13, 6), (4, 12)]
)
@pytest.mark.parametrize("fps", [30, 29.97, 24, 15])
def test_frame_indices_are_those_of_a_floored_linspace(num_frames, stride, fps):
    """PySlowFast's formula, except where single precision lands beside a whole number."""
    checked = 0
    for total in (20, 64, 250, 299, 300):
        size = clip_size(num_frames, stride, fps)
        for start in view_starts(total, size, 10):
            positions = torch.linspace(start, start + size - 1, num_frames).clamp(0, total - 1)
            ours = torch.tensor(frame_indices(start, size, num_frames, total))
            clear = (positions - positions.round()).abs() > 1e-4
            assert torch.equal(ours[clear], positions.long()[clear])
            checked += int(clear.sum())
    assert checked > 50


@pytest.mark.parametrize(
    ("total", "size", "views", "offset", "starts"),
    [
        (300, 64, 1, False, [0]),
        (300, 64, 2, False, [0, 118]),
        (300, 64, 10, False, [23.6 * i for i in range(10)]),
        (300, 64, 1, True, [118]),
        (300, 64, 3, True, [0, 118, 236]),
        (299, 64, 3, True, [0, 117, 234]),
        (20, 64, 3, False, [0, 0, 0]),
        (20, 64, 3, True, [0, 0, 0]),
    ],
)
def test_view_starts(total, size, views, offset, starts):
    assert view_starts(total, size, views, offset=offset) == pytest.approx(starts)


def test_training_starts_cover_the_video_evenly():
    generator = torch.Generator().manual_seed(0)
    starts = [random_start(300, 64, generator) for _ in range(4000)]
    assert 0 <= min(starts) < 1
    assert 235 < max(starts) < 236
    assert sum(starts) / len(starts) == pytest.approx(118, abs=4)
    assert random_start(20, 64, generator) == 0


def test_validation_is_the_centre_and_draws_nothing():
    assert centre_start(300, 64) == 118
    sampler = ClipSampler(num_frames=8, stride=8)
    before = torch.get_rng_state()
    assert sampler.clips(300, 30.0) == sampler.clips(300, 30.0)
    assert sampler.clips(300, 30.0)[0][0] == 118
    assert torch.equal(before, torch.get_rng_state())


def test_training_draws_only_from_its_generator():
    sampler = ClipSampler(num_frames=8, stride=4, jitter_fps=10.0)
    before = torch.get_rng_state()
    first, again = (
        [sampler.clips(300, 30.0, g) for _ in range(5)]
        for g in (torch.Generator().manual_seed(s) for s in (1, 1))
    )
    assert first == again
    assert len({tuple(clip) for (clip,) in first}) > 2
    assert torch.equal(before, torch.get_rng_state())


def test_rate_jitter_shortens_clips_to_at_most_the_jittered_rate():
    generator = torch.Generator().manual_seed(0)
    sampler = ClipSampler(num_frames=16, stride=4, jitter_fps=30.0)
    spans = []
    for _ in range(300):
        (clip,) = sampler.clips(10_000, 30.0, generator)
        spans.append(clip[-1] - clip[0])
    assert 31 <= min(spans) < 36
    assert 58 < max(spans) <= 63


def test_test_views():
    sampler = ClipSampler(num_frames=4, stride=2, num_views=2)
    assert sampler.clips(28, 30.0) == [[0, 2, 4, 7], [10, 12, 14, 17]]


def test_segment_mode_spans_the_action_whatever_its_length():
    sampler = ClipSampler(num_frames=4, stride=8, mode="segment")
    assert sampler.clips(100, fps=12) == [[12, 37, 62, 87]]
    assert sampler.clips(3, fps=12) == [[0, 1, 1, 2]]
    drawn = {
        number
        for seed in range(200)
        for number in sampler.clips(8, 12, torch.Generator().manual_seed(seed))[0]
    }
    assert drawn == set(range(8))


def test_segment_views_are_distinct_and_shifted():
    views = ClipSampler(num_frames=4, stride=8, mode="segment", num_views=5).clips(100, 12)
    assert len({tuple(view) for view in views}) == 5
    assert [view[0] for view in views] == [2, 7, 12, 17, 22]


def test_repeat_frame_shows_the_middle_frame_only():
    moving = ClipSampler(num_frames=5, stride=2).clips(30, fps=30)[0]
    still = ClipSampler(num_frames=5, stride=2, repeat_frame=True).clips(30, fps=30)[0]
    assert still == [moving[2]] * 5


def test_weighted_starts_follow_the_weights():
    """Starts are drawn in proportion to the sum of the weights a clip from there covers."""
    weights = [0, 0, 1, 3, 0, 0, 0, 2]
    generator = torch.Generator().manual_seed(0)
    counts = [0] * 6
    for _ in range(6000):
        counts[weighted_start(8, 3.7, weights, generator)] += 1
    sums = [sum(weights[start : start + 3]) for start in range(6)]
    assert sums == [1, 4, 4, 3, 0, 2]
    for count, expected in zip(counts, sums, strict=True):
        assert count / 6000 == pytest.approx(expected / sum(sums), abs=0.02)


def test_weighted_starts_without_a_choice():
    generator = torch.Generator().manual_seed(0)
    assert weighted_start(5, 64.0, [1.0] * 5, generator) == 0
    starts = {weighted_start(8, 3.0, [0.0] * 8, generator) for _ in range(200)}
    assert starts == set(range(6))  # nothing is better than anything else


def test_weights_of_another_length_are_not_used():
    sampler = ClipSampler(num_frames=4, stride=2)
    clips = [
        sampler.clips(100, 30, torch.Generator().manual_seed(0), weights)
        for weights in (None, np.ones(99, np.float32), np.eye(1, 100, 90, dtype=np.float32)[0])
    ]
    assert clips[0] == clips[1]
    assert clips[2][0][0] <= 90 <= clips[2][0][-1]


def test_short_videos_are_held_or_looped():
    hold = ClipSampler(num_frames=6, stride=2).clips(7, 30)
    loop = ClipSampler(num_frames=6, stride=2, loop=True).clips(7, 30)
    assert hold == [[0, 2, 4, 6, 6, 6]]
    assert loop == [[0, 2, 4, 6, 1, 4]]
    long = ClipSampler(num_frames=6, stride=2, loop=True)
    assert long.clips(50, 30) == ClipSampler(num_frames=6, stride=2).clips(50, 30)


def test_frames_jitter_within_the_stride():
    sampler = ClipSampler(num_frames=8, stride=4, frame_jitter=True)
    plain = ClipSampler(num_frames=8, stride=4)
    moved = set()
    for seed in range(50):
        (clip,) = sampler.clips(200, 30, torch.Generator().manual_seed(seed))
        (fixed,) = plain.clips(200, 30, torch.Generator().manual_seed(seed))
        assert clip == sorted(clip)
        moved |= {a - b for a, b in zip(clip, fixed, strict=True)}
    assert {0, 1, 2, 3, 4} <= moved <= {0, 1, 2, 3, 4, 5}  # the stride is 31 / 7
    assert sampler.clips(200, 30) == plain.clips(200, 30)  # validation draws nothing


def test_no_target_rate_means_the_videos_own():
    sampler = ClipSampler(num_frames=4, stride=2, target_fps=0)
    assert sampler.clips(80, 25) == sampler.clips(80, 60) == sampler.clips(80, 30)
