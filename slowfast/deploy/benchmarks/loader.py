"""Speed of loading clips, against loading them the way PySlowFast does."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from slowfast.datasets.batch import Batch
from slowfast.datasets.decode import Frames, open_video
from slowfast.datasets.decode.baseline import read_view
from slowfast.datasets.sampling import ClipSampler, clip_size, random_start, view_starts
from slowfast.deploy.latency import Timing
from slowfast.engine.trainer import Loader


def reference_clip(frames: Frames, jitter_scales: tuple[int, int], crop_size: int) -> Tensor:
    """A training clip as PySlowFast makes it: whole frames, float, normalised, then scaled.

    Args:
        frames: uint8 ``(T, H, W, 3)``, at full size.
        jitter_scales: range of the short side, pixels.
        crop_size: pixels.
    """
    clip = torch.from_numpy(frames).float() / 255.0  # (T, H, W, C)
    clip = ((clip - 0.45) / 0.225).permute(3, 0, 1, 2)  # (C, T, H, W)
    low, high = jitter_scales
    short = int(torch.randint(low, high + 1, ()))
    height, width = clip.shape[-2:]
    scale = short / min(height, width)
    size = (max(int(height * scale), short), max(int(width * scale), short))
    clip = torch.nn.functional.interpolate(clip, size=size, mode="bilinear")
    top, left = (int(torch.randint(0, side - crop_size + 1, ())) for side in size)
    clip = clip[..., top : top + crop_size, left : left + crop_size]
    return (clip.flip(-1) if torch.rand(()) < 0.5 else clip).contiguous()


class ReferenceClips(Dataset[tuple[Tensor, int]]):
    """Training clips as PySlowFast makes them; see :func:`reference_clip`.

    Args:
        paths: video files.
        sampler: frames per clip, stride and rate.
        jitter_scales: range of the short side, pixels.
        crop_size: pixels.
    """

    def __init__(
        self,
        paths: Sequence[str],
        sampler: ClipSampler,
        *,
        jitter_scales: tuple[int, int],
        crop_size: int,
    ) -> None:
        self.paths, self.sampler = list(paths), sampler
        self.jitter_scales, self.crop_size = jitter_scales, crop_size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        frames = self._decode(self.paths[index])
        return reference_clip(frames, self.jitter_scales, self.crop_size), 0

    def _decode(self, path: str) -> Frames:
        with open_video(path) as reader:
            total, fps = reader.num_frames, reader.fps
        size = clip_size(self.sampler.num_frames, self.sampler.stride, fps, self.sampler.target_fps)
        start = random_start(total, size, None)
        return read_view(path, start, start + size - 1, self.sampler.num_frames)


def reference_loader(
    dataset: ReferenceClips, *, batch_size: int, num_workers: int
) -> DataLoader[tuple[Tensor, int]]:
    """Shuffled batches of float clips."""
    return DataLoader(dataset, batch_size, shuffle=True, num_workers=num_workers, drop_last=True)


def time_loaders(
    loaders: Mapping[str, Iterable[object]], *, batches: int, rounds: int
) -> dict[str, Timing]:
    """Seconds per batch of loaders that take turns; one entry per round.

    In a round a loader starts afresh, so that the workers of one do not load ahead while another
    is timed. Its first batch, for which the workers start, does not count.

    Args:
        loaders: name -> loader of more than ``batches`` batches, or it is gone through again.
        batches: timed per round.
        rounds: turns.
    """
    seconds: dict[str, list[float]] = {name: [] for name in loaders}
    for _ in range(rounds):
        for name, loader in loaders.items():
            seconds[name].append(_seconds_per_batch(loader, batches))
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def _seconds_per_batch(loader: Iterable[object], batches: int) -> float:
    iterator = iter(loader)
    next(iterator)
    start, counted = time.perf_counter(), 0
    for _ in iterator:
        counted += 1
        if counted == batches:
            break
    if not counted:
        raise ValueError("the loader has a single batch: lower TRAIN.BATCH_SIZE to time it")
    return (time.perf_counter() - start) / counted


class FirstBatches:
    """The first ``count`` batches of a loader, as a loader."""

    def __init__(self, loader: Loader, count: int) -> None:
        self._loader, self._count = loader, min(count, len(loader))

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Batch]:
        return islice(iter(self._loader), self._count)


def time_test_views(
    path: str,
    sampler: ClipSampler,
    *,
    num_crops: int,
    short_side: int,
    backend: str = "pyav",
    repeats: int = 3,
) -> dict[str, Timing]:
    """Decoding of all test views of a video: once, against once per view; processor time.

    ``once`` includes scaling to ``short_side``; ``per_view`` leaves frames at full size.

    Args:
        path: video file.
        sampler: with ``num_views`` temporal views.
        num_crops: spatial crops of each.
        short_side: pixels.
        backend: ``DATA.DECODING_BACKEND``.
        repeats: measured turns.
    """
    with open_video(path, backend) as reader:
        total, fps = reader.num_frames, reader.fps
    size = clip_size(sampler.num_frames, sampler.stride, fps, sampler.target_fps)
    starts = view_starts(total, size, sampler.num_views, offset=sampler.offset)

    def once() -> None:
        with open_video(path, backend) as reader:
            clips = sampler.clips(reader.num_frames, reader.fps)
            reader.read(sorted({index for clip in clips for index in clip}), short_side)

    def per_view() -> None:
        for start in starts:
            for _ in range(num_crops):
                read_view(path, start, start + size - 1, sampler.num_frames)

    runs = {"once": once, "per_view": per_view}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            began = time.process_time()
            run()
            seconds[name].append(time.process_time() - began)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}
