"""Clips that show the range of every activation: of the training split, seen as in a test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from slowfast.config import change_cfg
from slowfast.datasets.base import VideoDataset
from slowfast.datasets.build import build_dataset, build_loader
from slowfast.datasets.loader import Loader
from slowfast.datasets.pathways import build_batch_transform
from slowfast.datasets.sampling import ClipSampler
from slowfast.datasets.transforms import EvalTransform
from slowfast.engine.batches import BatchPreparation
from slowfast.utils.seed import derived_generator

if TYPE_CHECKING:
    from yacs.config import CfgNode

CHOICE_STREAM = 0xCA11  # tells the choice of videos from other uses of the seed
BATCH = 8


class Calibration:
    """The same clips in the same order whenever it is iterated over, as a network takes them.

    Args:
        loader: one clip per video.
        prepare: its batches, without random augmentation.
    """

    def __init__(self, loader: Loader, prepare: BatchPreparation) -> None:
        self.loader, self.prepare = loader, prepare

    def __len__(self) -> int:
        """Clips."""
        return len(self.loader.dataset)

    def __iter__(self) -> Iterator[list[Tensor]]:
        """Batches: ``(B, C, T_p, H, W)`` per pathway, normalised, on the CPU."""
        return (self.prepare(batch, None).clips for batch in self.loader)

    def singles(self) -> Iterator[list[Tensor]]:
        """The clips one by one, B = 1."""
        for clips in self:
            for i in range(len(clips[0])):
                yield [clip[i : i + 1] for clip in clips]


def build_centre_crop(cfg: CfgNode) -> EvalTransform:
    """The middle one of the test's crops."""
    crop = cfg.DATA.TEST_CROP_SIZE
    single = cfg.TEST.NUM_SPATIAL_CROPS == 1
    return EvalTransform(
        crop_size=crop,
        short_side=cfg.DATA.TRAIN_JITTER_SCALES[0] if single else crop,
        resize=tuple(cfg.DATA.RESIZE) or None,
    )


def build_calibration(cfg: CfgNode) -> Calibration:
    """``QUANTIZATION.CALIBRATION_CLIPS`` centre clips of as many training videos.

    Which videos is a function of ``RNG_SEED``; all where there are fewer.
    """
    opts = ["TEST.NUM_ENSEMBLE_VIEWS", "1", "TEST.NUM_SPATIAL_CROPS", "1",
            "TEST.BATCH_SIZE", str(min(BATCH, cfg.TEST.BATCH_SIZE))]  # fmt: skip
    seen = change_cfg(cfg, opts)
    trained = build_dataset(cfg, "train")
    generator = derived_generator(cfg.RNG_SEED, CHOICE_STREAM)
    order = torch.randperm(len(trained), generator=generator)
    chosen = sorted(order[: cfg.QUANTIZATION.CALIBRATION_CLIPS].tolist())
    dataset = VideoDataset(
        [trained.records[index] for index in chosen],
        split="test",
        sampler=ClipSampler.from_cfg(seen, "test"),
        transform=build_centre_crop(cfg),
        reader=trained.reader,
        seed=cfg.RNG_SEED,
        class_names=trained.class_names,
        tasks=trained.tasks,
        target=trained.target,
    )
    loader = build_loader(seen, "test", dataset=dataset)
    return Calibration(loader, BatchPreparation("cpu", build_batch_transform(seen, train=False)))
