"""What was drawn for a clip, and cutting it out of decoded frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from slowfast.datasets.augment.crossnorm import Style
from slowfast.datasets.augment.ops import ClipOp
from slowfast.datasets.augment.rotation import rotated_crop
from slowfast.datasets.augment.spatial import Box, resize, sufficient_short_side

Frames = np.ndarray | Tensor
# A decoder may round the long side its own way; that much is cropped, not resized again.
ROUNDING = 2


@dataclass(frozen=True)
class SpatialPlan:
    """Everything drawn for one clip. Plain numbers: cheap to send, print and compare.

    Attributes:
        short_side: pixels the decoder may scale the short side to; ``None``: full size. A wish:
            frames of any other size give the same clip up to interpolation.
        frame_size: (H, W) in whose pixels the boxes are given.
        boxes: regions to cut out, one per spatial crop.
        resize_frames: bring whole frames to ``frame_size`` before cutting (short-side jitter);
            otherwise the region is cut from frames as they come and resized (random resized crop).
        last_box: region of the last frame when the crop moves evenly over the clip.
        flip: mirror left and right.
        ops: colour and RandAugment operations, applied to the finished crop.
        style: colour statistics to take on instead (CrossNorm).
        rotate: turn frames about their middle before cutting, degrees anticlockwise.
    """

    short_side: int | None
    frame_size: tuple[int, int]
    boxes: tuple[Box, ...]
    resize_frames: bool = True
    last_box: Box | None = None
    flip: bool = False
    ops: tuple[ClipOp, ...] = ()
    style: Style | None = None
    rotate: float = 0.0

    def within(self, size: tuple[int, int]) -> SpatialPlan:
        """The same plan for frames that are what it would have cut out, ``size`` (H, W)."""
        box = Box(0, 0, *size)
        return replace(self, short_side=None, frame_size=size, boxes=(box,), resize_frames=False)

    def enlarged(self, factor: float) -> SpatialPlan:
        """The same part of the picture in pictures ``factor`` times as high and wide."""
        if not self.resize_frames:  # the boxes are in pixels of the frames as they come
            short = None if self.short_side is None else math.ceil(self.short_side * factor)
            return replace(self, short_side=short)
        height, width = (math.ceil(side * factor) for side in self.frame_size)
        boxes = tuple(Box(*(round(value * factor) for value in box)) for box in self.boxes)
        short = None if self.short_side is None else min(height, width)
        return replace(self, short_side=short, frame_size=(height, width), boxes=boxes)


def plan_whole(size: tuple[int, int], target: tuple[int, int]) -> SpatialPlan:
    """Whole frames of ``size`` (H, W) resized to ``target``; nothing is drawn."""
    scale = max(target[0] / size[0], target[1] / size[1])
    short = math.ceil(min(size) * scale) if scale < 1.0 else None
    return SpatialPlan(short, size, (Box(0, 0, *size),), resize_frames=False)


def plan_region(size: tuple[int, int], box: Box, crop_size: int) -> SpatialPlan:
    """A region of frames of ``size`` (H, W) resized to a square."""
    short = sufficient_short_side(size, [box], crop_size)
    return SpatialPlan(short, size, (box,), resize_frames=False)


def cut(frames: Frames, plan: SpatialPlan, size: int | tuple[int, int]) -> Tensor:
    """Resized, cropped and mirrored frames, ``(S, T, H, W, C)``, contiguous.

    A copy, except of frames that are already what is wanted.

    Args:
        frames: uint8 ``(T, H, W, 3)``.
        plan: what to do.
        size: of the copies, a side or (H, W), in pixels.
    """
    size = (size, size) if isinstance(size, int) else size
    pixels = _as_tensor(frames)
    if plan.resize_frames and not _nearly(pixels.shape[1:3], plan.frame_size):
        pixels = resize(pixels, plan.frame_size)
    if plan.last_box is not None:
        views = [_moving_crop(pixels, plan, plan.last_box, size)]
    else:
        views = [_crop(pixels, box, plan, size) for box in plan.boxes]
    if plan.flip:
        views = [view.flip(2) for view in views]
    if len(views) == 1:
        # By NumPy, in one thread: torch's others would stay awake beside what comes next.
        return torch.from_numpy(np.ascontiguousarray(views[0].numpy()))[None]
    return torch.stack(views)  # the one copy


def _as_tensor(frames: Frames) -> Tensor:
    if isinstance(frames, np.ndarray):
        frames = torch.from_numpy(frames if frames.flags.writeable else frames.copy())
    if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        raise ValueError(
            f"frames must be uint8 (T, H, W, 3), got {frames.dtype} {tuple(frames.shape)}"
        )
    return frames


def _nearly(shape: Sequence[int], size: tuple[int, int]) -> bool:
    """Whether frames have the planned short side, and the long one but for rounding."""
    difference = [abs(have - want) for have, want in zip(shape, size, strict=True)]
    return difference[size.index(min(size))] == 0 and max(difference) <= ROUNDING


def _crop(pixels: Tensor, box: Box, plan: SpatialPlan, size: tuple[int, int]) -> Tensor:
    """One region as ``(T, *size, C)``: a view where no resizing is needed."""
    height, width = pixels.shape[1:3]
    if plan.resize_frames:
        box = Box(min(box.top, height - size[0]), min(box.left, width - size[1]), *size)
    else:
        box = box.scaled(plan.frame_size, (height, width))
    if plan.rotate:
        return rotated_crop(pixels, box, plan.rotate, size)
    rows, columns = box.slices()
    return resize(pixels[:, rows, columns], size)


def _moving_crop(pixels: Tensor, plan: SpatialPlan, last: Box, size: tuple[int, int]) -> Tensor:
    """A region that moves evenly from ``plan.boxes[0]`` to ``last``, frame by frame."""
    start, end = (torch.tensor(box, dtype=torch.float64) for box in (plan.boxes[0], last))
    shares = torch.linspace(0, 1, len(pixels), dtype=torch.float64)
    frames = []
    for frame, share in zip(pixels.unbind(), shares, strict=True):
        box = Box(*torch.lerp(start, end, share).round().int().tolist())
        frames.append(_crop(frame[None], box, plan, size))
    return torch.cat(frames)
