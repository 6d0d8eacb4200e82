import random
from collections import Counter

import numpy as np
import pytest
import torch

from slowfast.datasets.augment.color import ColorJitter
from slowfast.datasets.augment.plan import SpatialPlan
from slowfast.datasets.augment.randaugment import RandAugment
from slowfast.datasets.augment.spatial import (
    Box,
    draw_crop,
    draw_resized_crop,
    draw_short_side,
    resize,
    scaled_size,
    spaced_crops,
    sufficient_short_side,
)
from slowfast.datasets.transforms import EvalTransform, TrainTransform
from slowfast.utils import vision


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def smooth_frames(frames=3, height=120, width=160):
    """A picture whose pixels tell their place, the same in every frame."""
    y, x = np.mgrid[:height, :width]
    picture = np.stack([255 * y / height, 255 * x / width, 127 + 0 * x], axis=-1)
    return np.repeat(picture.round().astype(np.uint8)[None], frames, axis=0)


def place_frames(frames=2, height=20, width=30):
    """Every pixel is its own (row, column, frame)."""
    grid = np.mgrid[:frames, :height, :width]
    return np.stack([grid[1], grid[2], grid[0]], axis=-1).astype(np.uint8)


TRAIN_KINDS = {
    "jitter": TrainTransform(crop_size=48, jitter_scales=(56, 80)),
    "inverse": TrainTransform(crop_size=48, jitter_scales=(56, 80), inverse_uniform=True),
    "relative": TrainTransform(crop_size=48, relative_scales=(0.1, 1.0)),
    "shift": TrainTransform(crop_size=48, relative_scales=(0.3, 1.0), motion_shift=True),
    "colours": TrainTransform(crop_size=48, color=ColorJitter(0.4, 0.4, 0.4, 0.1, 0.2)),
    "rand": TrainTransform(crop_size=48, rand_augment=RandAugment(9, 2, 0.5, True)),
}


# -- sizes and boxes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "short", "expected"),
    [
        ((240, 320), 256, (256, 341)),  # 341.33 rounds down
        ((320, 240), 256, (341, 256)),
        ((1080, 1920), 256, (256, 455)),
        ((100, 100), 32, (32, 32)),
        ((120, 160), 240, (240, 320)),  # enlarged
    ],
)
def test_scaled_size(size, short, expected):
    assert scaled_size(*size, short) == expected


@pytest.mark.parametrize(
    ("size", "crop", "expected"),
    [
        ((256, 341), 256, [(0, 0), (0, 43), (0, 85)]),  # ceil(85 / 2)
        ((341, 256), 256, [(0, 0), (43, 0), (85, 0)]),
        ((256, 256), 256, [(0, 0)] * 3),
        ((30, 41), 20, [(5, 0), (5, 11), (5, 21)]),
        ((31, 40), 20, [(6, 0), (6, 10), (6, 20)]),  # ceil(11 / 2)
    ],
)
def test_three_crops_as_pyslowfast(size, crop, expected):
    boxes = spaced_crops(size, crop, 3)
    assert [(box.top, box.left) for box in boxes] == expected
    assert all((box.height, box.width) == (crop, crop) for box in boxes)
    assert spaced_crops(size, crop, 1) == (boxes[1],)


def test_every_crop_offset_is_drawn_equally():
    generator = gen()
    boxes = [draw_crop(generator, (12, 14), 10) for _ in range(3000)]
    for axis, last in (("top", 2), ("left", 4)):
        counts = Counter(getattr(box, axis) for box in boxes)
        assert sorted(counts) == list(range(last + 1))
        share = 3000 / (last + 1)
        assert all(abs(count - share) < 0.15 * share for count in counts.values())
    assert draw_crop(generator, (10, 10), 10) == Box(0, 0, 10, 10)


def test_short_side_distributions():
    generator = gen()
    plain = [draw_short_side(generator, (100, 200), inverse=False) for _ in range(4000)]
    inverse = [draw_short_side(generator, (100, 200), inverse=True) for _ in range(4000)]
    for values in (plain, inverse):
        assert min(values) == 100
        assert max(values) == 200
    assert np.mean(plain) == pytest.approx(150, abs=2)
    # E[1 / u], u uniform in [1/200, 1/100]: ln 2 / (1/100 - 1/200)
    assert np.mean(inverse) == pytest.approx(200 * np.log(2), abs=2)


def test_resized_crop_area_and_aspect():
    generator = gen()
    boxes = [
        draw_resized_crop(generator, (300, 400), (0.2, 0.5), (0.75, 4 / 3)) for _ in range(500)
    ]
    areas = np.array([box.height * box.width / 120_000 for box in boxes])
    aspects = np.array([box.width / box.height for box in boxes])
    assert areas.min() > 0.19
    assert areas.max() < 0.51
    assert areas.mean() == pytest.approx(0.35, abs=0.02)
    assert aspects.min() > 0.74
    assert aspects.max() < 1.35
    assert np.log(aspects).mean() == pytest.approx(0, abs=0.03)
    for box in boxes:
        assert 0 <= box.top <= 300 - box.height
        assert 0 <= box.left <= 400 - box.width


