import torch

from slowfast.compression.quantization.calibration import build_calibration
from slowfast.config import load_cfg
from slowfast.datasets.build import build_dataset


def calibration(config, *words):
    return build_calibration(load_cfg(config, ["QUANTIZATION.CALIBRATION_CLIPS", "11", *words]))


def test_the_same_clips_every_time(config):
    first = calibration(config)
    assert len(first) == 11
    batches = [clips[0] for clips in first]
    assert [len(batch) for batch in batches] == [4, 4, 3]
    torch.rand(3)
    for again in (first, calibration(config, "DATA_LOADER.NUM_WORKERS", "1")):
        assert all(torch.equal(a, b[0]) for a, b in zip(batches, again, strict=True))
    singles = [clips[0] for clips in first.singles()]
    assert torch.equal(torch.cat(singles), torch.cat(batches))


def test_training_videos_seen_as_in_a_test(config):
    cfg = load_cfg(config, ["DATA.TEST_CROP_SIZE", "24"])
    found = calibration(config, "DATA.TEST_CROP_SIZE", "24")
    assert next(iter(found))[0].shape == (4, 3, 4, 24, 24)
    trained = [record.path for record in build_dataset(cfg, "train").records]
    chosen = [record.path for record in found.loader.dataset.records]
    assert set(chosen) <= set(trained)
    assert len({path.rpartition("/")[0] for path in chosen}) == 2  # not the first class alone
    clip = next(iter(found))[0]
    assert clip.is_floating_point()
    assert clip.abs().max() < 3  # normalised


def test_the_seed_chooses(config):
    paths = [
        [record.path for record in calibration(config, "RNG_SEED", seed).loader.dataset.records]
        for seed in "12"
    ]
    assert paths[0] != paths[1]


def test_fewer_videos_than_asked_for(config):
    found = build_calibration(load_cfg(config))
    assert len(found) == 20
    assert sum(1 for _ in found.singles()) == 20
