"""Loaders as the config describes them."""

import os

import pytest
import torch

from slowfast.datasets.build import DATASETS, build_loader, count_workers
from tests.videos import write_video


def config(folder, *overrides):
    config = pytest.importorskip("slowfast.config")
    common = ["DATA.PATH_TO_DATA_DIR", str(folder), "DATA.SAMPLING_RATE", "2",
              "SLOWFAST.ALPHA", "4",
              "DATA.NUM_FRAMES", "4",
              "DATA.TRAIN_JITTER_SCALES", "[36, 44]", "DATA.TRAIN_CROP_SIZE", "32",
              "DATA.TEST_CROP_SIZE", "32", "MODEL.NUM_CLASSES", "3", "TRAIN.BATCH_SIZE", "4",
              "TEST.BATCH_SIZE", "8", "TEST.NUM_ENSEMBLE_VIEWS", "2", "TEST.NUM_SPATIAL_CROPS", "3",
              "DATA_LOADER.NUM_WORKERS", "0"]  # fmt: skip
    return config.load_cfg((), [*common, *overrides])


@pytest.mark.parametrize("name", ["kinetics", "Kinetics", "video_folder", "VideoFolder"])
def test_loaders_from_the_config(tmp_path, name):
    for label in "abc":
        for i in range(4):
            write_video(tmp_path / label / f"{i}.mp4", 12)
    rows = [f"{label}/{i}.mp4,{number}" for number, label in enumerate("abc") for i in range(4)]
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.csv").write_text("\n".join(rows))
    cfg = config(tmp_path, "TRAIN.DATASET", name, "TEST.DATASET", name)
    batch = next(iter(build_loader(cfg, "train")))
    assert batch.clips[0].shape == (4, 3, 4, 32, 32)
    batch = next(iter(build_loader(cfg, "val")))
    assert batch.clips[0].shape[1:] == (3, 4, 32, 32)
    batch = next(iter(build_loader(cfg, "test")))
    assert batch.clips[0].shape == (6, 3, 4, 32, 32), "as many whole videos as fit"
    share = build_loader(cfg, "train", rank=1, world_size=2)
    assert len(next(iter(share)).clip_ids) == 2
    with pytest.raises(ValueError, match=r"TRAIN.BATCH_SIZE 4 cannot be shared by 3"):
        build_loader(cfg, "train", world_size=3)


def test_dummy_clips_need_no_files():
    cfg = config("/no/where", "DATA.DUMMY_LOAD", "True")
    one, two = (next(iter(build_loader(cfg, "train"))) for _ in range(2))
    assert torch.equal(one.clips[0], two.clips[0])
    assert one.clips[0].float().std() > 20


def test_unknown_dataset_names_those_there_are():
    cfg = config("/no/where", "TRAIN.DATASET", "kinetic")
    with pytest.raises(KeyError, match=r"unknown dataset 'kinetic'\. Did you mean 'kinetics'"):
        build_loader(cfg, "train")
    assert {"kinetics", "video_folder"} <= set(DATASETS)


def test_no_more_workers_than_cores():
    cores = len(os.sched_getaffinity(0))
    assert count_workers(0, 1) == 0
    assert count_workers(1000, 1) == cores
    assert count_workers(1000, 1000) == 1
