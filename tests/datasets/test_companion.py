"""A second network's clip: the same moment, the same part of the picture, the same changes."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from slowfast.config import load_cfg
from slowfast.datasets.augment.color import ColorJitter
from slowfast.datasets.augment.erasing import RandomErasing
from slowfast.datasets.augment.rotation import Rotation
from slowfast.datasets.base import ClipRecord, VideoDataset, open_record
from slowfast.datasets.batch import COMPANIONS, Batch
from slowfast.datasets.build import build_dataset
from slowfast.datasets.companion import Companion, build_companion
from slowfast.datasets.decode.cache import build_cached
from slowfast.datasets.loader import Loader
from slowfast.datasets.mixup import MixUp
from slowfast.datasets.pathways import BatchTransform
from slowfast.datasets.sampling import ClipSampler
from slowfast.datasets.transforms import TrainTransform

HEIGHT, WIDTH, FRAMES = 120, 160, 60
OWN = ClipSampler(num_frames=4, stride=4)


class Scene:
    """Smooth colours that say where and when a pixel is."""

    num_frames, fps, height, width = FRAMES, 30.0, HEIGHT, WIDTH
    times = np.arange(FRAMES) / 30.0

    def __init__(self, record=None):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def read(self, numbers, short_side=None):
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        frames = np.stack([np.stack([x, 2 * y, np.full_like(x, 4 * n)], -1) for n in numbers])
        pixels = torch.from_numpy(frames.astype(np.float32)).permute(0, 3, 1, 2)
        if short_side:
            size = (short_side, WIDTH * short_side // HEIGHT)
            pixels = F.interpolate(pixels, size=size, mode="bilinear", antialias=True)
        return pixels.permute(0, 2, 3, 1).round().byte().numpy()


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (ClipSampler(4, 4), [20, 25, 30, 35]),  # the same: the frames themselves
        (ClipSampler(8, 2), [20, 22, 24, 26, 28, 30, 32, 35]),  # as long, denser
        (ClipSampler(4, 8), [12, 22, 32, 43]),  # longer, around the same middle
        (ClipSampler(2, 4, target_fps=15), [20, 35]),
        (ClipSampler(4, 16), [0, 21, 42, 59]),  # longer than the video: all of it
        (ClipSampler(3, 1, mode="segment"), [10, 30, 50]),  # of the whole action
        (ClipSampler(4, 4, repeat_frame=True), [30] * 4),
    ],
)
def test_frames_around_the_same_middle(other, expected):
    found = Companion(other, (8, 8)).frames(OWN, [20, 25, 30, 35], FRAMES, 30.0)
    assert found == expected


@pytest.mark.parametrize("start", [0, 44])
def test_frames_stay_in_the_video(start):
    found = Companion(ClipSampler(4, 12), (8, 8)).frames(OWN, [start, start + 15], FRAMES, 30.0)
    assert found[0] >= 0
    assert found[-1] < FRAMES
    assert found[-1] - found[0] == 47


TRANSFORMS = {
    "jitter": {"jitter_scales": (90, 110)},
    "resized crop": {"relative_scales": (0.3, 0.9)},
    "moving": {"relative_scales": (0.3, 0.9), "motion_shift": True},
    "multi-scale": {"multi_scale": (1.0, 0.8)},
    "rotated": {"jitter_scales": (90, 110), "rotation": Rotation(20.0)},
    "colours": {"jitter_scales": (90, 110), "color": ColorJitter(0.4, 0.0, 0.0)},
}


def dataset(transform, companions=(), **options):
    records = [ClipRecord(f"{i}.mp4", i, f"a.csv:{i}") for i in range(6)]
    return VideoDataset(
        records,
        split="train",
        sampler=OWN,
        transform=transform,
        reader=Scene,
        companions=companions,
        **options,
    )


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("side", [32, 96])
def test_the_same_part_of_the_picture_changed_alike(name, side):
    transform = TrainTransform(crop_size=64, **TRANSFORMS[name])
    other = Companion(ClipSampler(4, 4), (side, side))
    alone, both = dataset(transform), dataset(transform, [other, None])
    for index in range(6):
        own, item = alone[0, index], both[0, index]
        assert torch.equal(own.clips, item.clips)  # whoever comes along
        seen, same = item.companions
        assert same is None
        assert seen.shape == (1, 3, 4, side, side)
        small = F.adaptive_avg_pool2d(seen[0].float(), 16)
        expected = F.adaptive_avg_pool2d(item.clips[0].float(), 16)
        assert (small - expected).abs().mean() < 2.5
        assert (small - expected.flip(-1)).abs().mean() > 5


def test_fixed_views_are_drawn_once():
    transform = TrainTransform(crop_size=64, jitter_scales=(90, 110))
    changing, fixed = dataset(transform), dataset(transform, fixed_views=True)
    assert not torch.equal(changing[0, 1].clips, changing[1, 1].clips)
    assert torch.equal(fixed[0, 1].clips, fixed[7, 1].clips)
    assert torch.equal(fixed[0, 1].clips, changing[0, 1].clips)


def transforms(**options):
    return {"mean": [0.45] * 3, "std": [0.225] * 3} | options


def test_batches_bring_them_ready_for_the_other_network():
    data = dataset(
        TrainTransform(crop_size=64, jitter_scales=(90, 110)),
        [Companion(ClipSampler(8, 2), (32, 32)), None],
    )
    (batch,) = Loader(data, batch_size=6)
    big, same = batch.meta[COMPANIONS]
    assert big.shape == (6, 3, 8, 32, 32)
    assert big.dtype == torch.uint8
    assert same is None
    plain = BatchTransform(**transforms())
    own = BatchTransform(
        **transforms(),
        companions=[BatchTransform(**transforms(alpha=4)), BatchTransform(**transforms())],
    )
    found = own(batch, torch.Generator())
    slow, fast = found.meta[COMPANIONS][0]
    assert torch.equal(fast, plain(batch._replace(clips=[big]))[0][0])
    assert torch.equal(slow, fast[:, :, [0, 7]])
    assert torch.equal(found.meta[COMPANIONS][1][0], found.clips[0])
    assert own(batch).meta[COMPANIONS][0] is big  # evaluation asks no teacher


@pytest.mark.parametrize("kind", [{"cutmix_alpha": 0.0}, {"alpha": 0.0}])
def test_mixed_alike_and_never_erased(kind):
    clips = torch.randint(256, (4, 3, 2, 16, 16), dtype=torch.uint8)
    larger = clips.repeat_interleave(2, -1).repeat_interleave(2, -2)
    batch = Batch([clips], torch.arange(4), torch.arange(4), torch.zeros(4, 2), {})
    batch.meta[COMPANIONS] = [larger, None]
    other = BatchTransform(**transforms())
    mixing = BatchTransform(**transforms(mixup=MixUp(4, **kind)), companions=[other, other])
    found = mixing(batch, torch.Generator().manual_seed(3))
    assert not torch.equal(found.clips[0], other(batch).clips[0])
    big, same = found.meta[COMPANIONS]
    torch.testing.assert_close(big[0][..., ::2, ::2], found.clips[0])
    assert torch.equal(same[0], found.clips[0])
    erasing = BatchTransform(**transforms(erase=RandomErasing(1.0)), companions=[other, other])
    found = erasing(batch, torch.Generator())
    assert torch.equal(found.meta[COMPANIONS][1][0], other(batch).clips[0])


def config(*words):
    return load_cfg(None, ["DATA.DUMMY_LOAD", "True", "DATA.NUM_FRAMES", "8", *words])


def test_built_from_configs():
    cfg = config("DATA.TRAIN_CROP_SIZE", "32", "DATA.TRAIN_JITTER_SCALES", "[32, 40]")
    same = config("DATA.TRAIN_CROP_SIZE", "32", "TRAIN.BATCH_SIZE", "3")
    other = config("DATA.TRAIN_CROP_SIZE", "48", "DATA.SAMPLING_RATE", "2")
    assert build_companion(cfg, same) is None
    item = build_dataset(cfg, "train", [same, other])[0, 0]
    assert item.companions[0] is None
    assert item.companions[1].shape == (1, 3, 8, 48, 48)
    assert build_dataset(cfg, "val", [other])[0, 0].companions == []


def test_distorted_pictures_are_refused():
    wide = config("DATA.RESIZE", "[32, 64]")
    with pytest.raises(ValueError, match=r"sees 224x224 pixels, the other 32x64.*DATA\.RESIZE"):
        build_companion(config(), wide)


def test_kept_frames_are_large_enough_for_all(tmp_path):
    small = config(
        "DATA.TRAIN_JITTER_SCALES", "[32, 40]", "DATA.TRAIN_CROP_SIZE", "32",
        "DATA.TEST_CROP_SIZE", "36", "DATA.CACHE_DIR", str(tmp_path),
    )  # fmt: skip
    assert build_cached(small, open_record).short_side == 40
    assert build_cached(small, open_record, [config()]).short_side == 320
