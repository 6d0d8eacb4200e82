"""Rotating clips: together with cutting and resizing, so that pixels are interpolated once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor
from torch.nn import functional

from slowfast.datasets.augment import draw
from slowfast.datasets.augment.ops import FILL
from slowfast.datasets.augment.spatial import Box

if TYPE_CHECKING:
    from yacs.config import CfgNode


@dataclass(frozen=True)
class Rotation:
    """Rotates some clips about the middle of their frames.

    Attributes:
        probability: of a clip to be rotated.
        degrees: largest angle to either side.
    """

    probability: float
    degrees: float = 10.0

    def draw(self, generator: Generator) -> float:
        """The angle of one clip, degrees anticlockwise; 0 for none."""
        if not draw.chance(generator, self.probability):
            return 0.0
        return draw.uniform(generator, -self.degrees, self.degrees)


def rotated_crop(frames: Tensor, box: Box, degrees: float, size: tuple[int, int]) -> Tensor:
    """A region of the rotated frames, in another size, bilinear, still uint8.

    Rotating before cutting keeps the region filled where the frames reach far enough; elsewhere it
    is grey.

    Args:
        frames: uint8 ``(T, H, W, C)``, about as large as the region needs: nothing is smoothed.
        box: region, in their pixels.
        degrees: anticlockwise, about their middle.
        size: (H, W) of the result.

    Returns:
        uint8 ``(T, *size, C)``.
    """
    height, width = frames.shape[1:3]
    rows = torch.arange(size[0]).add(0.5).mul(box.height / size[0]).add(box.top - height / 2)
    columns = torch.arange(size[1]).add(0.5).mul(box.width / size[1]).add(box.left - width / 2)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    y, x = sin * x + cos * y + height / 2, cos * x - sin * y + width / 2  # where to look, in pixels
    top, bottom = _span(y, height)
    left, right = _span(x, width)
    pixels = frames[:, top:bottom, left:right].permute(0, 3, 1, 2).to(torch.float32) - FILL[0]
    grid = [(x - left) * 2 / (right - left) - 1, (y - top) * 2 / (bottom - top) - 1]
    turned = functional.grid_sample(
        pixels,
        torch.stack(grid, -1).expand(len(frames), -1, -1, -1),
        mode="bilinear",
        align_corners=False,
    )
    levels = turned.add_(FILL[0]).round_().clamp_(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1)


def _span(positions: Tensor, length: int) -> tuple[int, int]:
    """First pixel that is looked at, and the one after the last: only these are converted."""
    low, high = math.floor(float(positions.min())) - 1, math.ceil(float(positions.max())) + 1
    first = min(max(low, 0), length - 1)
    return first, max(min(high, length), first + 1)


def build_rotation(cfg: CfgNode) -> Rotation | None:
    """From ``AUG.ROTATE_PROB`` (0: ``None``) and ``AUG.ROTATE_DEGREES``."""
    if not cfg.AUG.ROTATE_PROB:
        return None
    return Rotation(cfg.AUG.ROTATE_PROB, cfg.AUG.ROTATE_DEGREES)
