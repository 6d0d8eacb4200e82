"""Spatial transforms of decoded clips: draw a plan once, decode to suit it, apply it to pixels.

Example:
    >>> import numpy as np, torch
    >>> transform = TrainTransform(crop_size=112, jitter_scales=(128, 160))
    >>> plan = transform.plan(240, 320, torch.Generator().manual_seed(0))
    >>> frames = np.zeros((8, 240, 320, 3), np.uint8)  # or decoded at plan.short_side
    >>> tuple(transform.apply(frames, plan).shape)
    (3, 8, 112, 112)
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from slowfast.datasets.augment import draw
from slowfast.datasets.augment.color import ColorJitter
from slowfast.datasets.augment.crossnorm import CrossNorm, apply_style, build_cross_norm
from slowfast.datasets.augment.ops import apply_ops
from slowfast.datasets.augment.photometric import Photometric, build_photometric
from slowfast.datasets.augment.plan import Frames, SpatialPlan, cut, plan_region, plan_whole
from slowfast.datasets.augment.randaugment import RandAugment
from slowfast.datasets.augment.rotation import Rotation, build_rotation
from slowfast.datasets.augment.spatial import (
    draw_crop,
    draw_multi_scale_crop,
    draw_resized_crop,
    draw_short_side,
    scaled_size,
    spaced_crops,
    sufficient_short_side,
)
from slowfast.datasets.decode import Region

if TYPE_CHECKING:
    from yacs.config import CfgNode


class TrainTransform:
    """Random crop, flip and colours, each drawn once per clip.

    Two ways to crop, as in PySlowFast: scale the short side to a random length, then cut a square;
    or, with ``relative_scales``, cut a region of random area and aspect, and resize it. RandAugment
    follows the crop (PySlowFast: before it, on frames up to twice as large).

    Args:
        crop_size: height and width of the result, in pixels.
        jitter_scales: smallest and largest short side, in pixels.
        inverse_uniform: draw the inverse of the short side evenly.
        relative_scales: smallest and largest share of the frame's area.
        relative_aspect: smallest and largest width / height.
        motion_shift: with ``relative_scales``, move from one drawn region to another in the clip.
        flip: mirror half of the clips.
        color: colour jitter, before RandAugment.
        rand_augment: RandAugment.
        cross_norm: CrossNorm; where it is drawn, colours are left alone otherwise.
        resize: (H, W) that whole frames are brought to, whatever their shape, instead of cropping.
        multi_scale: shares of the short side for crops of few sizes and places, instead of those.
        rotation: before the crop.
        photometric: before the colour jitter; not where CrossNorm is drawn.
    """

    def __init__(
        self,
        *,
        crop_size: int,
        jitter_scales: tuple[int, int] = (256, 320),
        inverse_uniform: bool = False,
        relative_scales: tuple[float, float] | None = None,
        relative_aspect: tuple[float, float] = (3 / 4, 4 / 3),
        motion_shift: bool = False,
        flip: bool = True,
        color: ColorJitter | None = None,
        rand_augment: RandAugment | None = None,
        cross_norm: CrossNorm | None = None,
        resize: tuple[int, int] | None = None,
        multi_scale: Sequence[float] = (),
        rotation: Rotation | None = None,
        photometric: Photometric | None = None,
    ) -> None:
        self.crop_size = crop_size
        self.resize = resize
        self.multi_scale = tuple(multi_scale)
        self.rotation = rotation
        self.photometric = photometric
        self.jitter_scales = jitter_scales
        self.inverse_uniform = inverse_uniform
        self.relative_scales = relative_scales
        self.relative_aspect = relative_aspect
        self.motion_shift = motion_shift
        self.flip = flip
        self.color = color
        self.rand_augment = rand_augment
        self.cross_norm = cross_norm

    def plan(self, height: int, width: int, generator: Generator) -> SpatialPlan:
        """Draws the augmentation of one clip.

        Args:
            height, width: of the source frames, in pixels, as they are shown (rotated).
            generator: the only source of randomness.
        """
        if self.resize is not None:
            plan = plan_whole((height, width), self.resize)
        elif self.multi_scale:
            box = draw_multi_scale_crop(generator, (height, width), self.multi_scale)
            plan = plan_region((height, width), box, self.crop_size)
        elif self.relative_scales is None:
            short = draw_short_side(generator, self.jitter_scales, inverse=self.inverse_uniform)
            short = max(short, self.crop_size)  # the crop must fit
            size = scaled_size(height, width, short)
            plan = SpatialPlan(short, size, (draw_crop(generator, size, self.crop_size),))
        else:
            plan = self._plan_resized_crop((height, width), self.relative_scales, generator)
        if self.rotation is not None:
            plan = replace(plan, rotate=self.rotation.draw(generator))
        flip = self.flip and draw.chance(generator, 0.5)
        style = self.cross_norm.draw(generator) if self.cross_norm else None
        if style is not None:
            return replace(plan, flip=flip, style=style)
        ops = self.photometric.draw(generator) if self.photometric else ()
        ops += self.color.draw(generator) if self.color else ()
        ops += self.rand_augment.draw(generator) if self.rand_augment else ()
        return replace(plan, flip=flip, ops=ops)

    def _plan_resized_crop(
        self, size: tuple[int, int], scales: tuple[float, float], generator: Generator
    ) -> SpatialPlan:
        count = 2 if self.motion_shift else 1
        boxes = [
            draw_resized_crop(generator, size, scales, self.relative_aspect) for _ in range(count)
        ]
        short = sufficient_short_side(size, boxes, self.crop_size)
        last = boxes[1] if self.motion_shift else None
        return SpatialPlan(short, size, (boxes[0],), resize_frames=False, last_box=last)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the result."""
        return self.resize or (self.crop_size, self.crop_size)

    def sized(self, size: tuple[int, int]) -> TrainTransform:
        """The same transform for clips of another size (H, W); follows plans of this one."""
        other = copy.copy(self)
        other.resize = size
        return other

    def region(self, plan: SpatialPlan, height: int, width: int) -> Region | None:
        """The part of frames of this size that ``plan`` shows, where it is one rectangle."""
        if plan.rotate or plan.last_box is not None:
            return None
        return Region(*plan.boxes[0].scaled(plan.frame_size, (height, width)), self.size)

    def apply(self, frames: Frames, plan: SpatialPlan) -> Tensor:
        """The augmented clip, uint8 ``(C, T, H, W)``, stored as ``(T, H, W, C)``.

        Args:
            frames: uint8 ``(T, H, W, 3)``, RGB, at ``plan.short_side`` or any other size.
            plan: what :meth:`plan` drew for this clip.
        """
        clip = cut(frames, plan, self.size)[0]  # (T, H, W, C)
        if plan.style is not None:
            clip = torch.from_numpy(apply_style(clip.numpy(), plan.style))
        if plan.ops:
            altered = apply_ops(clip.permute(0, 3, 1, 2), plan.ops)
            clip = altered.permute(0, 2, 3, 1).contiguous()
        return clip.permute(3, 0, 1, 2)


