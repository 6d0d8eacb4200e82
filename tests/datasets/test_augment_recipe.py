"""Rotation, multi-scale crops and photometric distortion."""

import collections
from pathlib import Path

import numpy as np
import pytest
import torch

from slowfast.config import ConfigError, load_cfg
from slowfast.datasets.augment.crossnorm import CrossNorm, Style
from slowfast.datasets.augment.ops import OPS, ClipOp, apply_ops
from slowfast.datasets.augment.photometric import Photometric
from slowfast.datasets.augment.rotation import Rotation, rotated_crop
from slowfast.datasets.augment.spatial import Box, draw_multi_scale_crop
from slowfast.datasets.batch import Batch
from slowfast.datasets.pathways import build_batch_transform
from slowfast.datasets.transforms import TrainTransform, build_train_transform
from slowfast.utils import vision

CONFIGS = Path(__file__).parents[2] / "configs"
SMOOTH = np.stack(np.broadcast_arrays(*np.ogrid[0:200:60j, 0:180:80j], 90.0), -1)[None]
SMOOTH = torch.from_numpy(np.repeat(SMOOTH, 2, axis=0).astype(np.uint8))  # (2, 60, 80, 3)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("degrees", [-10.0, 7.0, 30.0])
def test_rotation_equals_torchvisions(degrees):
    f = vision.functional()
    clip = SMOOTH.permute(0, 3, 1, 2)
    mode = f.InterpolationMode.BILINEAR
    whole = f.rotate(clip, degrees, interpolation=mode, fill=[128.0] * 3).permute(0, 2, 3, 1)
    ours = rotated_crop(SMOOTH, Box(0, 0, 60, 80), degrees, (60, 80))
    difference = (ours.int() - whole.int()).abs().amax(-1)
    assert (difference <= 1).float().mean() > 0.97  # but for the blended border
    box = Box(20, 20, 24, 30)  # inside: no border
    part = rotated_crop(SMOOTH, box, degrees, (24, 30))
    rows, columns = box.slices()
    assert (part.int() - whole[:, rows, columns].int()).abs().max() <= 1


def test_rotation_by_nothing_is_the_crop():
    box = Box(5, 9, 32, 32)
    assert torch.equal(rotated_crop(SMOOTH, box, 0.0, (32, 32)), SMOOTH[:, 5:37, 9:41])


def test_rotation_of_some_clips():
    angles = [Rotation(0.5, 10.0).draw(generator(seed)) for seed in range(400)]
    turned = [angle for angle in angles if angle]
    assert 160 < len(turned) < 240
    assert -10 <= min(turned) < -9
    assert 9 < max(turned) <= 10


@pytest.mark.parametrize("crop", [{}, {"multi_scale": (1, 0.5)}, {"relative_scales": (0.4, 1.0)}])
def test_all_frames_of_a_clip_are_rotated_alike(crop):
    transform = TrainTransform(crop_size=32, jitter_scales=(40, 50), rotation=Rotation(1.0), **crop)
    plan = transform.plan(60, 80, generator(3))
    assert plan.rotate
    clip = transform.apply(SMOOTH, plan)  # (3, 2, 32, 32)
    assert clip.shape == (3, 2, 32, 32)
    assert torch.equal(clip[:, 0], clip[:, 1])


def test_multi_scale_crops():
    """Sides of one or two adjacent scales, at 13 places, all equally likely."""
    scales = (1, 0.875, 0.75, 0.66)
    sides = {round(60 * scale) for scale in scales}
    g, places, shapes = generator(), collections.Counter(), collections.Counter()
    for _ in range(6500):
        box = draw_multi_scale_crop(g, (60, 100), scales)
        assert {box.height, box.width} <= sides
        order = sorted(sides, reverse=True)
        assert abs(order.index(box.height) - order.index(box.width)) <= 1
        assert 0 <= box.top <= 60 - box.height
        assert 0 <= box.left <= 100 - box.width
        shapes[box.height, box.width] += 1
        if box.height < 60:
            room = (60 - box.height, 100 - box.width)
            places[round(4 * box.top / room[0]), round(4 * box.left / room[1])] += 1
    assert len(shapes) == 10
    assert len(places) == 13
    assert min(places.values()) > 0.75 * max(places.values())
    assert min(shapes.values()) > 0.75 * max(shapes.values())


