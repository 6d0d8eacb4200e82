import pytest
import torch

from slowfast.config import get_cfg
from slowfast.datasets.augment.erasing import RandomErasing
from slowfast.datasets.batch import Batch
from slowfast.datasets.mixup import MixUp
from slowfast.datasets.pathways import (
    BatchTransform,
    build_batch_transform,
    pack_pathways,
    slow_indices,
)

MEAN, STD = (0.45, 0.4, 0.5), (0.225, 0.2, 0.25)
LAYOUTS = [torch.contiguous_format, torch.channels_last_3d]


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(size=4, frames=8, layout=torch.channels_last_3d):
    clips = torch.randint(0, 256, (size, 3, frames, 10, 12), generator=gen()).to(torch.uint8)
    ids = torch.arange(size)
    return Batch(
        [clips.contiguous(memory_format=layout)], ids % 3, ids, torch.zeros(size, 2), {"names": []}
    )


# -- pathways ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_frames", "alpha", "expected"),
    [
        (32, 4, [0, 4, 8, 13, 17, 22, 26, 31]),
        (32, 8, [0, 10, 20, 31]),
        (64, 4, [0, 4, 8, 12, 16, 21, 25, 29, 33, 37, 42, 46, 50, 54, 58, 63]),
        (16, 4, [0, 5, 10, 15]),
        (8, 8, [0]),
        (5, 1, [0, 1, 2, 3, 4]),
    ],
)
def test_slow_indices_as_pyslowfast(num_frames, alpha, expected):
    assert slow_indices(num_frames, alpha) == expected


def test_slow_indices_equal_the_floored_linspace():
    for alpha in (1, 2, 3, 4, 8, 16):
        for frames in range(alpha, 129):
            # in float64: float32 can fall just short of a whole number
            spaced = torch.linspace(0, frames - 1, frames // alpha, dtype=torch.float64)
            assert slow_indices(frames, alpha) == (spaced + 1e-9).long().tolist()


def test_too_few_frames_are_refused():
    with pytest.raises(ValueError, match=r"DATA.NUM_FRAMES must be at least SLOWFAST.ALPHA, 8"):
        slow_indices(4, 8)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_packing_is_slow_first_and_keeps_the_layout(layout):
    clips = torch.rand(2, 3, 16, 4, 5).contiguous(memory_format=layout)
    slow, fast = pack_pathways(clips, 4)
    assert fast is clips
    assert torch.equal(slow, clips[:, :, [0, 5, 10, 15]])
    assert slow.is_contiguous(memory_format=layout)
    (single,) = pack_pathways(clips, None)
    assert single is clips


# -- batch transform ---------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("target", [None, *LAYOUTS])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("grey", [False, True])
def test_normalisation_is_pyslowfasts(layout, target, reverse, grey):
    mean, std = ((0.45,) * 3, (0.225,) * 3) if grey else (MEAN, STD)
    given = batch(layout=layout)
    before = given.clips[0].clone()
    transform = BatchTransform(mean=mean, std=std, reverse_channels=reverse, memory_format=target)
    (clips,) = transform(given).clips
    # the formula on (T, H, W, C), then channels [2, 1, 0] when packing
    expected = before.permute(0, 2, 3, 4, 1).float() / 255.0
    expected = (expected - torch.tensor(mean)) / torch.tensor(std)
    expected = expected.permute(0, 4, 1, 2, 3)
    if reverse:
        expected = expected[:, [2, 1, 0]]
    assert clips.dtype == torch.float32
    assert (clips - expected).abs().max() < 2e-6
    assert clips.is_contiguous(memory_format=target or layout)
    assert torch.equal(given.clips[0], before)


def test_evaluation_neither_erases_nor_mixes():
    transform = BatchTransform(
        mean=MEAN, std=STD, alpha=4, erase=RandomErasing(1.0), mixup=MixUp(3)
    )
    plain = BatchTransform(mean=MEAN, std=STD, alpha=4)
    given = batch()
    evaluated, expected = transform(given), plain(given, gen())
    assert [clip.shape[2] for clip in evaluated.clips] == [2, 8]
    for one, other in zip(evaluated.clips, expected.clips, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(evaluated.labels, given.labels)
    assert evaluated.meta == given.meta


def test_training_erases_then_mixes_then_packs():
    erase, mixup = RandomErasing(0.5), MixUp(3)
    transform = BatchTransform(mean=MEAN, std=STD, alpha=4, erase=erase, mixup=mixup)
    given = batch()
    for seed in range(8):
        result = transform(given, gen(seed))
        generator = gen(seed)
        clips = erase(transform.normalise(given.clips[0]), generator)
        clips, labels = mixup(clips, given.labels, generator)
        assert torch.equal(result.clips[1], clips)
        assert torch.equal(result.clips[0], clips[:, :, [0, 7]])  # both pathways alike
        assert torch.equal(result.labels, labels)
        assert torch.equal(result.meta["hard_labels"], given.labels)
    assert "hard_labels" not in given.meta


def test_float_clips_are_refused():
    given = batch()._replace(clips=[torch.rand(1, 3, 2, 4, 4)])
    with pytest.raises(ValueError, match=r"takes uint8 clips, got torch.float32"):
        BatchTransform(mean=MEAN, std=STD)(given)


# -- from the config ---------------------------------------------------------------------------


def test_defaults():
    transform = build_batch_transform(get_cfg(), train=True)
    assert transform.mean == (0.45,) * 3
    assert transform.std == (0.225,) * 3
    assert transform.alpha == 8
    assert transform.erase is transform.mixup is transform.memory_format is None
    assert not transform.reverse_channels


def test_keys():
    cfg = get_cfg()
    cfg.MODEL.ARCH = "x3d"
    cfg.MODEL.NUM_CLASSES = [97, 300]
    cfg.MODEL.TASKS = ["verb", "noun"]
    cfg.MODEL.MEMORY_FORMAT = "channels_last_3d"
    cfg.DATA.REVERSE_INPUT_CHANNEL = True
    cfg.AUG.ENABLE = cfg.MIXUP.ENABLE = True
    cfg.AUG.RE_MODE, cfg.AUG.RE_COUNT, cfg.AUG.RE_SPLIT = "const", 2, True
    transform = build_batch_transform(cfg, train=True)
    assert transform.alpha is None
    assert transform.reverse_channels
    assert transform.memory_format is torch.channels_last_3d
    assert transform.erase == RandomErasing(0.25, "const", 2, split=True)
    assert transform.mixup == MixUp({"verb": 97, "noun": 300}, 0.8, 1.0, 1.0, 0.5, 0.1)
    override = build_batch_transform(cfg, train=False, memory_format=torch.contiguous_format)
    assert override.memory_format is torch.contiguous_format
    assert override.erase is override.mixup is None
