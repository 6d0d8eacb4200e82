"""From the datasets people have to the batches the engine takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils.data import DataLoader

from slowfast.datasets.batch import Batch
from slowfast.datasets.build import count_workers
from slowfast.datasets.loader import Loader
from slowfast.datasets.pathways import BatchTransform, build_batch_transform
from slowfast.engine.trainer import Loader as AnyLoader
from slowfast.learners.kinetics import KineticsDataset
from slowfast.learners.learner import LearnerError
from slowfast.learners.types import Category, Video
from slowfast.utils.seed import derive_seed

if TYPE_CHECKING:
    from yacs.config import CfgNode


def build_batches(
    cfg: CfgNode,
    dataset: Any,
    split: str,
    *,
    batch_size: int,
    drop_last: bool = False,
    num_workers: int = 0,
    pin_memory: bool = False,
) -> AnyLoader:
    """The batches of a dataset.

    Args:
        cfg: of the network they are for.
        dataset: a :class:`KineticsDataset`, or anything with a length that gives a clip and its
            class id by number.
        split: ``train`` shuffles and draws, ``val`` does not.
        batch_size: clips; the last batch may have fewer.
        drop_last: leave out that one, in training.
        num_workers: loading processes; 0 loads in this one.
        pin_memory: page-lock batches.

    Raises:
        LearnerError: the dataset is empty, does not fill a batch, or has more classes than the
            network.
    """
    drop_last = drop_last and split == "train"
    try:
        count = len(dataset)
    except TypeError:
        raise LearnerError(
            f"a {type(dataset).__name__} has no length: give a dataset with __len__ and "
            "__getitem__, such as KineticsDataset"
        ) from None
    if count < (batch_size if drop_last else 1):
        raise LearnerError(
            f"{count} videos do not fill a batch of {batch_size}: lower batch_size, or set "
            "drop_last False" if count else "the dataset is empty"
        )  # fmt: skip
    workers, classes = count_workers(num_workers, 1), int(cfg.MODEL.NUM_CLASSES)
    if not isinstance(dataset, KineticsDataset):
        return PairLoader(
            dataset,
            batch_size=batch_size,
            num_classes=classes,
            shuffle=split == "train",
            drop_last=drop_last,
            num_workers=workers,
            pin_memory=pin_memory,
            seed=cfg.RNG_SEED,
        )
    check_labels([label for record in dataset.records for label in [record.labels]], classes)
    return Loader(
        dataset.build_clips(cfg, split),
        batch_size=batch_size,
        seed=cfg.RNG_SEED,
        num_workers=workers,
        pin_memory=pin_memory,
        drop_last=drop_last,
    )


def check_labels(labels: Any, num_classes: int) -> None:
    """Raise when a class id is too large.

    Raises:
        LearnerError: names it.
    """
    highest, lowest = int(np.max(labels)), int(np.min(labels))
    if highest >= num_classes or lowest < 0:
        wrong = lowest if lowest < 0 else highest
        raise LearnerError(
            f"the dataset has a class {wrong}, the learner {num_classes} classes, from 0: build "
            f"it with num_classes={max(highest + 1, 1)}"
        )


class PairLoader:
    """Batches of any dataset of clips and class ids.

    Args:
        dataset: number -> ``(3, T, H, W)`` and an id; as a tensor or :class:`Video`, as an int,
            tensor or :class:`Category`.
        batch_size: clips.
        num_classes: ids are smaller.
        shuffle: every epoch anew, as ``(seed, epoch)`` say; then worker processes draw by them too.
        drop_last: leave out the last batch when it is smaller.
        num_workers: loading processes.
        pin_memory: page-lock batches.
        seed: see ``shuffle``.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        batch_size: int,
        num_classes: int,
        shuffle: bool = False,
        drop_last: bool = False,
        num_workers: int = 0,
        pin_memory: bool = False,
        seed: int = 0,
    ) -> None:
        self.num_classes, self.seed = num_classes, seed
        self._generator = torch.Generator().manual_seed(derive_seed(seed, 0))
        self._loader: DataLoader[Any] = DataLoader(
            dataset,
            batch_size=batch_size,
            shuffle=shuffle,
            drop_last=drop_last,
            num_workers=num_workers,
            pin_memory=pin_memory and torch.cuda.is_available(),
            collate_fn=collate_pairs,
            generator=self._generator,
        )

    def __len__(self) -> int:
        return len(self._loader)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of ``epoch``."""
        self._generator.manual_seed(derive_seed(self.seed, epoch))

    def __iter__(self) -> Iterator[Batch]:
        done = 0
        for clips, labels in self._loader:
            check_labels(labels.numpy(), self.num_classes)
            ids = torch.arange(done, done + len(labels))
            done += len(labels)
            names = {"names": [f"clip {number}" for number in ids.tolist()]}
            yield Batch([clips], labels, ids, torch.zeros(len(labels), 2), names)


def collate_pairs(pairs: Sequence[Any]) -> tuple[Tensor, Tensor]:
    """Clips ``(B, 3, T, H, W)`` and class ids ``(B,)``.

    Raises:
        LearnerError: no pairs, no ids, or clips of unlike shapes.
    """
    if not all(isinstance(pair, tuple | list) and len(pair) >= 2 for pair in pairs):
        raise LearnerError(
            f"an item of the dataset is a {type(pairs[0]).__name__}: it should be a clip and a "
            "class id"
        )
    clips = [(x if isinstance(x, Video) else Video(x)).data for x, *_ in pairs]
    if len({(clip.shape, clip.dtype) for clip in clips}) > 1:
        shapes = sorted({tuple(clip.shape) for clip in clips})
        raise LearnerError(f"clips of one batch are alike, the dataset gives {shapes}")
    labels = [pair[1].data if isinstance(pair[1], Category) else pair[1] for pair in pairs]
    return torch.stack(clips), torch.tensor([int(label) for label in labels])


class FirstBatches:
    """A loader that ends for good after some batches, counted over all epochs.

    Args:
        loader: of which.
        steps: batches.
    """

    def __init__(self, loader: AnyLoader, steps: int) -> None:
        self.loader, self.steps, self._epoch = loader, steps, 0

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return len(self.loader)

    def set_epoch(self, epoch: int) -> None:
        """See :meth:`Loader.set_epoch <slowfast.datasets.loader.Loader.set_epoch>`."""
        self._epoch = epoch
        if hasattr(self.loader, "set_epoch"):
            self.loader.set_epoch(epoch)

    def __iter__(self) -> Iterator[Batch]:
        left = self.steps - self._epoch * len(self)
        return islice(iter(self.loader), max(left, 0))


class ModelInputs:
    """A batch transform for uint8 clips; others are normalised already.

    Args:
        transform: of uint8 clips.
        memory_format: of the others.
    """

    def __init__(self, transform: BatchTransform, memory_format: torch.memory_format) -> None:
        self.transform, self.memory_format = transform, memory_format

    def __call__(self, batch: Batch, generator: Generator | None = None) -> Batch:
        """The batch a network takes."""
        clips = batch.clips[0]
        if clips.dtype == torch.uint8:
            return self.transform(batch, generator)
        return batch._replace(clips=[clips.float().contiguous(memory_format=self.memory_format)])


def build_model_inputs(cfg: CfgNode, memory_format: torch.memory_format) -> ModelInputs:
    """What turns batches of a dataset into those of the network that ``cfg`` describes."""
    return ModelInputs(build_batch_transform(cfg, False, memory_format), memory_format)