def test_multi_scale_decodes_no_more_than_needed():
    transform = TrainTransform(crop_size=112, multi_scale=(1, 0.5))
    for seed in range(20):
        plan = transform.plan(480, 640, generator(seed))
        assert plan.short_side == pytest.approx(480 * 112 / min(plan.boxes[0][2:]), abs=1)
        frames = torch.zeros(2, plan.short_side, plan.short_side * 4 // 3, 3, dtype=torch.uint8)
        assert transform.apply(frames, plan).shape == (3, 2, 112, 112)


def test_mean_level_moves_the_whole_clip():
    frames = SMOOTH.clone()
    frames[1] //= 2
    clip = frames.permute(0, 3, 1, 2)
    moved = apply_ops(clip, [ClipOp("mean_level", 100.0)])
    weights = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    before = (clip * weights).sum(1).mean().item()
    shift = moved.int() - clip.int()
    assert set(shift.unique().tolist()) == {round(100 - before)}
    assert (moved * weights).sum(1).mean().item() == pytest.approx(100, abs=0.6)
    assert apply_ops(clip, [ClipOp("mean_level", 255.0)]).max() == 255


def test_photometric_ranges_and_order():
    g = generator()
    light = Photometric(1.0)
    draws = [light.draw(g) for _ in range(2000)]
    values = {name: [v for ops in draws for n, v in ops if n == name] for name in OPS}
    for name, low, high in (
        ("mean_level", 65, 190), ("contrast", 0.6, 1.4), ("saturation", 0.7, 1.3),
        ("hue", -0.05, 0.05),
    ):  # fmt: skip
        assert 900 < len(values[name]) < 1100, name
        assert low <= min(values[name]) < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < max(values[name]) <= high
    orders = {tuple(name for name, _ in ops) for ops in draws}
    assert ("mean_level", "contrast", "saturation", "hue") in orders
    assert ("mean_level", "saturation", "hue", "contrast") in orders
    assert () in orders
    assert sum(bool(Photometric(0.2).draw(g)) for _ in range(1000)) == pytest.approx(190, abs=40)


def config(**changes):
    options = {key.replace("__", "."): value for key, value in changes.items()}
    return load_cfg(None, [str(word) for pair in options.items() for word in pair])


def test_crossnorm_and_photometric_share_the_clips(tmp_path):
    """x3d-rgb-mobilenet-v3-lgd-gc: 0.45 of the clips each, 0.1 keep their colours."""
    (tmp_path / "mean_std_list.txt").write_text("100,100,100 30,30,30\n")
    cfg = config(
        AUG__CROSSNORM_PROB=0.45, AUG__PHOTOMETRIC__PROB=0.45, DATA__PATH_TO_DATA_DIR=tmp_path
    )
    transform = build_train_transform(cfg)
    assert transform.cross_norm == CrossNorm((Style((100,) * 3, (30,) * 3),), 0.45)
    g, kinds = generator(), collections.Counter()
    for _ in range(3000):
        plan = transform.plan(256, 256, g)
        assert plan.style is None or not plan.ops
        kinds["style" if plan.style else "ops" if plan.ops else "none"] += 1
    assert kinds["style"] / 3000 == pytest.approx(0.45, abs=0.03)
    drawn = 15 / 16  # at least one of its four operations
    assert kinds["ops"] / 3000 == pytest.approx(0.45 * drawn, abs=0.03)


def test_from_the_config():
    cfg = config(AUG__ROTATE_PROB=0.5, AUG__ROTATE_DEGREES=12, DATA__MULTI_SCALE_CROP="[1, 0.75]",
                 AUG__PHOTOMETRIC__PROB=1, AUG__PHOTOMETRIC__HUE=9)  # fmt: skip
    transform = build_train_transform(cfg)
    assert transform.rotation == Rotation(0.5, 12.0)
    assert transform.multi_scale == (1, 0.75)
    assert transform.photometric == Photometric(1.0, hue=9.0)
    plain = build_train_transform(config())
    assert (plain.rotation, plain.multi_scale, plain.photometric) == (None, (), None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"AUG__CROSSNORM_PROB": 0.6, "AUG__PHOTOMETRIC__PROB": 0.5}, "must not exceed 1"),
        ({"AUG__PHOTOMETRIC__CONTRAST": "[1.4, 0.6]"}, r"AUG\.PHOTOMETRIC\.CONTRAST must be"),
        ({"DATA__MULTI_SCALE_CROP": "[1]", "DATA__TRAIN_JITTER_SCALES_RELATIVE": "[0.4, 1]",
          "DATA__TRAIN_JITTER_ASPECT_RELATIVE": "[0.5, 1.5]"}, "different ways to crop"),
        ({"MODEL__LOSS_FUNC": "am_softmax", "MODEL__LABEL_SMOOTHING": 0.1}, "one sharp label"),
        ({"TRAIN__SAMPLE_FILTER__ENABLE": True, "DATA__SAMPLING_MODE": "segment"}, "to stride"),
        ({"RAWFRAMES__VAL_ROOTS": "[a, b]", "RAWFRAMES__VAL_LISTS": "[c, d, e]"}, "one per list"),
    ],
)  # fmt: skip
def test_contradictions_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        config(**changes)


