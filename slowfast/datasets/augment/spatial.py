"""Sizes and boxes of crops: integers in, integers out, and the one resize."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Generator, Tensor
from torch.nn import functional

from slowfast.datasets.augment import draw

ATTEMPTS = 10
EVEN, ODD = (0, 2, 4), (1, 3)
PLACES = [(row, column) for places in (EVEN, ODD) for row in places for column in places]
"""Offsets of multi-scale crops, in quarters of the room there is: rows, columns."""


class Box(NamedTuple):
    """A rectangle of pixels.

    Attributes:
        top, left: first row and column.
        height, width: in pixels.
    """

    top: int
    left: int
    height: int
    width: int

    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, for indexing."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def scaled(self, source: tuple[int, int], target: tuple[int, int]) -> Box:
        """The same region when frames of size ``source`` (H, W) come in size ``target``."""
        if source == target:
            return self
        top, height = _scale_span(self.top, self.height, source[0], target[0])
        left, width = _scale_span(self.left, self.width, source[1], target[1])
        return Box(top, left, height, width)


def _scale_span(start: int, length: int, source: int, target: int) -> tuple[int, int]:
    size = min(max(round(length * target / source), 1), target)
    return min(round(start * target / source), target - size), size


def scaled_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Height and width after the short one is made ``short_side``; the long one rounds down."""
    if width <= height:
        return height * short_side // width, short_side
    return short_side, width * short_side // height


def draw_short_side(generator: Generator, scales: tuple[int, int], *, inverse: bool) -> int:
    """A short side in pixels: uniform in ``scales``, or of uniform inverse.

    The inverse is Simonyan and Zisserman's, https://arxiv.org/abs/1409.1556, as PySlowFast has it.
    """
    low, high = scales
    if inverse:
        return round(1.0 / draw.uniform(generator, 1.0 / high, 1.0 / low))
    return round(draw.uniform(generator, low, high))


def draw_crop(generator: Generator, size: tuple[int, int], crop: int) -> Box:
    """A square box at any place inside frames of ``size`` (H, W).

    Every offset ``0..L - crop`` is equally likely; PySlowFast never draws the last one.
    """
    top = draw.integer(generator, 0, size[0] - crop)
    return Box(top, draw.integer(generator, 0, size[1] - crop), crop, crop)


def spaced_crops(size: tuple[int, int], crop: int, count: int) -> tuple[Box, ...]:
    """``count`` square boxes along the longer side, from its start to its end.

    A single one is centred. The centre offset is ``ceil((L - crop) / 2)``.
    """
    height, width = size
    centre_top, centre_left = -(-(height - crop) // 2), -(-(width - crop) // 2)
    if count == 1:
        return (Box(centre_top, centre_left, crop, crop),)
    room = max(height, width) - crop
    starts = [-(-room * i // (count - 1)) for i in range(count)]  # rounded up
    if height > width:
        return tuple(Box(start, centre_left, crop, crop) for start in starts)
    return tuple(Box(centre_top, start, crop, crop) for start in starts)


def draw_resized_crop(
    generator: Generator,
    size: tuple[int, int],
    scale: tuple[float, float],
    aspect: tuple[float, float],
) -> Box:
    """A box of random area and aspect, to be resized to the crop.

    Szegedy et al. 2015, https://arxiv.org/abs/1409.4842; ten tries, then the largest centred box
    of an allowed aspect.

    Args:
        generator: draws it.
        size: of the frames, (H, W).
        scale: smallest and largest share of the frame's area.
        aspect: smallest and largest width / height, log-uniform.
    """
    height, width = size
    for _ in range(ATTEMPTS):
        area = height * width * draw.uniform(generator, *scale)
        ratio = draw.log_uniform(generator, *aspect)
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top = draw.integer(generator, 0, height - h)
            return Box(top, draw.integer(generator, 0, width - w), h, w)
    ratio = min(max(width / height, aspect[0]), aspect[1])
    w, h = min(width, round(height * ratio)), min(height, round(width / ratio))
    return Box((height - h) // 2, (width - w) // 2, h, w)


def draw_multi_scale_crop(
    generator: Generator, size: tuple[int, int], scales: Sequence[float]
) -> Box:
    """A box with sides of two neighbouring scales, at one of 13 places, to be resized to the crop.

    Wang et al. 2016, Temporal Segment Networks, https://arxiv.org/abs/1608.00859, section 3.3, with
    the places of their program: corners, middles of the sides and of the quarters, centre.

    Args:
        generator: draws it.
        size: of the frames, (H, W).
        scales: sides over the short side of the frames, in order; height and width are of the
            same or of adjacent ones.
    """
    pairs = [(a, b) for i, a in enumerate(scales) for j, b in enumerate(scales) if abs(i - j) <= 1]
    shares = pairs[draw.integer(generator, 0, len(pairs) - 1)]
    height, width = (max(round(min(size) * share), 1) for share in shares)
    row, column = PLACES[draw.integer(generator, 0, len(PLACES) - 1)]
    top, left = round((size[0] - height) * row / 4), round((size[1] - width) * column / 4)
    return Box(top, left, height, width)


def sufficient_short_side(size: tuple[int, int], boxes: Sequence[Box], crop: int) -> int | None:
    """The least short side to decode at without enlarging any box more than from full size.

    ``None`` when only the full size will do.
    """
    scale = max(crop / min(box.height, box.width) for box in boxes)
    if scale >= 1.0:
        return None
    return math.ceil(min(size) * scale)


def resize(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Frames ``(T, H, W, C)`` in another size, bilinear, still uint8.

    With antialiasing, as the decoder's own scaler does; PySlowFast has none, and differs by it
    where frames are made much smaller.
    """
    if tuple(frames.shape[1:3]) == size:
        return frames
    resized = functional.interpolate(
        frames.permute(0, 3, 1, 2), size=size, mode="bilinear", antialias=True
    )
    return resized.permute(0, 2, 3, 1)
