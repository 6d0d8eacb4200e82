"""From what a loader yields to what a model takes: device and batch transform."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from slowfast.datasets.batch import Batch

BatchTransform = Callable[[Batch, torch.Generator | None], Batch]


class BatchPreparation:
    """Moves a batch to the device and applies the batch transform.

    Args:
        device: where the model is.
        transform: uint8 clips -> what the model takes; ``None`` takes batches as they are.
    """

    def __init__(
        self, device: torch.device | str = "cpu", transform: BatchTransform | None = None
    ) -> None:
        self.device, self.transform = torch.device(device), transform

    def __call__(self, batch: Batch, generator: torch.Generator | None = None) -> Batch:
        """The batch a model takes.

        Args:
            batch: from the loader.
            generator: of random batch transforms (mixup, erasing); ``None`` applies none.
        """
        batch = batch.to(self.device)
        return batch if self.transform is None else self.transform(batch, generator)


def batch_size(batch: Batch) -> int:
    """Number of clips."""
    return len(batch.clips[0])


def split_batch(batch: Batch, max_clips: int) -> Iterator[Batch]:
    """Parts of at most ``max_clips`` clips, in order.

    Args:
        batch: every field with one entry per clip.
        max_clips: at least 1.
    """
    size = batch_size(batch)
    if size <= max_clips:
        yield batch
        return
    for start in range(0, size, max_clips):
        cut = slice(start, start + max_clips)
        clips, labels, clip_ids, times = (_cut(field, cut, size) for field in batch[:4])
        yield Batch(clips, labels, clip_ids, times, batch.meta)


def _cut(value: Any, cut: slice, size: int) -> Any:
    if isinstance(value, Tensor):
        return value[cut] if value.ndim and len(value) == size else value
    if isinstance(value, dict):
        return {key: _cut(item, cut, size) for key, item in value.items()}
    if isinstance(value, list):
        return [_cut(item, cut, size) for item in value]
    return value


def clip_names(batch: Batch) -> list[str]:
    """What to call the clips of a batch in an error message."""
    names = batch.meta.get("names") if isinstance(batch.meta, dict) else None
    return list(names) if names else [f"clip {i}" for i in batch.clip_ids.tolist()]