def test_resized_crop_falls_back_to_the_largest_centred_box():
    # no box of 90 % of a 10:1 frame is square
    box = draw_resized_crop(gen(), (40, 400), (0.9, 1.0), (1.0, 1.0))
    assert box == Box(0, 180, 40, 40)
    box = draw_resized_crop(gen(), (400, 40), (0.9, 1.0), (1.0, 1.0))
    assert box == Box(180, 0, 40, 40)


@pytest.mark.parametrize("size", [(1080, 1920), (480, 270)])
def test_decode_size_suffices_and_no_more(size):
    generator = gen()
    short_sides = set()
    for _ in range(200):
        box = draw_resized_crop(generator, size, (0.08, 1.0), (0.75, 4 / 3))
        short = sufficient_short_side(size, [box], 112)
        short_sides.add(short)
        decoded = size if short is None else scaled_size(*size, short)
        scaled = box.scaled(size, decoded)
        assert 0 <= scaled.top <= decoded[0] - scaled.height
        assert 0 <= scaled.left <= decoded[1] - scaled.width
        smallest = min(box.height, box.width)
        if short is None:
            assert smallest <= 112
        else:
            assert 112 <= min(scaled.height, scaled.width) + 1 <= 116
            assert short <= min(size)
    assert len(short_sides) > 50


# -- transforms --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TRAIN_KINDS)
def test_train_clip(name):
    transform = TRAIN_KINDS[name]
    for seed in range(12):
        plan = transform.plan(120, 160, gen(seed))
        frames = smooth_frames()
        before = frames.copy()
        clip = transform.apply(frames, plan)
        assert clip.dtype == torch.uint8
        assert clip.shape == (3, 3, 48, 48)
        assert clip.permute(1, 2, 3, 0).is_contiguous()
        assert np.array_equal(frames, before)  # also no view of them comes back
        clip.fill_(0)
        assert np.array_equal(frames, before)


@pytest.mark.parametrize("name", TRAIN_KINDS)
def test_plan_depends_on_the_generator_alone(name):
    transform = TRAIN_KINDS[name]
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    plans = [transform.plan(120, 160, gen(seed)) for seed in (0, 0, 1, 2, 3, 4)]
    clips = [transform.apply(smooth_frames(), plan) for plan in plans]
    assert plans[0] == plans[1]
    assert torch.equal(clips[0], clips[1])
    assert any(plan != plans[0] for plan in plans[2:])
    assert torch.equal(states[0], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])
    assert states[2] == random.getstate()


@pytest.mark.parametrize("name", [name for name in TRAIN_KINDS if name != "shift"])
def test_all_frames_are_treated_alike(name):
    transform = TRAIN_KINDS[name]
    noise = np.random.default_rng(0).integers(0, 256, (1, 120, 160, 3), dtype=np.uint8)
    for seed in range(20):
        plan = transform.plan(120, 160, gen(seed))
        clip = transform.apply(np.repeat(noise, 4, axis=0), plan)
        assert torch.equal(clip, clip[:, :1].expand_as(clip)), plan


def test_crop_and_flip_are_the_pixels_of_the_plan():
    transform = TrainTransform(crop_size=8, jitter_scales=(20, 20))
    frames = place_frames()
    flips = 0
    for seed in range(60):
        plan = transform.plan(20, 30, gen(seed))
        (box,) = plan.boxes
        rows, columns = box.slices()
        expected = frames[:, rows, columns]
        if plan.flip:
            flips += 1
            expected = expected[:, :, ::-1]
        clip = transform.apply(frames, plan)
        assert np.array_equal(clip.permute(1, 2, 3, 0).numpy(), expected)
    assert 15 < flips < 45
    still = TrainTransform(crop_size=8, jitter_scales=(20, 20), flip=False)
    assert not any(still.plan(20, 30, gen(seed)).flip for seed in range(20))


@pytest.mark.parametrize("name", ["jitter", "inverse", "relative", "shift"])
@pytest.mark.parametrize("size", [(120, 160), (320, 180)])
def test_with_and_without_scaling_by_the_decoder(name, size):
    transform = TRAIN_KINDS[name]
    frames = smooth_frames(3, *size)
    scaled = 0
    for seed in range(20):
        plan = transform.plan(*size, gen(seed))
        if plan.short_side is None:
            continue
        scaled += 1
        decoded = resize(torch.from_numpy(frames), scaled_size(*size, plan.short_side))
        difference = transform.apply(frames, plan).int() - transform.apply(decoded, plan)
        # a box's edge may round to another pixel: a step of the gradient or two
        assert difference.abs().max() <= (0 if plan.resize_frames else 5)
    assert scaled >= 4


def test_long_side_of_a_decoder_that_rounds_otherwise():
    transform = TrainTransform(crop_size=32, jitter_scales=(32, 32), flip=False)
    plan = SpatialPlan(32, (32, 42), (Box(0, 10, 32, 32),))
    for width in (40, 41, 43, 44):
        frames = place_frames(2, 32, width)
        clip = transform.apply(frames, plan)
        left = min(10, width - 32)
        assert np.array_equal(clip.permute(1, 2, 3, 0).numpy(), frames[:, :, left : left + 32])


