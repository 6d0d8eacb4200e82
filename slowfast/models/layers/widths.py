"""Channel and block counts of scaled networks."""

from __future__ import annotations

import math


def round_width(width: int, multiplier: float, *, minimum: int = 1, divisor: int = 1) -> int:
    """``width * multiplier``, rounded to a multiple of ``divisor`` without losing over 10 %.

    >>> round_width(54, 0.0625, minimum=8, divisor=8)
    8
    >>> round_width(432, 0.0625, minimum=8, divisor=8)  # 27 -> 24 loses too much
    32
    """
    if not multiplier:
        return width
    exact = width * multiplier
    rounded = max(minimum, int(exact + divisor / 2) // divisor * divisor)
    if rounded < 0.9 * exact:
        rounded += divisor
    return rounded


def round_depth(blocks: int, multiplier: float) -> int:
    """``blocks * multiplier``, rounded up."""
    return math.ceil(blocks * multiplier) if multiplier else blocks
