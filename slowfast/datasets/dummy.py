"""Random clips without files (``DATA.DUMMY_LOAD``): for benchmarks and smoke runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Self

import numpy as np

from slowfast.datasets.base import ClipRecord
from slowfast.datasets.decode.base import (
    ClosingReader,
    Frames,
    Times,
    check_indices,
    scaled_size,
)

if TYPE_CHECKING:
    from yacs.config import CfgNode

NUM_VIDEOS = 1024
WIDTH, HEIGHT, NUM_FRAMES, FPS = 340, 256, 300, 30.0


class DummyVideos:
    """``num_videos`` videos of noise, ten seconds each.

    Args:
        num_classes: of each task; labels go round.
        tasks: names of the label sets when there are several.
        num_videos: per split.
    """

    class_names: dict[str, list[str]] | None = None

    def __init__(
        self, num_classes: Sequence[int], *, tasks: Sequence[str] = (), num_videos: int = NUM_VIDEOS
    ) -> None:
        self.num_classes = tuple(num_classes)
        self.tasks = tuple(tasks)
        self.num_videos = num_videos

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> Self:
        """Reads MODEL.NUM_CLASSES and MODEL.TASKS."""
        classes = cfg.MODEL.NUM_CLASSES
        several = len(cfg.MODEL.TASKS) > 1
        return cls(
            [classes] if isinstance(classes, int) else classes,
            tasks=cfg.MODEL.TASKS if several else (),
        )

    def records(self, split: str) -> list[ClipRecord]:
        """Records whose path stands for a seed."""
        return [
            ClipRecord(f"dummy/{split}/{number}", self._labels(number), f"dummy {split}:{number}")
            for number in range(self.num_videos)
        ]

    def _labels(self, number: int) -> int | dict[str, int]:
        labels = [number % classes for classes in self.num_classes]
        return dict(zip(self.tasks, labels, strict=True)) if self.tasks else labels[0]


class DummyReader(ClosingReader):
    """Noise that differs from frame to frame; costs as much as copying it."""

    num_frames, fps, width, height = NUM_FRAMES, FPS, WIDTH, HEIGHT

    def __init__(self, record: ClipRecord) -> None:
        self.path = record.path
        self.times: Times = np.arange(NUM_FRAMES) / FPS
        self._shift = sum(record.path.encode())

    def read(self, indices: Sequence[int], short_side: int | None = None) -> Frames:
        """See :meth:`VideoReader.read`."""
        numbers = check_indices(self.path, indices, self.num_frames)
        width, height = scaled_size(self.width, self.height, short_side)
        noise = _noise(height + NUM_FRAMES, width)
        rows = [(number * 7 + self._shift) % NUM_FRAMES for number in numbers]
        return np.stack([noise[row : row + height] for row in rows])


@cache
def _noise(height: int, width: int) -> Frames:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
