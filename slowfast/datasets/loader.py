"""Batches of a :class:`VideoDataset`, the same whatever the number of worker processes."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from slowfast.datasets.at_work import AtWork
from slowfast.datasets.base import DataError, Failure, Item, Target, VideoDataset
from slowfast.datasets.batch import COMPANIONS, Batch
from slowfast.datasets.epoch_batches import EpochBatches, Part
from slowfast.datasets.frame_weights import FrameWeights
from slowfast.utils.signals import shield_worker

log = logging.getLogger(__name__)


class Loader:
    """Iterates over one epoch's batches of uint8 clips; see :class:`Batch`.

    ``batch.meta`` holds ``names`` (one per clip), ``spans`` (see :class:`Item`), ``bad_videos``
    (paths of videos that were replaced) and the seconds the workers spent on the batch's items:
    ``io_seconds`` (opening and decoding), ``transform_seconds``.

    Args:
        dataset: the videos.
        batch_size: videos per batch of this process (a test video is ``num_views`` clips).
        rank: number of this process.
        world_size: processes.
        seed: of the order.
        num_workers: loader processes; 0 loads in this one.
        pin_memory: page-lock batches; ignored without CUDA.
        persistent_workers: keep the workers between epochs.
        prefetch_factor: batches each worker prepares ahead.
        timeout: seconds to wait for a batch; 0: for ever.
        max_bad_videos: training stops above so many different unreadable videos.
        num_classes: length of multi-label targets.
        drop_last: leave out the training videos that do not fill a batch.
        start_method: ``"fork"``, ``"spawn"``; ``None``: Python's default.
    """

    def __init__(
        self,
        dataset: VideoDataset,
        *,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        seed: int = 0,
        num_workers: int = 0,
        pin_memory: bool = False,
        persistent_workers: bool = True,
        prefetch_factor: int = 2,
        timeout: float = 0,
        max_bad_videos: int = 10,
        num_classes: int | None = None,
        drop_last: bool = True,
        start_method: str | None = None,
    ) -> None:
        train = dataset.split == "train"
        self.dataset = dataset
        self.max_bad_videos = max_bad_videos
        self.bad_videos: dict[str, str] = {}
        self._batches = EpochBatches(
            len(dataset),
            batch_size,
            train=train,
            rank=rank,
            world_size=world_size,
            seed=seed,
            drop_last=drop_last or not train,
            order=dataset.order,
        )
        if train and not len(self._batches):
            raise DataError(
                f"{len(dataset)} training videos do not fill one batch of TRAIN.BATCH_SIZE: "
                f"{world_size} processes x {batch_size} videos. Lower it"
            )
        self._at_work = AtWork(dataset, num_workers) if num_workers else None
        self._loader: DataLoader[Any] = DataLoader(
            self._at_work or dataset,
            batch_sampler=self._batches,
            collate_fn=partial(collate, num_classes=num_classes),
            num_workers=num_workers,
            pin_memory=pin_memory and torch.cuda.is_available(),
            timeout=timeout if num_workers else 0,
            worker_init_fn=start_worker,
            generator=torch.Generator(),  # else every epoch takes a number of the global one
            persistent_workers=persistent_workers and num_workers > 0,
            prefetch_factor=prefetch_factor if num_workers else None,
            multiprocessing_context=start_method if num_workers else None,
        )

    def __len__(self) -> int:
        return len(self._batches)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order and the random draws of ``epoch``."""
        self._batches.epoch = epoch

    def part(self, batches: int) -> Part:
        """What to remember of ``batches`` taken from an epoch, for :meth:`place`."""
        return self._batches.part(batches)

    def place(self, taken: Sequence[Part]) -> int:
        """The batch at which an epoch goes on of which earlier runs took these parts.

        They may have had other batch sizes and numbers of processes.
        """
        return self._batches.place(taken)

    def skip(self, taken: Sequence[Part], batches: int) -> None:
        """Begin the next pass at batch number ``batches``, with what is not ``taken``."""
        self._batches.skip(taken, batches)

    def close(self) -> None:
        """End the worker processes; iterating starts new ones.

        Left to the garbage collector, each would be waited for in vain for five seconds: it ends
        the threads that tell them first.
        """
        workers, self._loader._iterator = self._loader._iterator, None
        if workers is not None and hasattr(workers, "_shutdown_workers"):
            workers._shutdown_workers()

    def use_frame_weights(self, weights: FrameWeights) -> None:
        """Draw training clips by them; they must not change while an epoch is loaded."""
        self._batches.frame_weights = weights

    def __iter__(self) -> Iterator[Batch]:
        batches = iter(self._loader)
        while True:
            try:
                batch = next(batches, None)
            except RuntimeError as error:
                self._explain(error)
                raise
            if batch is None:
                return
            if isinstance(batch, Failure):
                raise batch.error
            self._batches.sent.popleft()
            self._count_bad(batch.meta.pop("bad"))
            yield batch

    def _count_bad(self, bad: dict[str, str]) -> None:
        """Log newly found unreadable videos.

        Raises:
            DataError: too many.
        """
        for path in bad.keys() - self.bad_videos.keys():
            self.bad_videos[path] = bad[path]
            log.warning("replaced by another video: %s", bad[path])
        if len(self.bad_videos) > self.max_bad_videos:
            listing = "\n  ".join(self.bad_videos.values())
            raise DataError(
                f"{len(self.bad_videos)} training videos cannot be read, DATA.MAX_BAD_VIDEOS "
                f"allows {self.max_bad_videos}:\n  {listing}"
            )

    def _explain(self, error: RuntimeError) -> None:
        """Say what the workers were at when they got stuck or died."""
        text = str(error)
        if "timed out" in text:
            advice = "raise DATA_LOADER.TIMEOUT, or look at these videos"
        elif "exited unexpectedly" in text or "killed by signal" in text:
            advice = "out of memory or /dev/shm? Lower DATA_LOADER.NUM_WORKERS or the batch size"
        elif "unable to" in text and ("</torch_" in text or "shared memory" in text):
            advice = (
                "no room in shared memory, /dev/shm: lower DATA_LOADER.NUM_WORKERS or "
                "DATA_LOADER.PREFETCH_FACTOR, or give a container more (docker --shm-size)"
            )
        else:
            return
        keys = self._batches.sent[0] if self._batches.sent else []
        videos = ", ".join(self.dataset.records[key[1]].path for key in keys)
        first = text.strip().splitlines()[-1 if "Original Traceback" in text else 0]
        paths = self._at_work.paths() if self._at_work else []
        now = f"Being read at that moment: {', '.join(paths)}. " if paths else ""
        raise DataError(f"{first} ({advice}). {now}The batch being loaded: {videos}") from error