@pytest.mark.parametrize("name", ["jitter", "relative", "shift"])
@pytest.mark.parametrize("size", [(20, 24), (47, 300), (300, 47), (48, 48)])
def test_small_videos_are_enlarged_to_fit(name, size):
    transform = TRAIN_KINDS[name]
    for seed in range(5):
        plan = transform.plan(*size, gen(seed))
        assert transform.apply(smooth_frames(2, *size), plan).shape == (3, 2, 48, 48)
    evaluate = EvalTransform(crop_size=48, short_side=32, num_crops=3)
    clips = evaluate.apply(smooth_frames(2, *size), evaluate.plan(*size))
    assert clips.shape == (3, 3, 2, 48, 48)


def test_motion_shift_moves_evenly():
    transform = TRAIN_KINDS["shift"]
    plan = SpatialPlan(
        None, (100, 200), (Box(0, 0, 48, 48),), resize_frames=False, last_box=Box(40, 80, 48, 48)
    )
    frames = np.repeat(place_frames(1, 100, 200), 5, axis=0)
    clip = transform.apply(frames, plan)
    assert clip[0, :, 0, 0].tolist() == [0, 10, 20, 30, 40]  # rows
    assert clip[1, :, 0, 0].tolist() == [0, 20, 40, 60, 80]  # columns


@pytest.mark.parametrize("size", [(30, 41), (41, 30)])
def test_eval_crops_are_exact_and_fixed(size):
    transform = EvalTransform(crop_size=20, short_side=30, num_crops=3)
    frames = place_frames(2, *size)
    plan = transform.plan(*size)
    assert plan == transform.plan(*size, gen(3))
    clips = transform.apply(frames, plan)
    assert clips.shape == (3, 3, 2, 20, 20)
    assert clips.permute(0, 2, 3, 4, 1).is_contiguous()
    for clip, box in zip(clips, spaced_crops(size, 20, 3), strict=True):
        rows, columns = box.slices()
        assert np.array_equal(clip.permute(1, 2, 3, 0).numpy(), frames[:, rows, columns])


def test_eval_scaling_is_torchvisions():
    from slowfast.utils import vision

    noise = np.random.default_rng(1).integers(0, 256, (2, 50, 75, 3), dtype=np.uint8)
    transform = EvalTransform(crop_size=32, short_side=32)
    clip = transform.apply(noise, transform.plan(50, 75))[0].permute(1, 0, 2, 3)
    f = vision.functional()
    small = f.resize(torch.from_numpy(noise).permute(0, 3, 1, 2), [32, 48], antialias=True)
    assert torch.equal(clip, small[..., 8:40])


@pytest.mark.parametrize("size", [(120, 160), (240, 90), (30, 40)])
def test_whole_frames_in_an_exact_size_are_torchvisions(size):
    """The published IMFE transform: antialiased, the frame's shape ignored."""
    functional = vision.functional()
    frames = smooth_frames(2, *size)
    transform = EvalTransform(crop_size=1, short_side=1, resize=(64, 88))
    plan = transform.plan(*size)
    clip = transform.apply(frames, plan)
    assert clip.shape == (1, 3, 2, 64, 88)
    expected = functional.resize(torch.from_numpy(frames).permute(0, 3, 1, 2), [64, 88])
    assert torch.equal(clip[0].transpose(0, 1), expected)
    if plan.short_side is not None:  # what the decoder gives is never enlarged
        height, width = scaled_size(*size, plan.short_side)
        assert height >= 64
        assert width >= 88


def test_whole_frames_in_training_are_flipped_and_coloured_only():
    transform = TrainTransform(crop_size=1, resize=(10, 12))
    frames = smooth_frames()
    flips = Counter()
    for seed in range(20):
        plan = transform.plan(120, 160, gen(seed))
        clip = transform.apply(frames, plan)
        assert clip.shape == (3, 3, 10, 12)
        flips[bool(clip[1, 0, 0, 0] > clip[1, 0, 0, -1])] += 1
    assert min(flips.values()) > 3


def test_wrong_frames_are_named():
    transform = EvalTransform(crop_size=8, short_side=8)
    with pytest.raises(ValueError, match=r"uint8 \(T, H, W, 3\), got torch.float32 \(2, 3, 8, 8\)"):
        transform.apply(torch.zeros(2, 3, 8, 8), transform.plan(8, 8))
    with pytest.raises(ValueError, match="NUM_SPATIAL_CROPS is 0"):
        EvalTransform(crop_size=8, short_side=8, num_crops=0)


def test_read_only_frames_are_accepted():
    frames = place_frames()
    frames.flags.writeable = False
    transform = EvalTransform(crop_size=20, short_side=20)
    assert transform.apply(frames, transform.plan(20, 30)).shape == (1, 3, 2, 20, 20)