class EvalTransform:
    """Fixed crops: the centre, or several from one end of the long side to the other.

    Args:
        crop_size: height and width of a crop, in pixels.
        short_side: length the short side is scaled to, in pixels; at least ``crop_size``.
        num_crops: 1 centre; 3 left, centre, right (top, centre, bottom of a portrait video).
        resize: (H, W) that whole frames are brought to instead of cropping.
    """

    def __init__(
        self,
        *,
        crop_size: int,
        short_side: int,
        num_crops: int = 1,
        resize: tuple[int, int] | None = None,
    ) -> None:
        if num_crops < 1:
            raise ValueError(
                f"TEST.NUM_SPATIAL_CROPS is {num_crops}; use 1 (centre) or 3 (ends and centre)"
            )
        if resize is not None and num_crops > 1:
            raise ValueError(
                f"TEST.NUM_SPATIAL_CROPS is {num_crops}, but DATA.RESIZE takes whole frames: set 1"
            )
        self.resize = resize
        self.crop_size = crop_size
        self.short_side = max(short_side, crop_size)
        self.num_crops = num_crops

    def plan(self, height: int, width: int, generator: Generator | None = None) -> SpatialPlan:
        """The crops of a video of this size; nothing is drawn."""
        if self.resize is not None:
            return plan_whole((height, width), self.resize)
        size = scaled_size(height, width, self.short_side)
        return SpatialPlan(
            self.short_side, size, spaced_crops(size, self.crop_size, self.num_crops)
        )

    def apply(self, frames: Frames, plan: SpatialPlan) -> Tensor:
        """The crops, uint8 ``(S, C, T, H, W)``, stored as ``(S, T, H, W, C)``."""
        return cut(frames, plan, self.resize or self.crop_size).permute(0, 4, 1, 2, 3)


