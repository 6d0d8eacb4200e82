"""Transforms as configs describe them."""

import pytest

from slowfast.config import get_cfg
from slowfast.datasets.augment.color import ColorJitter
from slowfast.datasets.augment.randaugment import RandAugment
from slowfast.datasets.transforms import build_eval_transform, build_train_transform


def test_defaults_build_pyslowfasts_pipeline():
    cfg = get_cfg()
    train = build_train_transform(cfg)
    assert (train.crop_size, train.jitter_scales, train.flip) == (224, (256, 320), True)
    assert train.relative_scales is train.color is train.rand_augment is None
    val = build_eval_transform(cfg, "val")
    assert (val.crop_size, val.short_side, val.num_crops) == (224, 256, 1)
    test = build_eval_transform(cfg, "test")
    assert (test.crop_size, test.short_side, test.num_crops) == (256, 256, 3)
    with pytest.raises(ValueError, match="'train'; one of 'val', 'test'"):
        build_eval_transform(cfg, "train")


def test_one_test_crop_has_the_training_short_side():
    cfg = get_cfg()
    cfg.DATA.TRAIN_JITTER_SCALES = [182, 228]
    cfg.DATA.TEST_CROP_SIZE = 160
    cfg.TEST.NUM_SPATIAL_CROPS = 1
    test = build_eval_transform(cfg, "test")
    assert (test.crop_size, test.short_side) == (160, 182)
    cfg.TEST.NUM_SPATIAL_CROPS = 3
    assert build_eval_transform(cfg, "test").short_side == 160


def test_augmentation_keys():
    cfg = get_cfg()
    cfg.AUG.ENABLE = True
    cfg.DATA.TRAIN_JITTER_SCALES_RELATIVE = [0.08, 1.0]
    cfg.DATA.TRAIN_JITTER_ASPECT_RELATIVE = [0.75, 1.3333]
    cfg.DATA.TRAIN_JITTER_MOTION_SHIFT = True
    cfg.DATA.COLOR_RND_GRAYSCALE = 0.25
    train = build_train_transform(cfg)
    assert train.rand_augment == RandAugment(9.0, 2, 0.5, increasing=True)
    assert train.color == ColorJitter(grayscale=0.25)
    assert train.relative_scales == (0.08, 1.0)
    assert train.relative_aspect == (0.75, 1.3333)
    assert train.motion_shift
    cfg.AUG.AA_TYPE = ""
    train = build_train_transform(cfg)
    assert train.rand_augment is None
    assert train.color == ColorJitter(0.4, 0.4, 0.4, 0.0, 0.25)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("AUG.NUM_SAMPLE", 2, "AUG.NUM_SAMPLE is 2.*set it to 1"),
        ("DATA.TRAIN_JITTER_SCALES_RELATIVE", [0.1, 1.0], "ASPECT_RELATIVE go together"),
        ("DATA.TRAIN_JITTER_ASPECT_RELATIVE", [0.7, 1.4], "ASPECT_RELATIVE go together"),
        ("DATA.TRAIN_JITTER_MOTION_SHIFT", True, "set DATA.TRAIN_JITTER_SCALES_RELATIVE"),
    ],
)
def test_settings_that_cannot_be_honoured(key, value, message):
    cfg = get_cfg()
    node, leaf = key.split(".")
    cfg[node][leaf] = value
    with pytest.raises(ValueError, match=message):
        build_train_transform(cfg)


def test_resize_key_takes_the_place_of_crops():
    cfg = get_cfg()
    cfg.DATA.RESIZE = [32, 44]
    for transform in (build_train_transform(cfg), build_eval_transform(cfg, "val")):
        assert transform.resize == (32, 44)
    with pytest.raises(ValueError, match=r"NUM_SPATIAL_CROPS is 3, but DATA.RESIZE .*: set 1"):
        build_eval_transform(cfg, "test")
