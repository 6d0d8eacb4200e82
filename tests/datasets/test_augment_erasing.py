import math

import numpy as np
import pytest
import torch

from slowfast.datasets.augment.erasing import RandomErasing


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def ones(batch=4, frames=3, size=32):
    return torch.ones(batch, 3, frames, size, size)


@pytest.mark.parametrize("mode", ["pixel", "rand", "const"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_one_box_through_all_frames(mode, layout):
    clips = ones().contiguous(memory_format=layout)
    erased = RandomErasing(1.0, mode=mode)(clips, gen())
    assert erased is clips
    assert erased.is_contiguous(memory_format=layout)
    boxes = set()
    for clip in erased:
        assert torch.equal(clip, clip[:, :1].expand_as(clip))  # identical frames stay identical
        mask = (clip[0, 0] != 1).nonzero()
        (top, left), (bottom, right) = mask.min(0).values.tolist(), mask.max(0).values.tolist()
        boxes.add((top, left, bottom, right))
        inside = clip[:, 0, top : bottom + 1, left : right + 1]
        assert len(mask) == inside[0].numel()  # a full rectangle, one and only one
        per_channel = {"const": 1, "rand": 1, "pixel": inside[0].numel()}[mode]
        assert [len(channel.unique()) for channel in inside] == [per_channel] * 3
        if mode == "const":
            assert (inside == 0).all()
        if mode == "rand":
            assert len(inside.unique()) == 3
    assert len(boxes) == 4


def test_areas_aspects_and_noise():
    generator = gen()
    erase = RandomErasing(1.0)
    boxes = [erase.draw_box((100, 200), erase.area, generator) for _ in range(600)]
    areas = np.array([box.height * box.width / 20_000 for box in boxes])
    assert areas.min() >= 0.019
    assert areas.max() <= 0.34
    aspects = np.array([box.height / box.width for box in boxes])
    assert aspects.min() > 0.28
    assert aspects.max() < 3.6
    assert min(box.top for box in boxes) == 0
    assert all(box.top + box.height <= 100 and box.left + box.width <= 200 for box in boxes)
    clips = erase(torch.full((64, 3, 1, 32, 32), 9.0), gen())
    noise = clips[clips != 9.0]
    assert noise.mean() == pytest.approx(0, abs=0.02)
    assert noise.std() == pytest.approx(1, abs=0.02)


def test_probability_and_split():
    clips = RandomErasing(0.3)(ones(300, 1, 8), gen())
    touched = (clips != 1).flatten(1).any(1)
    assert touched.sum() == pytest.approx(90, abs=25)
    assert not (RandomErasing(0.0)(ones(), gen()) != 1).any()
    touched = (RandomErasing(1.0, split=True)(ones(6), gen()) != 1).flatten(1).any(1)
    assert touched.tolist() == [False] * 3 + [True] * 3


def test_count_shares_the_area():
    clips = RandomErasing(1.0, count=3)(ones(60, 1, 64), gen())
    share = (clips[:, 0] != 1).float().mean((1, 2, 3))
    assert share.max() <= 1 / 3 + 0.02
    assert share.mean() > 0.1


def test_a_box_that_never_fits_is_left_out():
    erase = RandomErasing(1.0, area=(0.9, 0.9), aspect=(9.0, 9.1))
    assert erase.draw_box((10, 10), erase.area, gen()) is None
    assert (erase(ones(), gen()) == 1).all()


def test_seeded_and_global_state_untouched():
    state = torch.get_rng_state()
    first, again, other = (RandomErasing(1.0)(ones(), gen(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"probability": 1.5}, "AUG.RE_PROB is 1.5"),
        ({"probability": 1, "mode": "blur"}, "AUG.RE_MODE 'blur' is unknown; one of .*'pixel'"),
        ({"probability": 1, "count": 0}, "AUG.RE_COUNT is 0"),
    ],
)
def test_limits(values, message):
    with pytest.raises(ValueError, match=message):
        RandomErasing(**values)


def test_aspect_range_is_symmetric():
    low, high = RandomErasing(1.0).aspect
    assert math.log(low) == pytest.approx(-math.log(high))
