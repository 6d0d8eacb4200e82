"""From records to clips: which frames, one decode, spatial transform; the same for every dataset.

A dataset family says only what there is: ``records(split) -> list[ClipRecord]``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.utils.data import Dataset

from slowfast.datasets.companion import Companion
from slowfast.datasets.decode import (
    FrameCountError,
    Frames,
    VideoError,
    VideoReader,
    open_video,
)
from slowfast.datasets.frame_weights import Weights
from slowfast.datasets.planned import Look, read_planned
from slowfast.datasets.sampling import ClipSampler
from slowfast.utils.errors import UserError
from slowfast.utils.plain_json import names_by_id, parse_json
from slowfast.utils.seed import derived_generator
from slowfast.utils.stopwatch import Watch, no_watch

if TYPE_CHECKING:
    from yacs.config import CfgNode

SPLITS = ("train", "val", "test")
MAX_DRAWS = 10  # unreadable videos in a row before giving up
ITEM_STREAM = 0x17E3  # tells item generators from those of other (seed, epoch, number) users

UNLABELLED = -1
"""The class id of what nobody has labelled, such as a challenge's test set."""

Labels = int | tuple[int, ...] | dict[str, int]
Key = tuple[int, int] | tuple[int, int, Weights | None]
"""Epoch, index of the record, and what to weigh its frames by."""
Target = Labels | NDArray[np.float32]
"""What a clip is trained for: its labels, or a vector of precomputed features."""


class DataError(UserError, RuntimeError):
    """A dataset that cannot be used as it is; the text names the place and the fix."""


@dataclass(frozen=True)
class ClipRecord:
    """One labelled video, or one labelled segment of a video.

    Attributes:
        path: video file, or the pattern of a frame folder.
        labels: class id; several ids (multi-label); or one id per task. ``UNLABELLED`` where the
            class is not known, in testing only.
        source: where the record stands, ``"train.csv:17"``.
        start_s: first moment that counts, seconds after the video's first frame.
        end_s: first moment that no longer counts; ``None``: the end.
        start_frame: first frame that counts, instead of ``start_s``.
        end_frame: last frame that counts.
        name: what predictions call it; the path by default.
        fps: images per second of a frame folder; video files know theirs.
        claimed_frames: images the annotation says a frame folder has; only checked.
    """

    path: str
    labels: Labels
    source: str
    start_s: float = 0.0
    end_s: float | None = None
    start_frame: int | None = None
    end_frame: int | None = None
    name: str = ""
    fps: float = 30.0
    claimed_frames: int | None = None


class Family(Protocol):
    """A kind of dataset, e.g. Kinetics lists or a folder of videos.

    Attributes:
        class_names: names by class id, per task; ``None`` when the data have none. A dataset
            with one task calls it ``"action"`` here.
        tasks: names of the label sets when there are several, else empty.
    """

    class_names: dict[str, list[str]] | None
    tasks: tuple[str, ...]

    def records(self, split: str) -> list[ClipRecord]:
        """The records of ``"train"``, ``"val"`` or ``"test"``."""
        ...


class Order(Protocol):
    """Which training videos a process takes one after the other; see :class:`ShardOrder`."""

    def __call__(
        self, epoch: int, *, rank: int, world_size: int, batch_size: int, gone: Set[int] = ...
    ) -> list[int]: ...


class SpatialTransform(Protocol):
    """Crops and the like; see :mod:`slowfast.datasets.transforms`."""

    def plan(self, height: int, width: int, generator: Any) -> Any:
        """What to do with frames of this size; has ``short_side`` for the decoder."""
        ...

    def apply(self, frames: Frames, plan: Any) -> Tensor:
        """``(T, H, W, 3)`` to ``(C, T, H, W)``, or ``(S, C, T, H, W)`` for S crops."""
        ...


@dataclass
class Item:
    """What one video contributes to a batch.

    Attributes:
        clips: uint8 ``(views, C, T, H, W)``, stored channels last.
        labels: of the video, or what ``target`` of the dataset makes of its record.
        index: of the record.
        times: ``(views, 2)`` first and last frame of each clip, seconds.
        name: of the record.
        spans: per temporal view its first frame, the one after its last, and the number of frames
            of the part of the video that counts, where frames are counted from its first.
        companions: what other networks see of a training clip, ``(1, C, T, H, W)`` each; ``None``
            for those that see the same.
        bad: videos that could not be read and were replaced by this one: path -> message.
        io_seconds: opening and decoding.
        transform_seconds: the rest.
    """

    clips: Tensor
    labels: Target
    index: int
    times: Tensor
    name: str
    spans: list[tuple[int, int, int]] = field(default_factory=list)
    companions: list[Tensor | None] = field(default_factory=list)
    bad: dict[str, str] = field(default_factory=dict)
    io_seconds: float = 0.0
    transform_seconds: float = 0.0


