"""Long videos: which clips play in one, when, and what is seen in between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from slowfast.datasets.synthetic.scene import SceneOptions, render_clip
from slowfast.datasets.synthetic.specs import ClipSpec, SyntheticOptions


@dataclass(frozen=True)
class Segment:
    """One action in a video.

    Attributes:
        spec: what happens.
        first: its first frame, from 0.
        last: its last frame, inclusive.
    """

    spec: ClipSpec
    first: int
    last: int


@dataclass(frozen=True)
class Timeline:
    """What a video shows.

    Attributes:
        split: of all its clips.
        segments: in order, without overlap.
        num_frames: of the whole video.
        scene_seed: of the table top; ``None``: every clip has its own.
    """

    split: str
    segments: tuple[Segment, ...]
    num_frames: int
    scene_seed: int | None = None


@dataclass(frozen=True)
class Video:
    """A timeline and its place on disk.

    Attributes:
        path: file, or folder of images, relative to the dataset's folder.
        name: what annotations call it.
        fps: frames per second.
        timeline: what is in it.
    """

    path: str
    name: str
    fps: Fraction
    timeline: Timeline


def single_clips(specs: Sequence[ClipSpec], num_frames: int) -> list[Timeline]:
    """One video per clip, with nothing before or after it."""
    return [Timeline(s.split, (Segment(s, 0, num_frames - 1),), num_frames) for s in specs]


def arrange(
    specs: Sequence[ClipSpec], options: SyntheticOptions, clips_per_video: int
) -> list[Timeline]:
    """Videos of up to ``clips_per_video`` clips of one split, in the order of ``specs``.

    A clip takes ``options.num_frames`` frames or up to a quarter more. Before, between and after
    clips stand pauses of up to half that number; some clips follow each other without one.

    Args:
        specs: grouped by split.
        options: of the dataset.
        clips_per_video: the last video of a split may have fewer.
    """
    timelines: list[Timeline] = []
    for split, group in groupby(specs, key=lambda spec: spec.split):
        clips = list(group)
        for start in range(0, len(clips), clips_per_video):
            rng = np.random.default_rng((options.seed, 2, len(timelines)))
            timelines.append(_timeline(split, clips[start : start + clips_per_video], rng, options))
    return timelines


def _timeline(
    split: str, specs: Sequence[ClipSpec], rng: np.random.Generator, options: SyntheticOptions
) -> Timeline:
    shortest = options.num_frames
    lengths = rng.integers(shortest, shortest + shortest // 4 + 1, size=len(specs)).tolist()
    pauses = rng.integers(0, shortest // 2 + 1, size=len(specs) + 1).tolist()
    segments, now = [], 0
    for spec, pause, length in zip(specs, pauses, lengths, strict=False):
        first = now + pause
        now = first + length
        segments.append(Segment(spec, first, now - 1))
    seed = int(rng.integers(2**32))
    return Timeline(split, tuple(segments), now + pauses[-1], seed)


def render_timeline(timeline: Timeline, scene: SceneOptions) -> NDArray[np.uint8]:
    """All frames of a video, uint8 RGB ``(T, H, W, 3)``.

    In a pause the picture stands still: on the last frame of the clip before, then on the first
    one of the clip to come.
    """
    frames = np.empty((timeline.num_frames, scene.size, scene.size, 3), np.uint8)
    drawn = 0
    for segment in timeline.segments:
        spec, first, stop = segment.spec, segment.first, segment.last + 1
        own = replace(scene, num_frames=stop - first)
        clip = render_clip(spec.verb, spec.object, own, spec.seed, timeline.scene_seed)
        middle = (drawn + first) // 2 if drawn else 0
        frames[drawn:middle] = frames[drawn - 1]
        frames[middle:first] = clip[0]
        frames[first:stop] = clip
        drawn = stop
    frames[drawn:] = frames[drawn - 1]
    return frames
