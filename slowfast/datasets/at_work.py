"""What every loader worker is reading, known to the main process when one hangs or is killed."""

from __future__ import annotations

import torch
from torch.utils.data import Dataset, get_worker_info

from slowfast.datasets.base import Failure, Item, Key, VideoDataset

IDLE = -1


class AtWork(Dataset[Item | Failure]):
    """The items of a dataset, with a note in shared memory while one is made.

    Args:
        dataset: the videos.
        workers: loader processes.
    """

    def __init__(self, dataset: VideoDataset, workers: int) -> None:
        self.dataset = dataset
        self._indices = torch.full((workers,), IDLE)
        self._indices.share_memory_()  # type: ignore[no-untyped-call]

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Key) -> Item | Failure:
        """The item of ``(epoch, index)``."""
        worker = get_worker_info()
        assert worker is not None
        self._indices[worker.id] = key[1]
        item = self.dataset[key]
        self._indices[worker.id] = IDLE
        return item

    def paths(self) -> list[str]:
        """Of the videos that are being read."""
        records = self.dataset.records
        return [records[index].path for index in self._indices.tolist() if index != IDLE]
