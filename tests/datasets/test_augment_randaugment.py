from collections import Counter

import numpy as np
import pytest
import torch

from slowfast.datasets.augment import randaugment
from slowfast.datasets.augment.ops import OPS, apply_ops
from slowfast.datasets.augment.randaugment import RandAugment


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("rand", RandAugment(10, 2, 0.0, False, 0.5)),
        ("rand-m9-mstd0.5-inc1", RandAugment(9, 2, 0.5, True, 0.5)),
        ("rand-m7-n4-mstd0.5-inc1", RandAugment(7, 4, 0.5, True, 0.5)),
        ("rand-n3-m6.5-p0.7-inc0", RandAugment(6.5, 3, 0.0, False, 0.7)),
        ("rand-m9-mstd101", RandAugment(9, 2, 101.0)),
        ("rand-m9-mstdinf", RandAugment(9, 2, float("inf"))),
    ],
)
def test_parse(name, policy):
    assert RandAugment.parse(name) == policy


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("augmix-m3", "policy 'augmix' is not built here; start with 'rand'"),
        ("", "policy '' is not built"),
        ("rand-m9-w0", r"cannot read 'w0'; known parts.*'inc', 'm', 'mstd', 'n', 'p'"),
        ("rand-9", "cannot read '9'"),
        ("rand-m", "cannot read 'm'"),
        ("rand--m9", "cannot read ''"),
        ("rand-n2.5", "'2.5' in 'n2.5' is no int"),
        ("rand-m1.2.3", "is no float"),
        ("rand-m11", "'m11' must be between 0 and 10"),
        ("rand-inc2", "'inc2' must be between 0 and 1"),
        ("rand-n0", "'n0' must be between 1"),
    ],
)
def test_parse_errors_name_the_part(name, message):
    with pytest.raises(ValueError, match=message) as error:
        RandAugment.parse(name)
    assert f"AUG.AA_TYPE {name!r}" in str(error.value)


# strength of each operation at magnitudes 0, 5, 10: timm's auto_augment.py, signs left out
STRENGTHS = {
    "Rotate": (0, 15, 30),
    "ShearX": (0, 0.15, 0.3),
    "ShearY": (0, 0.15, 0.3),
    "TranslateXRel": (0, 0.225, 0.45),
    "TranslateYRel": (0, 0.225, 0.45),
    "SolarizeAdd": (0, 55, 110),
    "Posterize": (0, 2, 4),
    "PosterizeIncreasing": (4, 2, 0),
    "Solarize": (0, 128, 256),
    "SolarizeIncreasing": (256, 128, 0),
    "Color": (0.1, 1.0, 1.9),
    "Contrast": (0.1, 1.0, 1.9),
    "Brightness": (0.1, 1.0, 1.9),
    "Sharpness": (0.1, 1.0, 1.9),
}


def test_strengths_of_both_sets():
    tables = {
        name: strength
        for name, op, strength in (
            *randaugment._COMMON,
            *randaugment._PLAIN,
            *randaugment._INCREASING,
        )
        if op in OPS
    }
    assert len(tables) == 21
    for name, expected in STRENGTHS.items():
        for magnitude, value in zip((0, 0.5, 1), expected, strict=True):
            drawn = [tables[name](magnitude, gen(seed)) for seed in range(20)]
            assert [abs(v) for v in drawn] == pytest.approx([value] * 20)
            signed = name.startswith(("Rotate", "Shear", "Translate")) and value
            assert (min(drawn) < 0 < max(drawn)) == bool(signed)
    for name in ("Color", "Contrast", "Brightness", "Sharpness"):
        drawn = {round(tables[f"{name}Increasing"](0.5, gen(seed)), 6) for seed in range(20)}
        assert drawn == {0.55, 1.45}
        assert tables[f"{name}Increasing"](0.0, gen()) == 1.0  # nothing at magnitude 0


def test_draws_evenly_with_probability():
    generator = gen()
    policy = RandAugment(9, 2, 0.5, True)
    draws = [policy.draw(generator) for _ in range(3000)]
    assert Counter(len(ops) for ops in draws)[1] == pytest.approx(1500, abs=120)
    names = Counter(op.name for ops in draws for op in ops)
    assert len(names) == 15
    assert all(count == pytest.approx(200, abs=60) for count in names.values())
    degrees = [abs(v) for ops in draws for n, v in ops if n == "rotate"]
    assert np.mean(degrees) == pytest.approx(27, abs=0.5)
    assert 0.5 < np.std(degrees) < 2  # 0.5 steps of 3 degrees, cut off at 30
    assert max(degrees) <= 30


def test_uniform_magnitude():
    generator = gen()
    policy = RandAugment(8, 4, 101.0, True, 1.0)
    values = [v for _ in range(2000) for n, v in policy.draw(generator) if n == "shear_x"]
    assert np.mean(np.abs(values)) == pytest.approx(0.12, abs=0.01)
    assert max(values) <= 0.24


def test_every_draw_can_be_applied():
    clip = torch.randint(0, 256, (2, 3, 16, 16), generator=gen()).to(torch.uint8)
    changed = 0
    for seed in range(60):
        for increasing in (False, True):
            ops = RandAugment(10, 3, 3.0, increasing, 1.0).draw(gen(seed))
            result = apply_ops(clip, ops)
            assert result.shape == clip.shape
            assert result.dtype == torch.uint8
            changed += not torch.equal(result, clip)
    assert changed > 100