@dataclass(frozen=True)
class Failure:
    """An error on its way from a worker to the main process, where it is raised as it was."""

    error: UserError


class VideoDataset(Dataset[Item | Failure]):
    """Clips of the videos of one split. Holds no open file, so workers may fork or spawn.

    Args:
        records: the videos.
        split: ``"train"`` draws at random and replaces unreadable videos; ``"val"`` and
            ``"test"`` draw nothing and fail on them.
        sampler: which frames.
        transform: which pixels.
        reader: opens the video of a record.
        num_crops: spatial crops per clip that ``transform`` makes.
        seed: item ``i`` of epoch ``e`` is a function of ``(seed, e, i)``, whoever loads it.
        class_names: see :class:`Family`.
        tasks: see :class:`Family`.
        target: record -> what to train for, where that is not its labels.
        companions: what other networks see of training clips; ``None`` for the same pixels.
        fixed_views: draw every epoch what the first one draws.
    """

    def __init__(
        self,
        records: Sequence[ClipRecord],
        *,
        split: str,
        sampler: ClipSampler,
        transform: SpatialTransform,
        reader: Callable[[ClipRecord], VideoReader] | None = None,
        num_crops: int = 1,
        seed: int = 0,
        class_names: dict[str, list[str]] | None = None,
        tasks: tuple[str, ...] = (),
        target: Callable[[ClipRecord], Target] | None = None,
        companions: Sequence[Companion | None] = (),
        fixed_views: bool = False,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split {split!r} is none of {SPLITS}")
        if not records:
            raise DataError(f"no videos in split {split!r}")
        self.records = list(records)
        self.split = split
        self.sampler = sampler
        self.transform = transform
        self.reader = reader or open_record
        self.num_views = max(sampler.num_views, 1) * num_crops
        self.seed = seed
        self.class_names = class_names
        self.tasks = tasks
        self.target = target or labels_of
        self.companions = tuple(companions) if split == "train" else ()
        self.fixed_views = fixed_views
        self.order: Order | None = None  # of training; any where it does not matter

    @property
    def num_videos(self) -> int:
        """Records; each gives ``num_views`` clips."""
        return len(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: Key) -> Item | Failure:
        """The item of ``(epoch, index)``; a :class:`Failure` instead of an error of the data."""
        epoch, index, weights = key if len(key) == 3 else (*key, None)
        try:
            if self.split != "train":
                return self._load(index, None)
            epoch = 0 if self.fixed_views else epoch
            generator = derived_generator(self.seed, epoch, index, ITEM_STREAM)
            return self._draw(index, generator, weights)
        except UserError as error:
            return Failure(error)

    def _draw(self, index: int, generator: Generator, weights: Weights | None) -> Item:
        """Item ``index``, or the first readable one of those drawn in its place."""
        bad: dict[str, str] = {}
        for _ in range(MAX_DRAWS):
            try:
                item = self._load(index, generator, weights)
            except VideoError as error:
                bad[self.records[index].path] = str(error)
                index, weights = int(torch.randint(len(self), (), generator=generator)), None
                continue
            item.bad = bad
            return item
        listing = "\n  ".join(bad.values())
        raise DataError(f"{MAX_DRAWS} draws in a row gave no readable video:\n  {listing}")

    def _load(
        self, index: int, generator: Generator | None, weights: Weights | None = None
    ) -> Item:
        record = self.records[index]
        try:
            try:
                return self._clips(index, generator, weights)
            except FrameCountError:  # choose the frames anew, now that their number is known
                return self._clips(index, generator, weights)
        except VideoError as error:
            raise VideoError(error.path, f"{error.cause} (listed in {record.source})") from error

    def _clips(self, index: int, generator: Generator | None, weights: Weights | None) -> Item:
        record = self.records[index]
        start = time.perf_counter()
        with self.reader(record) as reader:
            first, total = segment(record, reader)
            chosen = self.sampler.clips(total, reader.fps, generator, weights)
            views = [[first + number for number in clip] for clip in chosen]
            plan = self.transform.plan(reader.height, reader.width, generator)
            numbers = views[0] if generator else sorted({n for view in views for n in view})
            looks = [Look(numbers, self.transform, plan)]
            looks += self._companion_looks(looks[0], first, total, reader.fps)
            (frames, plan), *others = read_planned(reader, looks)
            times = [
                [float(reader.times[view[0]]), float(reader.times[view[-1]])] for view in views
            ]
        decoded = time.perf_counter()
        clips = self.transform.apply(frames, plan)
        seen = (
            look.transform.apply(*read)[None] for look, read in zip(looks[1:], others, strict=True)
        )
        clips = clips[None] if generator else gather_views(clips, numbers, views)
        return Item(
            clips=clips,
            labels=self.target(record),
            index=index,
            times=torch.tensor(times).repeat_interleave(len(clips) // len(views), 0),
            name=record.name or record.path,
            spans=[(min(view), max(view) + 1, total) for view in chosen],
            companions=[None if companion is None else next(seen) for companion in self.companions],
            io_seconds=decoded - start,
            transform_seconds=time.perf_counter() - decoded,
        )

    def _companion_looks(self, own: Look, first: int, total: int, fps: float) -> list[Look]:
        looks = []
        for companion in filter(None, self.companions):
            clip = [number - first for number in own.numbers]
            frames = companion.frames(self.sampler, clip, total, fps)
            plan = own.plan.enlarged(companion.size[0] / own.transform.size[0])
            transform = own.transform.sized(companion.size)
            looks.append(Look([first + number for number in frames], transform, plan))
        return looks


def gather_views(crops: Tensor, numbers: list[int], views: list[list[int]]) -> Tensor:
    """The clips of all views from crops of the frames that any of them needs.

    Args:
        crops: ``(S, C, U, H, W)``, or ``(C, U, H, W)``, of the frames ``numbers``.
        numbers: U frame numbers.
        views: V lists of T frame numbers.

    Returns:
        ``(V * S, C, T, H, W)``, stored channels last; view ``v * S + s`` is crop s of views[v].
    """
    stored = (crops if crops.ndim == 5 else crops[None]).permute(0, 2, 3, 4, 1)  # (S, U, H, W, C)
    if views == [numbers]:
        return stored.permute(0, 4, 1, 2, 3)
    row = {number: place for place, number in enumerate(numbers)}
    num_crops, _, *picture = stored.shape
    clips = stored.new_empty(len(views) * num_crops, len(views[0]), *picture)
    for place, view in enumerate(views):
        rows = torch.tensor([row[number] for number in view])
        target = clips[place * num_crops : (place + 1) * num_crops]
        torch.index_select(stored, 1, rows, out=target)
    return clips.permute(0, 4, 1, 2, 3)


def segment(record: ClipRecord, reader: VideoReader) -> tuple[int, int]:
    """First frame and number of frames of the part of the video that counts, at least one.

    Raises:
        VideoError: the segment lies outside the video.
    """
    first, last = record.start_frame, record.end_frame
    if first is None:
        first = int(np.searchsorted(reader.times, record.start_s - 1e-6))
    if last is None:
        ends = [reader.num_frames]
        if record.end_s is not None:
            ends = [int(np.searchsorted(reader.times, record.end_s - 1e-6))]
        last = max(ends[0] - 1, first)
    if not 0 <= first < reader.num_frames:
        length = f"{reader.num_frames} frames, {float(reader.times[-1]):.2f} s"
        raise VideoError(record.path, f"the segment starts after the video's end ({length})")
    return first, min(last, reader.num_frames - 1) - first + 1


def open_record(
    record: ClipRecord, *, backend: str = "pyav", threads: int = 1, watch: Watch = no_watch
) -> VideoReader:
    """The reader of a record's video file or frame folder.

    Args:
        record: whose video.
        backend: ``DATA.DECODING_BACKEND``.
        threads: decoding threads, see :func:`open_video`.
        watch: is told what the time goes into.
    """
    from slowfast.datasets.decode.frames import FrameFolderReader, is_frame_path
    from slowfast.datasets.shards.record import ShardRecord, open_sample

    if isinstance(record, ShardRecord):
        return open_sample(record, backend=backend, threads=threads, watch=watch)
    if is_frame_path(record.path):
        first, last = record.start_frame, record.end_frame
        return FrameFolderReader(record.path, first=first, last=last, fps=record.fps, watch=watch)
    return open_video(record.path, backend, threads=threads, watch=watch)


def labels_of(record: ClipRecord) -> Target:
    """What most clips are trained for. A function with a name, so that workers may spawn."""
    return record.labels


def build_class_counts(cfg: CfgNode) -> list[int]:
    """``MODEL.NUM_CLASSES`` as a list, of one or of several tasks."""
    classes = cfg.MODEL.NUM_CLASSES
    return [classes] if isinstance(classes, int) else list(classes)


def read_class_names(path: str | Path) -> list[str]:
    """Class names by id from a file of one name per line, or JSON (a list, or name -> id).

    Raises:
        DataError: missing, unreadable, or with ids that are not 0 to N - 1.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix.lower() != ".json":
            return [line.strip() for line in text.splitlines() if line.strip()]
        names = parse_json(text)
    except (OSError, ValueError) as error:
        raise DataError(f"class names {path} cannot be read: {error}") from error
    try:
        return names_by_id(names)
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
