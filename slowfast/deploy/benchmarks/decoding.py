"""Loading clips on one core, part by part: against PySlowFast's way, and against the codec.

The yardsticks take turns with our own way on the very same frames of the same videos, in one
process, in processor time: other programs on the machine slow all alike.

* *as PySlowFast*: see :mod:`slowfast.datasets.decode.baseline`. It ends with a float clip of the
  crop's size, ours with a uint8 one (the rest happens on the training device).
* *floor*: decoding the packets our own way decodes, from memory, and converting nothing; the
  decoder is ready. No loader that decodes these files exactly can be faster.
"""

from __future__ import annotations

import copy
import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from slowfast.datasets.base import (
    ITEM_STREAM,
    ClipRecord,
    Failure,
    VideoDataset,
    open_record,
    segment,
)
from slowfast.datasets.decode import READERS, VideoError
from slowfast.datasets.decode.baseline import read_segment, read_view
from slowfast.datasets.decode.floor import decode_only
from slowfast.datasets.decode.frames import is_frame_path
from slowfast.datasets.decode.index import CACHE
from slowfast.datasets.loader import collate
from slowfast.deploy.benchmarks.loader import reference_clip
from slowfast.utils.seed import derived_generator
from slowfast.utils.stopwatch import Stopwatch, Watch

Result = dict[str, Any]
Run = Callable[[], object]

REFERENCE, FLOOR = "as PySlowFast", "floor"
IMAGES = "images"  # the one backend of frame folders
STAGES = ("open", "seek", "read", "decode", "scale", "augment", "collate")
DECODING = STAGES[:5]


def installed_backends() -> list[str]:
    """Decoding backends whose libraries are there and load."""
    found = []
    for name in READERS:
        try:
            READERS.get(name)
            if name.startswith("torchcodec"):
                importlib.import_module("torchcodec.decoders")
            if name == "torchcodec_cuda" and not torch.cuda.is_available():
                continue
        except (ImportError, OSError, RuntimeError):
            continue
        found.append(name)
    return found


@dataclass(frozen=True)
class Clip:
    """One random clip, chosen as training would.

    Attributes:
        key: epoch and index, of the dataset.
        record: its video.
        numbers: the frames.
        segment: first and last frame of the part of the video that counts.
        short_side: pixels the frames are scaled to; ``None``: none.
    """

    key: tuple[int, int]
    record: ClipRecord
    numbers: list[int]
    segment: tuple[int, int]
    short_side: int | None


class WatchedTransform:
    """A transform that tells a watch when it is at work."""

    def __init__(self, transform: Any, watch: Watch) -> None:
        self._transform, self._watch = transform, watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transform, name)

    def plan(self, *args: Any) -> Any:
        with self._watch("augment"):
            return self._transform.plan(*args)

    def apply(self, *args: Any) -> Any:
        with self._watch("augment"):
            return self._transform.apply(*args)


class Contender:
    """Our own loading with one backend, from the closed file to a batch of one clip.

    Args:
        dataset: of the training split.
        backend: ``DATA.DECODING_BACKEND``; without effect on frame folders.

    Attributes:
        laps: seconds per stage of the last clip.
    """

    def __init__(self, dataset: VideoDataset, backend: str) -> None:
        self.laps: dict[str, float] = {}
        self.watch = Stopwatch()
        self._dataset = copy.copy(dataset)
        self._dataset.reader = partial(open_record, backend=backend, watch=self.watch)
        self._dataset.transform = WatchedTransform(dataset.transform, self.watch)

    def load(self, clip: Clip) -> None:
        """Load a clip as the first one of its video."""
        CACHE.clear()
        item = self._dataset[clip.key]
        if isinstance(item, Failure):
            raise item.error
        if item.bad:
            raise VideoError(clip.record.path, next(iter(item.bad.values())))
        with self.watch("collate"):
            collate([item])
        self.laps = self.watch.take()


def choose_clip(dataset: VideoDataset, key: tuple[int, int]) -> Clip:
    """The clip that ``dataset[key]`` is.

    Raises:
        VideoError: its video cannot be opened.
    """
    record = dataset.records[key[1]]
    generator = derived_generator(dataset.seed, *key, ITEM_STREAM)
    with open_record(record) as reader:
        first, total = segment(record, reader)
        chosen = dataset.sampler.clips(total, reader.fps, generator)[0]
        plan = dataset.transform.plan(reader.height, reader.width, generator)
    numbers = [first + number for number in chosen]
    return Clip(key, record, numbers, (first, first + total - 1), plan.short_side)


