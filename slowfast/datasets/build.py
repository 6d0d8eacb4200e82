"""Dataset table and the config adapters of loading."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from slowfast.datasets.base import Family, VideoDataset, open_record
from slowfast.datasets.companion import build_companion
from slowfast.datasets.loader import Loader
from slowfast.datasets.sampling import ClipSampler
from slowfast.registry import Registry
from slowfast.utils import distributed

if TYPE_CHECKING:
    from yacs.config import CfgNode

logger = logging.getLogger(__name__)

DATASETS: Registry[type[Family]] = Registry(
    "dataset",
    {
        "kinetics": "slowfast.datasets.kinetics:Kinetics",
        "ptvkinetics": "slowfast.datasets.kinetics:Kinetics",  # PyTorchVideo's loader of the same
        "video_folder": "slowfast.datasets.video_folder:VideoFolder",
        "videofolder": "slowfast.datasets.video_folder:VideoFolder",
        "meccano": "slowfast.datasets.meccano:Meccano",
        "epickitchens": "slowfast.datasets.epic_kitchens:EpicKitchens",
        "epic_kitchens": "slowfast.datasets.epic_kitchens:EpicKitchens",
        "rawframes": "slowfast.datasets.rawframes:RawFrames",
        "features": "slowfast.datasets.features:FeatureClips",
        "shards": "slowfast.datasets.shards.family:Shards",
    },
)


def build_family(cfg: CfgNode, split: str) -> Family:
    """What ``TRAIN.DATASET`` (``test``: ``TEST.DATASET``) names, in any letter case."""
    from slowfast.datasets.dummy import DummyVideos

    if cfg.DATA.DUMMY_LOAD:
        return DummyVideos.from_cfg(cfg)
    name = cfg.TEST.DATASET if split == "test" else cfg.TRAIN.DATASET
    family: Family = DATASETS.get(name.lower()).from_cfg(cfg)  # type: ignore[attr-defined]
    return family


def build_dataset(cfg: CfgNode, split: str, companions: Sequence[CfgNode] = ()) -> VideoDataset:
    """The clips of ``"train"``, ``"val"`` or ``"test"``.

    Args:
        cfg: the config.
        split: which.
        companions: configs of other networks, whose clips come along in training.

    Raises:
        UserError: the data are not there or not as they should be.
    """
    from slowfast.datasets.bad_list import records_to_train_on
    from slowfast.datasets.decode.cache import build_cached
    from slowfast.datasets.dummy import DummyReader
    from slowfast.datasets.transforms import build_eval_transform, build_train_transform

    family = build_family(cfg, split)
    if split == "train":
        records = records_to_train_on(family, cfg.DATA.BAD_VIDEOS_FILE)
    else:
        records = family.records(split)
    threads = 0 if cfg.DATA_LOADER.ENABLE_MULTI_THREAD_DECODE else 1
    reader = partial(open_record, backend=cfg.DATA.DECODING_BACKEND, threads=threads)
    dataset = VideoDataset(
        records,
        split=split,
        sampler=ClipSampler.from_cfg(cfg, split),
        transform=(
            build_train_transform(cfg) if split == "train" else build_eval_transform(cfg, split)
        ),
        reader=DummyReader if cfg.DATA.DUMMY_LOAD else build_cached(cfg, reader, companions),
        num_crops=cfg.TEST.NUM_SPATIAL_CROPS if split == "test" else 1,
        seed=cfg.RNG_SEED,
        class_names=family.class_names,
        tasks=family.tasks,
        target=getattr(family, "target", None),
        companions=[build_companion(cfg, other) for other in companions],
        fixed_views=cfg.DATA.FIXED_VIEWS,
    )
    if hasattr(family, "order"):
        dataset.order = family.order(records)
    return dataset


def count_workers(wanted: int, processes: int) -> int:
    """``DATA_LOADER.NUM_WORKERS``, at most this process's share of the cores, at least 1 of them.

    More decode no faster, but take the cores from the training step.

    Args:
        wanted: 0 loads in the process itself.
        processes: training processes on this machine.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    share = max((cores or 1) // processes, 1)
    if wanted > share:
        logger.info("DATA_LOADER.NUM_WORKERS %d: using %d, one per core and process", wanted, share)
    return min(wanted, share)


def build_loader(
    cfg: CfgNode,
    split: str,
    *,
    rank: int = 0,
    world_size: int = 1,
    dataset: VideoDataset | None = None,
    companions: Sequence[CfgNode] = (),
) -> Loader:
    """The batches of ``split`` for one process.

    ``TRAIN.BATCH_SIZE`` and ``TEST.BATCH_SIZE`` count the clips of one machine, as in PySlowFast;
    its processes share them. A test batch holds whole videos: as many as fit, at least one.

    Args:
        cfg: the config.
        split: ``"train"``, ``"val"`` or ``"test"``.
        rank: number of this process, over all machines.
        world_size: processes on all machines.
        dataset: instead of ``build_dataset(cfg, split)``.
        companions: see :func:`build_dataset`.
    """
    dataset = dataset or build_dataset(cfg, split, companions)
    machines = max(cfg.NUM_SHARDS, distributed.num_nodes())
    processes = max(world_size // machines, 1)  # on this machine
    total = cfg.TEST.BATCH_SIZE if split == "test" else cfg.TRAIN.BATCH_SIZE
    if total % processes and split == "train":
        raise ValueError(f"TRAIN.BATCH_SIZE {total} cannot be shared by {processes} processes")
    classes = cfg.MODEL.NUM_CLASSES
    return Loader(
        dataset,
        batch_size=max(total // processes // dataset.num_views, 1),
        rank=rank,
        world_size=world_size,
        seed=cfg.RNG_SEED,
        num_workers=count_workers(cfg.DATA_LOADER.NUM_WORKERS, processes),
        pin_memory=cfg.DATA_LOADER.PIN_MEMORY and cfg.DEVICE != "cpu",
        persistent_workers=cfg.DATA_LOADER.PERSISTENT_WORKERS,
        prefetch_factor=cfg.DATA_LOADER.PREFETCH_FACTOR,
        timeout=cfg.DATA_LOADER.TIMEOUT,
        max_bad_videos=cfg.DATA.MAX_BAD_VIDEOS,
        num_classes=classes if isinstance(classes, int) else None,
    )