def build_train_transform(cfg: CfgNode) -> TrainTransform:
    """The training transform of ``DATA.*`` and, when ``AUG.ENABLE``, ``AUG.*``.

    With ``AUG.ENABLE``: RandAugment by ``AUG.AA_TYPE``; if that is empty, colour jitter of strength
    ``AUG.COLOR_JITTER`` instead, as in timm. ``DATA.COLOR_RND_GRAYSCALE`` counts in any case.

    Raises:
        ValueError: a setting that cannot be honoured, by its key.
    """
    data, aug = cfg.DATA, cfg.AUG
    if aug.NUM_SAMPLE != 1:
        raise ValueError(
            f"AUG.NUM_SAMPLE is {aug.NUM_SAMPLE}: several augmented clips per decoded video are "
            "not built; set it to 1"
        )
    scales, aspect = data.TRAIN_JITTER_SCALES_RELATIVE, data.TRAIN_JITTER_ASPECT_RELATIVE
    if bool(scales) != bool(aspect):
        raise ValueError(
            "DATA.TRAIN_JITTER_SCALES_RELATIVE and DATA.TRAIN_JITTER_ASPECT_RELATIVE go together: "
            "set both, e.g. [0.08, 1.0] and [0.75, 1.3333], or neither"
        )
    if data.TRAIN_JITTER_MOTION_SHIFT and not scales:
        raise ValueError(
            "DATA.TRAIN_JITTER_MOTION_SHIFT moves the region of a random resized crop: set "
            "DATA.TRAIN_JITTER_SCALES_RELATIVE and DATA.TRAIN_JITTER_ASPECT_RELATIVE too"
        )
    return TrainTransform(
        crop_size=data.TRAIN_CROP_SIZE,
        jitter_scales=tuple(data.TRAIN_JITTER_SCALES),
        inverse_uniform=data.INV_UNIFORM_SAMPLE,
        relative_scales=tuple(scales) or None,
        relative_aspect=tuple(aspect) or (3 / 4, 4 / 3),
        motion_shift=data.TRAIN_JITTER_MOTION_SHIFT,
        flip=data.RANDOM_FLIP,
        color=build_color_jitter(cfg),
        rand_augment=RandAugment.parse(aug.AA_TYPE) if aug.ENABLE and aug.AA_TYPE else None,
        cross_norm=build_cross_norm(cfg),
        multi_scale=data.MULTI_SCALE_CROP,
        rotation=build_rotation(cfg),
        photometric=build_photometric(cfg),
        resize=tuple(data.RESIZE) or None,
    )


def build_color_jitter(cfg: CfgNode) -> ColorJitter | None:
    """Colour jitter and greyscale of a training clip, or ``None`` when nothing is set."""
    strength = cfg.AUG.COLOR_JITTER if cfg.AUG.ENABLE and not cfg.AUG.AA_TYPE else 0.0
    grayscale = cfg.DATA.COLOR_RND_GRAYSCALE
    if not strength and not grayscale:
        return None
    return ColorJitter(strength, strength, strength, grayscale=grayscale)


def build_eval_transform(cfg: CfgNode, split: str) -> EvalTransform:
    """The fixed crops of ``val`` or ``test``.

    ``val``: short side ``DATA.TRAIN_JITTER_SCALES[0]``, one centre crop of
    ``DATA.TRAIN_CROP_SIZE`` (PySlowFast validates on random crops). ``test``, as PySlowFast: one
    crop from short side ``DATA.TRAIN_JITTER_SCALES[0]``, several from ``DATA.TEST_CROP_SIZE``.
    ``DATA.RESIZE`` takes the place of all this.
    """
    short_side = cfg.DATA.TRAIN_JITTER_SCALES[0]
    whole = tuple(cfg.DATA.RESIZE) or None
    if split == "val":
        crop_size = cfg.DATA.TRAIN_CROP_SIZE
        return EvalTransform(crop_size=crop_size, short_side=short_side, resize=whole)
    if split != "test":
        raise ValueError(f"no evaluation transform for split {split!r}; one of 'val', 'test'")
    crop_size, num_crops = cfg.DATA.TEST_CROP_SIZE, cfg.TEST.NUM_SPATIAL_CROPS
    return EvalTransform(
        crop_size=crop_size,
        short_side=short_side if num_crops == 1 else crop_size,
        num_crops=num_crops,
        resize=whole,
    )
