"""The dataset ``shards``: what the indices of the splits say."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from slowfast.datasets.annotations import AnnotationError, parse_class
from slowfast.datasets.base import (
    ClipRecord,
    DataError,
    Labels,
    build_class_counts,
    read_class_names,
)
from slowfast.datasets.shards.index import INDEX, Clip, Sample, Shard, read_index
from slowfast.datasets.shards.order import ShardOrder
from slowfast.datasets.shards.record import COPY_AGAIN, INSIDE, ShardRecord
from slowfast.datasets.shards.storage import exists, is_url, join

if TYPE_CHECKING:
    from yacs.config import CfgNode


class Shards:
    """Videos in tar files, by split: ``train/``, ``val/``, ``test/``, each with its index.

    Args:
        root: folder or URL above the splits.
        num_classes: classes of each task (one entry for a single task).
        tasks: names of the label sets to take, where samples have several.
        class_names: by class id, per task, instead of what the index says.
        seed: of the order in training.
        buffer: see :class:`ShardOrder`.
        streams: see :class:`ShardOrder`.
    """

    def __init__(
        self,
        root: str,
        num_classes: Sequence[int],
        *,
        tasks: Sequence[str] = (),
        class_names: dict[str, list[str]] | None = None,
        seed: int = 0,
        buffer: int = 256,
        streams: int = 8,
    ) -> None:
        self.root = root
        self.num_classes, self.tasks = tuple(num_classes), tuple(tasks)
        self.class_names = class_names
        self.seed, self.buffer, self.streams = seed, buffer, streams

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> Self:
        """Reads DATA.PATH_TO_DATA_DIR, .CLASS_NAMES_PATH, SHARDS.*, MODEL.NUM_CLASSES, .TASKS."""
        if cfg.DATA.CACHE_DIR:
            raise DataError(
                "DATA.CACHE_DIR keeps frames of files, not of shards: leave it empty, or set "
                "TRAIN.DATASET to the dataset the shards were made from"
            )
        names = cfg.DATA.CLASS_NAMES_PATH
        return cls(
            cfg.DATA.PATH_TO_DATA_DIR,
            build_class_counts(cfg),
            tasks=cfg.MODEL.TASKS if len(cfg.MODEL.TASKS) > 1 else (),
            class_names={"action": read_class_names(names)} if names else None,
            seed=cfg.RNG_SEED,
            buffer=cfg.SHARDS.BUFFER,
            streams=cfg.SHARDS.STREAMS,
        )

    def records(self, split: str) -> list[ClipRecord]:
        """The videos of ``split``; ``test`` without shards of its own takes ``val``.

        Raises:
            DataError: no index.
            AnnotationError: a label that the model does not have, by shard and member.
        """
        folder = join(self.root, split)
        if split == "test" and not exists(join(folder, INDEX)):
            folder = join(self.root, "val")
        index = read_index(folder)
        if split != "train":  # training can do without some samples, and counts them
            _check_sizes(folder, index.shards)
        if self.class_names is None:
            self.class_names = index.class_names
        found = [
            (_number_of(clip, place), self._record(join(folder, shard.name), sample, clip))
            for place, (shard, sample, clip) in enumerate(_clips(index.shards))
        ]
        found.sort(key=lambda pair: pair[0])
        return [record for _, record in found]

    def order(self, records: Sequence[ClipRecord]) -> ShardOrder:
        """The order in which training goes through ``records``."""
        lying: dict[str, list[tuple[int, int]]] = {}
        for number, record in enumerate(records):
            assert isinstance(record, ShardRecord)
            lying.setdefault(record.shard, []).append((record.offset, number))
        shards = tuple(
            tuple(number for _, number in sorted(lying[shard])) for shard in sorted(lying)
        )
        return ShardOrder(shards, self.seed, self.buffer, self.streams)

    def _record(self, shard: str, sample: Sample, clip: Clip) -> ShardRecord:
        path = f"{shard}{INSIDE}{sample.member}"
        try:
            return ShardRecord(
                path=path,
                labels=self._labels(path, clip["labels"]),
                source=str(clip.get("source") or path),
                start_s=float(clip.get("start_s", 0.0)),
                end_s=_number(clip.get("end_s"), float),
                start_frame=_number(clip.get("start_frame"), int),
                end_frame=_number(clip.get("end_frame"), int),
                name=str(clip.get("name") or path),
                shard=shard,
                offset=sample.offset,
                size=sample.size,
                crc32=sample.crc32,
            )
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, AnnotationError):
                raise
            raise AnnotationError(f"{path}: its clip {clip} cannot be used ({error!r})") from error

    def _labels(self, path: str, labels: Any) -> Labels:
        if isinstance(labels, dict):
            return self._of_tasks(path, labels)
        if self.tasks:
            raise AnnotationError(f"{path}: label {labels!r}, not one each of {list(self.tasks)}")
        high = self.num_classes[0] - 1
        if isinstance(labels, list):
            return tuple(parse_class(path, "label", str(label), high=high) for label in labels)
        if labels == -1:  # not labelled: for testing
            return -1
        return parse_class(path, "label", str(labels), high=high)

    def _of_tasks(self, path: str, labels: dict[str, Any]) -> dict[str, int]:
        if not self.tasks or not labels.keys() >= set(self.tasks):
            raise AnnotationError(
                f"{path}: labels of {list(labels)}; name them in MODEL.TASKS, which is "
                f"{list(self.tasks)}"
            )
        return {
            task: parse_class(path, task, str(labels[task]), high=classes - 1)
            for task, classes in zip(self.tasks, self.num_classes, strict=True)
        }


def _check_sizes(folder: str, shards: Sequence[Shard]) -> None:
    """Makes sure that all shards are there, and whole, before any of them is needed.

    Raises:
        DataError: one is not.
    """
    for shard in () if is_url(folder) else shards:  # asking behind a URL takes its time
        path = join(folder, shard.name)
        size = os.path.getsize(path) if os.path.isfile(path) else 0
        if size != shard.size:
            raise DataError(f"{path}: {size} bytes, the index says {shard.size}: {COPY_AGAIN}")


def _clips(shards: Sequence[Shard]) -> list[tuple[Shard, Sample, Clip]]:
    return [
        (shard, sample, clip)
        for shard in shards
        for sample in shard.samples
        for clip in sample.clips
    ]


def _number_of(clip: Clip, place: int) -> int:
    """Of a record among those of the dataset that the shards were made from."""
    number = clip.get("index")
    return number if isinstance(number, int) else place


def _number(value: Any, kind: Any) -> Any:
    return None if value is None else kind(value)
