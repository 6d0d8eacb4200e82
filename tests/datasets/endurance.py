"""Long loading in small: many random clips of tiny videos, some of them unreadable.

    python -m tests.datasets.endurance --clips 20000

Prints what the resident memory of all processes did and which videos were named. Exit status 1
when loading hung, memory grew, or an unreadable video was named never or twice.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from slowfast.datasets.base import ClipRecord, VideoDataset
from slowfast.datasets.loader import Loader
from slowfast.datasets.sampling import ClipSampler
from slowfast.datasets.transforms import TrainTransform
from tests.videos import B_FRAMES, write_video

SIZE = (96, 64)
BATCH = 8
TIMEOUT_S = 60  # of one batch
SAMPLES = 60  # of the memory, over all clips
WARM_UP = 0.25  # share of the clips before memory counts
KINDS = [  # of good videos
    ("mp4", {"options": B_FRAMES}),
    ("mkv", {"options": B_FRAMES}),
    ("avi", {"codec": "mpeg4", "options": {"g": "12", "bf": "2"}}),
    ("mp4", {"options": B_FRAMES, "rotation": -90}),
    ("mp4", {"options": {"g": "250"}, "audio": True}),
]


@dataclass
class Endured:
    """What came of it.

    Attributes:
        clips: loaded.
        seconds: it took.
        memory: resident MiB of this process and its workers, over time.
        bad: names of the unreadable videos.
        named: how often each video was named.
    """

    clips: int
    seconds: float
    memory: list[float]
    bad: set[str]
    named: Counter[str]

    @property
    def growth(self) -> float:
        """By what share memory grew from the first third after the warm-up to the last."""
        counted = self.memory[int(len(self.memory) * WARM_UP) :]
        third = max(len(counted) // 3, 1)
        return float(np.median(counted[-third:]) / np.median(counted[:third])) - 1

    @property
    def named_once(self) -> bool:
        return self.named == Counter(self.bad)

    def __str__(self) -> str:
        low, high = min(self.memory), max(self.memory)
        return (
            f"{self.clips} clips in {self.seconds:.0f} s; resident {low:.0f} to {high:.0f} MiB, "
            f"{100 * self.growth:+.1f} % after warming up; {len(self.bad)} unreadable videos, "
            f"each named once: {self.named_once}"
        )


def write_good_videos(folder: Path, count: int) -> list[str]:
    return [
        write_video(
            folder / f"good_{n}.{KINDS[n % len(KINDS)][0]}", 12 + n % 20, size=SIZE, rate=30,
            **KINDS[n % len(KINDS)][1],
        )
        for n in range(count)
    ]  # fmt: skip


def write_bad_videos(folder: Path, good: list[str], count: int) -> list[str]:
    """Zero bytes, cut short, damaged in every frame, no video at all, and missing."""
    paths = []
    for number in range(count):
        kind = number % 5
        source = Path(good[number * len(KINDS) % len(good)])  # an MP4
        data = bytearray(source.read_bytes())
        path = folder / f"bad_{number}_{kind}.mp4"
        if kind == 1:
            data = data[: random.Random(number).randrange(1, len(data) * 3 // 4)]
        elif kind == 2:
            start = data.index(b"mdat") + 4
            data[start : data.index(b"moov") - 4] = bytes(data.index(b"moov") - 4 - start)
        elif kind == 3:
            data = bytearray(random.Random(number).randbytes(5000))
        if kind != 4:
            path.write_bytes(data if kind else b"")
        paths.append(str(path))
    return paths


class _Messages(logging.Handler):
    """Keeps what the loader says."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def resident_mib(pid: int | str) -> float:
    """Of one process; pages shared with others count in full, so copying on write adds nothing."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0  # ended


def all_memory_mib() -> float:
    """Of this process and the processes it has started."""
    me = os.getpid()
    children = Path(f"/proc/{me}/task/{me}/children").read_text().split()
    return sum(resident_mib(pid) for pid in (me, *children))


def endure(
    folder: Path, clips: int, *, videos: int = 100, bad_videos: int = 20, workers: int = 2
) -> Endured:
    """Load ``clips`` clips, in as many epochs as it takes."""
    good = write_good_videos(folder, videos)
    bad = write_bad_videos(folder, good, bad_videos)
    records = [
        ClipRecord(path, n % 5, f"train.csv:{n + 1}") for n, path in enumerate([*good, *bad])
    ]
    dataset = VideoDataset(
        records,
        split="train",
        sampler=ClipSampler(num_frames=8, stride=2),
        transform=TrainTransform(crop_size=48, jitter_scales=(56, 64)),
    )
    loader = Loader(
        dataset,
        batch_size=BATCH,
        num_workers=workers,
        timeout=TIMEOUT_S,
        max_bad_videos=len(bad),
    )
    said = _Messages()
    logger = logging.getLogger("slowfast.datasets.loader")
    logger.addHandler(said)
    logger.setLevel(logging.WARNING)
    logger.propagate = False  # they are meant to be unreadable
    try:
        loaded, memory, seconds = _load(loader, clips)
    finally:
        logger.removeHandler(said)
        logger.setLevel(logging.NOTSET)
        logger.propagate = True
    named = Counter(path for text in said.texts for path in good + bad if path in text)
    return Endured(loaded, seconds, memory, set(bad), named)


def _load(loader: Loader, clips: int) -> tuple[int, list[float], float]:
    start, loaded, epoch, memory = time.monotonic(), 0, 0, []
    every = max(clips // SAMPLES, 1)
    while loaded < clips:
        loader.set_epoch(epoch)
        for batch in loader:
            assert batch.clips[0].dtype == torch.uint8
            if (loaded + len(batch.clips[0])) // every > loaded // every:
                memory.append(all_memory_mib())
            loaded += len(batch.clips[0])
            if loaded >= clips:
                break
        epoch += 1
    return loaded, memory, time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=20000)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        endured = endure(Path(folder), args.clips, workers=args.workers)
    print(endured)  # noqa: T201
    print("MiB over time:", *(f"{value:.0f}" for value in endured.memory))  # noqa: T201
    raise SystemExit(0 if endured.named_once and abs(endured.growth) <= 0.05 else 1)


if __name__ == "__main__":
    main()
