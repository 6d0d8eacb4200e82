"""RandAugment by the names timm and PySlowFast give it (``rand-m9-mstd0.5-inc1``).

Cubuk et al. 2020, https://arxiv.org/abs/1909.13719. Strengths and the ``inc`` set follow
``timm/data/auto_augment.py`` (https://github.com/huggingface/pytorch-image-models), which
PySlowFast's configs were tuned with.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Generator

from slowfast.datasets.augment import draw
from slowfast.datasets.augment.ops import ClipOp

MAX_MAGNITUDE = 10.0
OP_PROBABILITY = 0.5
UNIFORM_STD = 100.0  # timm: mstd above this means "uniform between 0 and m"

Strength = Callable[[float, Generator], float]


def _signed(value: float, generator: Generator) -> float:
    return -value if draw.chance(generator, 0.5) else value


def _factor_increasing(m: float, generator: Generator) -> float:
    return max(0.1, 1 + _signed(0.9 * m, generator))


# (name timm gives it, our operation, strength); m is magnitude / 10, in 0..1.
_COMMON: tuple[tuple[str, str, Strength], ...] = (
    ("AutoContrast", "autocontrast", lambda m, g: 0.0),
    ("Equalize", "equalize", lambda m, g: 0.0),
    ("Invert", "invert", lambda m, g: 0.0),
    ("Rotate", "rotate", lambda m, g: _signed(30 * m, g)),  # degrees
    ("SolarizeAdd", "solarize_add", lambda m, g: float(int(110 * m))),  # grey levels
    ("ShearX", "shear_x", lambda m, g: _signed(0.3 * m, g)),  # tangent
    ("ShearY", "shear_y", lambda m, g: _signed(0.3 * m, g)),
    ("TranslateXRel", "translate_x", lambda m, g: _signed(0.45 * m, g)),  # share of the width
    ("TranslateYRel", "translate_y", lambda m, g: _signed(0.45 * m, g)),
)
# Stronger with m. The plain set keeps timm's first version: there m = 10 is *mild* for
# Posterize and Solarize, and factors run from 0.1 (strong) over 1 (none) to 1.9.
_INCREASING: tuple[tuple[str, str, Strength], ...] = (
    ("PosterizeIncreasing", "posterize", lambda m, g: float(4 - int(4 * m))),  # bits kept
    ("SolarizeIncreasing", "solarize", lambda m, g: float(256 - int(256 * m))),  # grey level
    ("ColorIncreasing", "saturation", _factor_increasing),
    ("ContrastIncreasing", "contrast", _factor_increasing),
    ("BrightnessIncreasing", "brightness", _factor_increasing),
    ("SharpnessIncreasing", "sharpness", _factor_increasing),
)
_PLAIN: tuple[tuple[str, str, Strength], ...] = (
    ("Posterize", "posterize", lambda m, g: float(int(4 * m))),
    ("Solarize", "solarize", lambda m, g: float(int(256 * m))),
    ("Color", "saturation", lambda m, g: 0.1 + 1.8 * m),
    ("Contrast", "contrast", lambda m, g: 0.1 + 1.8 * m),
    ("Brightness", "brightness", lambda m, g: 0.1 + 1.8 * m),
    ("Sharpness", "sharpness", lambda m, g: 0.1 + 1.8 * m),
)


@dataclass(frozen=True)
class RandAugment:
    """``num_ops`` operations, each picked evenly and done with probability 0.5.

    Attributes:
        magnitude: 0 to 10.
        num_ops: how many are picked, with replacement.
        magnitude_std: spread of the magnitude, a new one per operation; clamped to 0..10.
            Above 100 it is uniform in ``[0, magnitude]``.
        increasing: the set in which every operation is stronger with the magnitude.
        probability: that a picked operation is done.
    """

    magnitude: float = MAX_MAGNITUDE
    num_ops: int = 2
    magnitude_std: float = 0.0
    increasing: bool = False
    probability: float = OP_PROBABILITY

    def draw(self, generator: Generator) -> tuple[ClipOp, ...]:
        """The operations for one clip."""
        table = _COMMON + (_INCREASING if self.increasing else _PLAIN)
        ops = []
        for _ in range(self.num_ops):
            _, op, strength = table[draw.integer(generator, 0, len(table) - 1)]
            if draw.chance(generator, self.probability):
                ops.append(ClipOp(op, strength(self._magnitude(generator), generator)))
        return tuple(ops)

    def _magnitude(self, generator: Generator) -> float:
        """One magnitude over 10, in 0..1."""
        magnitude = self.magnitude
        if self.magnitude_std > UNIFORM_STD:
            magnitude = draw.uniform(generator, 0.0, magnitude)
        elif self.magnitude_std > 0:
            magnitude = draw.normal(generator, magnitude, self.magnitude_std)
        return min(max(magnitude, 0.0), MAX_MAGNITUDE) / MAX_MAGNITUDE

    @classmethod
    def parse(cls, name: str) -> RandAugment:
        """The policy a string such as ``rand-m9-n2-mstd0.5-inc1`` stands for.

        ``m`` magnitude, ``n`` operations, ``mstd`` spread, ``inc`` 0 or 1, ``p`` probability.

        Raises:
            ValueError: anything else; the message names the part and what can stand there.
        """
        head, *parts = name.split("-")
        if head != "rand":
            raise ValueError(
                f"AUG.AA_TYPE {name!r}: policy {head!r} is not built here; start with 'rand', "
                "e.g. 'rand-m9-mstd0.5-inc1', or set '' for none"
            )
        policy = cls()
        for part in parts:
            policy = replace(policy, **_parse_part(name, part))
        return policy


_PARTS: dict[str, tuple[str, Callable[[str], Any], float, float]] = {
    "m": ("magnitude", float, 0.0, MAX_MAGNITUDE),
    "n": ("num_ops", int, 1, 100),
    "mstd": ("magnitude_std", float, 0.0, float("inf")),
    "inc": ("increasing", int, 0, 1),
    "p": ("probability", float, 0.0, 1.0),
}


def _parse_part(name: str, part: str) -> dict[str, Any]:
    """``"mstd0.5"`` -> ``{"magnitude_std": 0.5}``."""
    match = re.fullmatch(r"([a-z]+)([0-9.]+|inf)", part)
    if match is None or match[1] not in _PARTS:
        raise ValueError(
            f"AUG.AA_TYPE {name!r}: cannot read {part!r}; known parts, each with its number: "
            f"{sorted(_PARTS)}, e.g. 'rand-m9-n2-mstd0.5-inc1'"
        )
    field, kind, low, high = _PARTS[match[1]]
    try:
        value = kind(match[2])
    except ValueError as error:
        raise ValueError(
            f"AUG.AA_TYPE {name!r}: {match[2]!r} in {part!r} is no {kind.__name__}"
        ) from error
    if not low <= value <= high:
        raise ValueError(f"AUG.AA_TYPE {name!r}: {part!r} must be between {low:g} and {high:g}")
    return {field: bool(value) if field == "increasing" else value}
