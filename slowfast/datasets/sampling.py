"""Which frames make a clip: pure functions of numbers, and the sampler that combines them.

The rules are PySlowFast's (``slowfast/datasets/decoder.py``), with two deviations:

* Validation takes the centre of the video. PySlowFast draws validation clips at random, so that
  its validation figures change from run to run.
* Positions are computed in double precision and those within a millionth below a whole frame
  count as that frame. PySlowFast's single-precision ``linspace`` leaves such cases to chance; the
  indices agree everywhere else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from yacs.config import CfgNode


def clip_size(num_frames: int, stride: float, fps: float, target_fps: float = 30.0) -> float:
    """Length of a clip in frames of a video with ``fps`` frames per second (fractional, >= 1).

    ``target_fps`` 0: the stride counts the video's own frames.

    Example:
        >>> clip_size(32, 2, fps=30), clip_size(8, 8, fps=15), clip_size(16, 5, fps=50)
        (64.0, 32.0, 133.33333333333334)
    """
    return max(num_frames * stride * fps / (target_fps or fps), 1.0)


def latest_start(total: int, size: float) -> float:
    """The last frame a clip can start at without leaving the video; 0 for short videos."""
    return max(total - size, 0.0)


def random_start(total: int, size: float, generator: torch.Generator | None) -> float:
    """A start drawn uniformly from ``[0, latest_start)``, in fractional frames."""
    return float(torch.rand((), generator=generator, dtype=torch.float64)) * latest_start(
        total, size
    )


def weighted_start(
    total: int, size: float, weights: Sequence[float] | NDArray[Any], generator: torch.Generator
) -> int:
    """A whole frame drawn with a probability that grows with what a clip from there would see.

    Args:
        total: frames in the video.
        size: clip length in frames.
        weights: of each frame, at least 0; the probability of a start is proportional to their
            sum over the clip. Where that is 0 for all starts they are equally likely.
        generator: draws it.

    Example:
        >>> weighted_start(5, 2, [0, 0, 0, 0, 1], torch.Generator())
        3
    """
    length = min(max(math.floor(size), 1), total)
    until = np.concatenate([[0.0], np.cumsum(weights, dtype=np.float64)])
    inside = until[length:] - until[: len(until) - length]  # of starts 0 to total - length
    ends = np.cumsum(inside if inside.sum() > 0 else np.ones_like(inside))
    draw = float(torch.rand((), generator=generator, dtype=torch.float64)) * ends[-1]
    return min(int(np.searchsorted(ends, draw, side="right")), total - length)


def centre_start(total: int, size: float) -> float:
    """The start of the clip in the middle."""
    return latest_start(total, size) / 2


def view_starts(total: int, size: float, num_views: int, *, offset: bool = False) -> list[float]:
    """Starts of the temporal views of one test video.

    Args:
        total: frames in the video.
        size: clip length in frames.
        num_views: V.
        offset: reach from the first to the last possible start in whole frames, one view in the
            middle (``DATA.USE_OFFSET_SAMPLING``); otherwise V equal steps from the first start,
            of which the end of the video sees nothing.

    Example:
        >>> view_starts(300, 64, 4)
        [0.0, 59.0, 118.0, 177.0]
        >>> view_starts(300, 64, 4, offset=True)
        [0.0, 78.0, 156.0, 234.0]
    """
    last = latest_start(total, size)
    if not offset:
        return [last * view / num_views for view in range(num_views)]
    if num_views == 1:
        return [float(math.floor(last / 2))]
    return [float(view * math.floor(last / (num_views - 1))) for view in range(num_views)]


def frame_indices(
    start: float,
    size: float,
    num_frames: int,
    total: int,
    *,
    jitter: Sequence[float] = (),
    loop: bool = False,
) -> list[int]:
    """``num_frames`` frame numbers spread evenly over a clip, both ends included.

    The stride is thus ``(size - 1) / (num_frames - 1)``. Positions outside the video are clamped:
    a short video repeats its last frame, or with ``loop`` begins anew.

    Args:
        start: first frame of the clip.
        size: clip length in frames.
        num_frames: T.
        total: frames in the video.
        jitter: share of the stride, from 0 to below 1, that each frame comes later; of T frames.
        loop: fill clips longer than the video by repeating it.

    Example:
        >>> frame_indices(0, 16, 4, total=300), frame_indices(2.5, 16, 4, total=10)
        ([0, 5, 10, 15], [2, 7, 9, 9])
        >>> frame_indices(0, 16, 4, total=7, loop=True)
        [0, 5, 3, 1]
    """
    stride = (size - 1) / max(num_frames - 1, 1)
    positions = (start + i * (size - 1) / max(num_frames - 1, 1) for i in range(num_frames))
    if jitter:
        positions = (p + j * stride for p, j in zip(positions, jitter, strict=True))
    if loop and size > total:
        return [math.floor(round(position, 6)) % total for position in positions]
    return [math.floor(round(min(max(position, 0), total - 1), 6)) for position in positions]


def segment_indices(num_frames: int, total: int, offsets: Sequence[float]) -> list[int]:
    """One frame from each of ``num_frames`` equal parts of a video, whatever its length.

    Wang et al. 2016, Temporal Segment Networks, https://arxiv.org/abs/1608.00859, section 3.1.

    Args:
        num_frames: T, the number of parts.
        total: frames in the video (or in the action).
        offsets: where in each part, from 0 (its start) to below 1; T of them.

    Example:
        >>> segment_indices(4, 100, [0.5] * 4), segment_indices(4, 2, [0.5] * 4)
        ([12, 37, 62, 87], [0, 0, 1, 1])
    """
    length = total / num_frames
    return [min(math.floor((i + o) * length), total - 1) for i, o in enumerate(offsets)]


@dataclass(frozen=True)
class ClipSampler:
    """Chooses the frames of a video's clips.

    Attributes:
        num_frames: T, frames per clip.
        stride: distance of a clip's frames at ``target_fps``.
        target_fps: frames per second the stride refers to; 0: those of each video.
        jitter_fps: training draws the target rate from ``target_fps + [0, jitter_fps)``.
        num_views: clips per video; 0: one at random (training), or one in the centre when no
            generator is given (validation).
        offset: see :func:`view_starts`.
        mode: ``"stride"``, or ``"segment"``: see :func:`segment_indices`. Training draws a frame
            from each part, validation takes the middles, view v of V the places (v + 1/2) / V.
            PySlowFast's MECCANO loader takes the same frames for all of a video's views.
        repeat_frame: T times the middle frame of each clip, so that nothing moves.
        frame_jitter: move each frame of a training clip by a random part of the stride.
        loop: fill clips longer than the video by repeating it, not its last frame.
    """

    num_frames: int
    stride: float
    target_fps: float = 30.0
    jitter_fps: float = 0.0
    num_views: int = 0
    offset: bool = False
    mode: str = "stride"
    repeat_frame: bool = False
    frame_jitter: bool = False
    loop: bool = False

    @classmethod
    def from_cfg(cls, cfg: CfgNode, split: str) -> Self:
        """The sampler of ``split``: ``"train"``, ``"val"`` or ``"test"``."""
        return cls(
            num_frames=cfg.DATA.NUM_FRAMES,
            stride=cfg.DATA.SAMPLING_RATE,
            target_fps=cfg.DATA.TARGET_FPS,
            jitter_fps=cfg.DATA.TRAIN_JITTER_FPS if split == "train" else 0.0,
            num_views=cfg.TEST.NUM_ENSEMBLE_VIEWS if split == "test" else 0,
            offset=cfg.DATA.USE_OFFSET_SAMPLING,
            mode=cfg.DATA.SAMPLING_MODE,
            repeat_frame=cfg.DATA.REPEAT_FRAME,
            frame_jitter=cfg.DATA.FRAME_JITTER and split == "train",
            loop=cfg.DATA.SHORT_VIDEO == "loop",
        )

    def clips(
        self,
        total: int,
        fps: float,
        generator: torch.Generator | None = None,
        weights: NDArray[np.float32] | None = None,
    ) -> list[list[int]]:
        """Frame numbers of every clip, T each.

        Args:
            total: frames in the video (or in the segment of it that counts).
            fps: frames per second of the video.
            generator: of training clips.
            weights: of each frame, in drawing the start of a training clip.
        """
        if self.mode == "segment":
            clips = self._segment_clips(total, generator)
        else:
            clips = self._stride_clips(total, fps, generator, weights)
        if self.repeat_frame:
            clips = [[clip[len(clip) // 2]] * len(clip) for clip in clips]
        return clips

    def _segment_clips(self, total: int, generator: torch.Generator | None) -> list[list[int]]:
        if generator is not None and not self.num_views:
            offsets = torch.rand(self.num_frames, generator=generator, dtype=torch.float64)
            return [segment_indices(self.num_frames, total, offsets.tolist())]
        views = max(self.num_views, 1)
        places = [(view + 0.5) / views for view in range(views)]
        return [segment_indices(self.num_frames, total, [p] * self.num_frames) for p in places]

    def _stride_clips(
        self,
        total: int,
        fps: float,
        generator: torch.Generator | None,
        weights: NDArray[np.float32] | None,
    ) -> list[list[int]]:
        target = self.target_fps or fps
        if generator is not None and self.jitter_fps:
            target += float(torch.rand((), generator=generator)) * self.jitter_fps
        size = clip_size(self.num_frames, self.stride, fps, target)
        if self.num_views:
            starts = view_starts(total, size, self.num_views, offset=self.offset)
        elif generator is None:
            starts = [centre_start(total, size)]
        elif weights is not None and len(weights) == total:
            starts = [weighted_start(total, size, weights, generator)]
        else:
            starts = [random_start(total, size, generator)]
        jitter: list[float] = []
        if generator is not None and self.frame_jitter:
            jitter = torch.rand(self.num_frames, generator=generator, dtype=torch.float64).tolist()
        return [
            frame_indices(start, size, self.num_frames, total, jitter=jitter, loop=self.loop)
            for start in starts
        ]