def random_clips(dataset: VideoDataset, count: int) -> Iterator[Clip]:
    """``count`` clips of videos in random order, those of unreadable videos left out."""
    for epoch in range(count):
        order = torch.randperm(len(dataset), generator=derived_generator(dataset.seed, epoch))
        for index in order[: count - epoch * len(dataset)].tolist():
            try:
                yield choose_clip(dataset, (epoch, index))
            except VideoError:
                continue
        if (epoch + 1) * len(dataset) >= count:
            return


# -- the yardsticks -------------------------------------------------------------------------------


def reference_run(clip: Clip, jitter_scales: tuple[int, int], crop_size: int) -> Run:
    """Loading the clip as PySlowFast (videos) or MECCANO's loader (image folders) does."""
    path, count = clip.record.path, len(clip.numbers)

    def run() -> None:
        if is_frame_path(path):
            frames = read_segment(path, *clip.segment, count)
        else:
            frames = read_view(path, clip.numbers[0], clip.numbers[-1], count)
        reference_clip(frames, jitter_scales, crop_size)

    return run


# -- measuring ------------------------------------------------------------------------------------


def measure_clips(
    dataset: VideoDataset,
    backends: Sequence[str],
    *,
    clips: int,
    jitter_scales: tuple[int, int],
    crop_size: int,
) -> Result:
    """Times of random clips; see the module's head.

    Args:
        dataset: of the training split.
        backends: by default :func:`installed_backends`; of image folders there is one.
        clips: number of clips.
        jitter_scales: range of the short side, pixels.
        crop_size: pixels.

    Raises:
        VideoError: no clip could be loaded by all of them.
    """
    if all(is_frame_path(record.path) for record in dataset.records):
        backends = [IMAGES]
    contenders = {name: Contender(dataset, name) for name in backends or installed_backends()}
    seconds: dict[str, list[float]] = {name: [] for name in (*contenders, REFERENCE, FLOOR)}
    stages: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
    for number, clip in enumerate(random_clips(dataset, clips + 1)):
        with open_record(clip.record) as reader:
            runs: dict[str, Run] = {
                name: partial(contender.load, clip) for name, contender in contenders.items()
            }
            runs[REFERENCE] = reference_run(clip, jitter_scales, crop_size)
            runs[FLOOR] = decode_only(reader, clip.numbers, clip.short_side)
            spent = _time_all(runs, backwards=number % 2 == 1)
        laps = {name: contender.laps for name, contender in contenders.items()}
        if number == 0:
            continue  # warming up
        for name, value in spent.items():
            seconds[name].append(value)
        for name, lap in laps.items():
            stages[name].append(lap)
    if not seconds[FLOOR]:
        raise VideoError(dataset.records[0].path, "neither it nor another video can be loaded")
    return _report(seconds, stages)


def _time_all(runs: dict[str, Run], *, backwards: bool) -> dict[str, float]:
    order = list(runs)
    spent = {}
    for name in reversed(order) if backwards else order:
        runs[name]()  # as in a worker, where nothing else has had the caches and the heap before
        start = time.process_time()
        runs[name]()
        spent[name] = time.process_time() - start
    return spent


def _report(seconds: dict[str, list[float]], stages: dict[str, list[dict[str, float]]]) -> Result:
    times = {name: np.array(values) for name, values in seconds.items()}
    numbers: Result = {
        name: {"ms_per_clip": spread(1000 * values), "clips_per_s": spread(1 / values)}
        for name, values in times.items()
    }
    for name, laps in stages.items():
        totals = {stage: np.array([lap.get(stage, 0.0) for lap in laps]) for stage in STAGES}
        decoding = sum((totals[stage] for stage in DECODING), np.zeros(len(laps)))
        shares = {
            stage: float(100 * values.sum() / times[name].sum())
            for stage, values in totals.items()
            if values.any()
        }
        numbers[name] |= {
            "times_faster_than_pyslowfast": spread(times[REFERENCE] / times[name]),
            "decoding_over_floor": spread(decoding / times[FLOOR]),
            "clip_over_floor": spread(times[name] / times[FLOOR]),
            "share_percent": shares | {"rest": 100 - sum(shares.values())},
        }
    return {"clips": len(times[FLOOR]), "contenders": numbers}


def spread(values: np.ndarray) -> dict[str, float]:
    """Median and quartiles."""
    low, median, high = np.percentile(values, [25, 50, 75])
    return {"median": float(median), "q25": float(low), "q75": float(high)}
