import math

import pytest

from slowfast.engine.schedule import cosine, head_warmup, steps, warmup


@pytest.mark.parametrize(
    ("base", "max_epoch", "values"),
    [
        (0.1, 196, {0: 0.01, 17: 0.0513786, 34: 0.0927571, 100: 0.0483974}),  # K400 SlowFast
        (0.0001, 200, {0: 0.01, 1: 0.0097086, 34: 9.3e-05}),  # MECCANO SlowFast
    ],
)
def test_pyslowfasts_rates(base, max_epoch, values):
    lr_at = warmup(cosine(base, max_epoch), 34, 0.01)
    for epoch, lr in values.items():
        assert lr_at(epoch) == pytest.approx(lr, rel=1e-3 if lr < 1e-3 else 1e-5)


def test_cosine_ends():
    lr_at = cosine(0.1, 10, 0.02)
    assert lr_at(0) == pytest.approx(0.1)
    assert lr_at(5) == pytest.approx(0.06)
    assert lr_at(10) == pytest.approx(0.02)


def test_cosine_after_warmup_starts_at_the_top():
    lr_at = warmup(cosine(0.1, 10, start_epoch=2), 2, 0.01)
    assert [lr_at(e) for e in (0, 1, 2)] == pytest.approx([0.01, 0.055, 0.1])
    assert lr_at(6) == pytest.approx(0.05)
    assert lr_at(9) == pytest.approx(0.05 * (1 + math.cos(math.pi * 7 / 8)))


def test_warmup_is_linear_in_fractions_of_an_epoch():
    lr_at = warmup(steps(0.4, [0, 5], [1, 0.1]), 2, 0.0)
    assert [lr_at(e / 4) for e in range(5)] == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])


def test_epic_kitchens_steps():
    lr_at = steps(0.01, [0, 20, 25], [1, 0.1, 0.01])
    assert [lr_at(e) for e in (0, 19.99, 20, 24.9, 25, 29)] == pytest.approx(
        [0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001]
    )


@pytest.mark.parametrize(
    ("starts", "factors"), [([5], [1]), ([0, 5], [1]), ([], []), ([0, 9, 5], [1, 2, 3])]
)
def test_steps_that_make_no_sense(starts, factors):
    with pytest.raises(ValueError, match=r"SOLVER\.STEPS"):
        steps(0.1, starts, factors)


def test_warmup_longer_than_training():
    with pytest.raises(ValueError, match="MAX_EPOCH"):
        cosine(0.1, 5, start_epoch=5)


def test_a_power_delays_the_fall():
    lr_at = cosine(1.0, 65, 0.01, start_epoch=10, power=1.5)
    assert (lr_at(10), lr_at(65)) == pytest.approx((1.0, 0.01))
    for epoch in (20, 37.5, 60):
        share = ((epoch - 10) / 55) ** 1.5
        assert lr_at(epoch) == pytest.approx(0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))
        assert lr_at(epoch) > cosine(1.0, 65, 0.01, start_epoch=10)(epoch)


def test_head_then_cosine_warmup_then_steps():
    """s3d-rgb-mobilenet-v3: 5 epochs of the head, 5 of warm-up, steps at 30 and 50."""
    rising = warmup(
        steps(1e-3, [0, 30, 50], [1, 0.1, 0.01]), 5, 1e-5, start_epoch=5, curve="cosine"
    )
    lr_at = head_warmup(rising, 5, 1e-2)
    assert [lr_at(e) for e in (0, 4.99)] == [1e-2, 1e-2]
    assert lr_at(5) == pytest.approx(1e-5)
    assert lr_at(7.5) == pytest.approx((1e-5 + 1e-3) / 2)
    assert lr_at(6.25) == pytest.approx(1e-5 + (1e-3 - 1e-5) * 0.5 * (1 - math.cos(math.pi / 4)))
    assert [lr_at(e) for e in (10, 29.9, 30, 50, 64.9)] == pytest.approx(
        [1e-3, 1e-3, 1e-4, 1e-5, 1e-5]
    )
