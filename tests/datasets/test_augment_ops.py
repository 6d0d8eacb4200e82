"""Pixels of one clip: against PIL frame by frame, which is what timm and PySlowFast use."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps

from slowfast.datasets.augment.color import ColorJitter
from slowfast.datasets.augment.ops import OPS, ClipOp, apply_ops

NOISE = np.random.default_rng(0).integers(0, 256, (3, 24, 32, 3), dtype=np.uint8)
SMOOTH = np.stack(np.broadcast_arrays(*np.ogrid[0:200:24j, 0:180:32j], 90.0), -1)[None]
SMOOTH = np.repeat(SMOOTH, 2, axis=0).astype(np.uint8)


def ours(frames, name, value):
    clip = apply_ops(torch.from_numpy(frames).permute(0, 3, 1, 2), [ClipOp(name, value)])
    assert clip.dtype == torch.uint8
    return clip.permute(0, 2, 3, 1).numpy()


def by_pil(frames, function):
    return np.stack([np.asarray(function(Image.fromarray(frame))) for frame in frames])


def pil_solarize_add(image, amount):
    table = [min(255, i + amount) if i < 128 else i for i in range(256)]
    return image.point(table * 3)


def pil_affine(image, *matrix):
    return image.transform(
        image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=(128,) * 3
    )


@pytest.mark.parametrize(
    ("name", "value", "function", "tolerance"),
    [
        ("autocontrast", 0, ImageOps.autocontrast, 1),
        ("equalize", 0, ImageOps.equalize, 1),
        ("invert", 0, ImageOps.invert, 0),
        ("grayscale", 1, lambda i: i.convert("L").convert("RGB"), 1),
        ("posterize", 3, lambda i: ImageOps.posterize(i, 3), 0),
        ("solarize", 100, lambda i: ImageOps.solarize(i, 100), 0),
        ("solarize", 256, lambda i: ImageOps.solarize(i, 256), 0),
        ("solarize_add", 60, lambda i: pil_solarize_add(i, 60), 0),
        ("brightness", 1.4, lambda i: ImageEnhance.Brightness(i).enhance(1.4), 1),
        ("contrast", 0.4, lambda i: ImageEnhance.Contrast(i).enhance(0.4), 1),
        ("saturation", 1.7, lambda i: ImageEnhance.Color(i).enhance(1.7), 2),
        ("sharpness", 0.3, lambda i: ImageEnhance.Sharpness(i).enhance(0.3), 1),
    ],
)
def test_colours_equal_pil(name, value, function, tolerance):
    expected = by_pil(NOISE, function).astype(int)
    assert np.abs(ours(NOISE, name, value) - expected).max() <= tolerance


@pytest.mark.parametrize(
    ("name", "value", "function"),
    [
        ("rotate", 20.0, lambda i: i.rotate(20, Image.Resampling.BILINEAR, fillcolor=(128,) * 3)),
        ("shear_x", 0.2, lambda i: pil_affine(i, 1, 0.2, 0, 0, 1, 0)),
        ("shear_y", -0.2, lambda i: pil_affine(i, 1, 0, 0, -0.2, 1, 0)),
        ("translate_x", 0.25, lambda i: pil_affine(i, 1, 0, -8, 0, 1, 0)),
        ("translate_y", -0.25, lambda i: pil_affine(i, 1, 0, 0, 0, 1, 6)),
    ],
)
def test_warps_equal_pil_but_for_the_border(name, value, function):
    expected = by_pil(SMOOTH, function).astype(int)
    difference = np.abs(ours(SMOOTH, name, value) - expected).max(axis=-1)
    assert np.median(difference) <= 1
    assert (difference > 8).mean() < 0.12  # the blended border
    assert np.abs(expected - SMOOTH).mean() > 5  # the warp did something


def test_hue_turns_and_returns():
    turned = ours(NOISE, "hue", 1 / 3)
    assert np.abs(turned.astype(int) - NOISE).mean() > 30
    assert np.abs(turned.max(-1).astype(int) - NOISE.max(-1)).max() <= 2  # value is kept
    assert np.abs(ours(turned, "hue", -1 / 3).astype(int) - NOISE).mean() < 3


def test_every_operation_is_the_same_in_all_frames():
    frames = np.repeat(NOISE[:1], 4, axis=0)
    for name in OPS:
        result = ours(frames, name, 0.5 if name == "hue" else 1.0)
        assert (result == result[:1]).all(), name
    assert len(OPS) == 18


def test_no_operation_keeps_the_tensor():
    clip = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    assert apply_ops(clip, []) is clip


def test_colour_jitter_ranges_and_order():
    generator = torch.Generator().manual_seed(0)
    jitter = ColorJitter(0.4, 0.2, 2.0, hue=0.1, grayscale=0.3)
    draws = [jitter.draw(generator) for _ in range(600)]
    values = {name: [v for ops in draws for n, v in ops if n == name] for name in OPS}
    for name, low, high in (
        ("brightness", 0.6, 1.4),
        ("contrast", 0.8, 1.2),
        ("saturation", 0.0, 3.0),
        ("hue", -0.1, 0.1),
    ):
        assert len(values[name]) == 600
        assert low <= min(values[name]) < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < max(values[name]) <= high
    assert len(values["grayscale"]) == pytest.approx(180, abs=45)
    assert all(ops[-1].name == "grayscale" for ops in draws if len(ops) == 5)
    assert len({tuple(op.name for op in ops[:4]) for ops in draws}) == 24
    assert ColorJitter().draw(generator) == ()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"brightness": -0.1}, "brightness is -0.1"),
        ({"hue": 0.6}, "hue is 0.6, must be between 0 and 0.5"),
        ({"grayscale": 1.5}, "grayscale is 1.5, not a probability"),
    ],
)
def test_colour_jitter_limits(values, message):
    with pytest.raises(ValueError, match=message):
        ColorJitter(**values)
