"""Which layers stay in float: as few as keep the accuracy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fallback:
    """What was left in float.

    Attributes:
        float_layers: by name, most sensitive first.
        drop: points of accuracy lost with these in float.
        tried: number of layers in float and drop, of every attempt.
    """

    float_layers: list[str]
    drop: float
    tried: list[dict[str, float]] = field(default_factory=list)


def find_float_layers(
    rank: Callable[[], Sequence[str]], drop_of: Callable[[Sequence[str]], float], max_drop: float
) -> Fallback:
    """The shortest beginning of the ranking that keeps the accuracy, by bisection.

    Bisection takes for granted that more layers in float do not lose more. Where they do, its
    result still keeps the accuracy, but a shorter one may too.

    Args:
        rank: all layers, most sensitive first; asked for only when it is needed.
        drop_of: layers in float -> points of accuracy lost.
        max_drop: points that may be lost.
    """
    tried: list[dict[str, float]] = []

    def attempt(layers: Sequence[str]) -> float:
        drop = drop_of(layers)
        tried.append({"float_layers": len(layers), "drop": drop})
        logger.info("%d layers in float: %.2f points lost", len(layers), drop)
        return drop

    drop = attempt([])
    if drop <= max_drop:
        return Fallback([], drop, tried)
    ranked = list(rank())
    too_few, enough = 0, len(ranked)
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        found = attempt(ranked[:middle])
        if found <= max_drop:
            enough, drop = middle, found
        else:
            too_few = middle
    if enough == len(ranked):  # not tried; what is no layer may be rounded still
        drop = attempt(ranked)
    return Fallback(ranked[:enough], drop, tried)