def start_worker(_: int) -> None:
    """One thread per worker: the workers are the parallelism. Ctrl-C is the main process's."""
    torch.set_num_threads(1)
    shield_worker()


def collate(items: Sequence[Item | Failure], num_classes: int | None = None) -> Batch | Failure:
    """One batch of all views of all items, or the first failure among them.

    Args:
        items: of one batch.
        num_classes: length of multi-label targets.
    """
    good: list[Item] = []
    for item in items:
        if isinstance(item, Failure):
            return item
        good.append(item)
    views = len(good[0].clips)
    ids = [item.index * views + view for item in good for view in range(views)]
    bad = {path: text for item in good for path, text in item.bad.items()}
    meta = {
        "names": [item.name for item in good for _ in range(views)],
        "spans": [span for item in good for span in item.spans],
        "bad_videos": sorted(bad),
        "bad": bad,
        "io_seconds": sum(item.io_seconds for item in good),
        "transform_seconds": sum(item.transform_seconds for item in good),
    }
    if good[0].companions:
        meta[COMPANIONS] = [
            _join_all(views) for views in zip(*(i.companions for i in good), strict=True)
        ]
    labels = collate_labels([item.labels for item in good for _ in range(views)], num_classes)
    times = torch.cat([item.times for item in good])
    return Batch([_join([item.clips for item in good])], labels, torch.tensor(ids), times, meta)


def _join_all(clips: Sequence[Tensor | None]) -> Tensor | None:
    there = [clip for clip in clips if clip is not None]
    return _join(there) if there else None


def _join(clips: Sequence[Tensor]) -> Tensor:
    """``(V, C, T, H, W)`` tensors as one, channels last in memory as they come.

    In a worker straight into the memory that it shares with the main process.
    """
    stored = [clip.permute(0, 2, 3, 4, 1) for clip in clips]
    if get_worker_info() is not None:
        shape = (sum(len(clip) for clip in stored), *stored[0].shape[1:])
        size = math.prod(shape)  # bytes
        shared = torch.UntypedStorage._new_shared(size)  # type: ignore[no-untyped-call]
        joined = torch.cat(stored, out=torch.empty(0, dtype=torch.uint8).set_(shared).view(shape))
    else:
        joined = torch.cat(stored) if len(stored) > 1 else stored[0]
    return joined.permute(0, 4, 1, 2, 3)


def collate_labels(labels: Sequence[Target], num_classes: int | None = None) -> Any:
    """``(B,)`` ids; ``{task: (B,)}``; ``(B, num_classes)`` zeros and ones; ``(B, D)`` features."""
    if isinstance(labels[0], dict):
        tasks = labels[0]
        return {task: torch.tensor([label[task] for label in labels]) for task in tasks}  # type: ignore[index,call-overload]
    if isinstance(labels[0], int):
        return torch.tensor(labels)
    if isinstance(labels[0], np.ndarray):
        return torch.from_numpy(np.stack(labels))  # type: ignore[arg-type]
    targets = torch.zeros(len(labels), num_classes or 0)
    for row, ids in zip(targets, labels, strict=True):
        row[list(ids)] = 1.0  # type: ignore[arg-type]
    return targets