RECIPES = {
    "EPIC-KITCHENS/RESNET50_LSTM_16": {"verb": 97, "noun": 300},
    "EPIC-KITCHENS/RESNET50_LSTM_32": {"verb": 97, "noun": 300},
    "Custom/S3D_MOBILENETV3": None,
    "Custom/X3D_MOBILENETV3_LGD_GC": None,
}


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipes_draw_once_per_clip(name, tmp_path):
    """A still clip stays still, from the decoded frames to what the model is given."""
    styles = tmp_path / "mean_std_list.txt"
    styles.write_text("90,100,110 30,40,50\n")
    crossnorm = ["AUG.CROSSNORM_FILE", str(styles)] if name.startswith("Custom/X3D") else []
    small = "DATA.TRAIN_CROP_SIZE 32 DATA.TEST_CROP_SIZE 32 DATA.TRAIN_JITTER_SCALES [40,48]"
    cfg = load_cfg(CONFIGS / f"{name}.yaml", [*small.split(), *crossnorm])
    transform, on_device = build_train_transform(cfg), build_batch_transform(cfg, train=True)
    noise = np.random.default_rng(0).integers(0, 256, (2, 1, 48, 64, 3), dtype=np.uint8)
    stills = np.repeat(noise, cfg.DATA.NUM_FRAMES, axis=1)
    seen, mixed, tasks = set(), 0, RECIPES[name]
    for seed in range(12):
        plans = [transform.plan(48, 64, generator(10 * seed + i)) for i in range(2)]
        clips = torch.stack([transform.apply(s, p) for s, p in zip(stills, plans, strict=True)])
        labels = dict.fromkeys(tasks, torch.tensor([1, 2])) if tasks else torch.tensor([1, 2])
        batch = Batch([clips], labels, torch.arange(2), torch.zeros(2, 2), {})
        prepared = on_device(batch, generator(seed))
        (ready,) = prepared.clips
        assert torch.equal(ready, ready[:, :, :1].expand_as(ready))
        seen.add(float(ready.sum()))
        for task, classes in (tasks or {}).items():  # smoothed by 0.1, and mixed by CutMix or not
            soft = prepared.labels[task]
            torch.testing.assert_close(soft.sum(1), torch.ones(2))
            torch.testing.assert_close(soft.min(), torch.tensor(0.1 / classes))
            mixed += bool((soft > 0.01).sum() > 2)
    assert len(seen) == 12
    assert 0 < mixed < 24 if tasks else mixed == 0
