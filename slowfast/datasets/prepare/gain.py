"""What re-encoding gains: random clips of the sources and of their copies, timed in turn."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from slowfast.datasets.decode import VideoError, VideoReader, open_video
from slowfast.datasets.decode.frames import FrameFolder, FrameFolderReader, scan_frames
from slowfast.datasets.sampling import clip_size, frame_indices, random_start
from slowfast.utils.seed import derived_generator

CLIPS = 5  # per video
SEED = 0xC11B


@dataclass(frozen=True)
class Gain:
    """Milliseconds per clip (open, seek, decode, scale), one value per video: its median clip.

    Attributes:
        before: of the sources.
        after: of the copies.
    """

    before: list[float]
    after: list[float]

    @property
    def ratios(self) -> list[float]:
        """Times faster, per video, ascending."""
        return sorted(a / b for a, b in zip(self.before, self.after, strict=True))

    def __str__(self) -> str:
        if not self.before:
            return "no video to measure"
        low, middle, high = np.quantile(self.ratios, [0.1, 0.5, 0.9])
        return (
            f"random clips load {middle:.1f} times faster (10 % to 90 % of videos: {low:.1f} to "
            f"{high:.1f}): {np.median(self.before):.1f} ms before, {np.median(self.after):.1f} ms "
            f"after, {len(self.before)} videos"
        )


def measure_gain(
    pairs: Sequence[tuple[str, str]],
    *,
    short_side: int,
    num_frames: int = 32,
    stride: float = 2,
    clips: int = CLIPS,
) -> Gain:
    """Time random clips of sources and copies, in turn so that other load hits both alike.

    Processor time, of this process: the machine may be doing other things. Both files are opened
    once before, so that both are in the system's cache and their indices are known.

    Args:
        pairs: ``(source, copy)``: videos, or folders of images.
        short_side: of the decoded frames, pixels.
        num_frames: T.
        stride: in frames at 30 frames per second.
        clips: per video.
    """
    before, after = [], []
    for number, (source, copy) in enumerate(pairs):
        times: tuple[list[float], list[float]] = ([], [])
        generator = derived_generator(SEED, number)
        try:
            images = scan_frames(source) if os.path.isdir(source) else None
            first = images.first if images else 0
            with _open(source, images) as reader:
                total, fps = reader.num_frames - first, reader.fps
            _open(copy, images).close()
            for _ in range(clips):
                size = clip_size(num_frames, stride, fps)
                start = random_start(total, size, generator)
                indices = [first + i for i in frame_indices(start, size, num_frames, total)]
                for path, spent in zip((source, copy), times, strict=True):
                    began = time.process_time()
                    with _open(path, images) as reader:
                        reader.read(indices, short_side)
                    spent.append(1000 * (time.process_time() - began))
        except VideoError:
            continue  # a source may be damaged at places its copy has not met yet
        before.append(float(np.median(times[0])))
        after.append(float(np.median(times[1])))
    return Gain(before, after)


def _open(path: str, images: FrameFolder | None) -> VideoReader:
    """A video, or a folder of these images, as training opens it: without listing it."""
    if images is None:
        return open_video(path)
    pattern = os.path.join(path, images.pattern)
    return FrameFolderReader(pattern, first=images.first, last=images.last)
