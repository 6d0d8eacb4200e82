"""Photometric distortion: a clip as under another light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Generator

from slowfast.datasets.augment import draw
from slowfast.datasets.augment.ops import ClipOp

if TYPE_CHECKING:
    from yacs.config import CfgNode

Range = tuple[float, float]
PART = 0.5  # probability of each of the four operations


@dataclass(frozen=True)
class Photometric:
    """Brightness, contrast, saturation and hue, each with probability 0.5, alike in all frames.

    Liu et al. 2016, SSD, https://arxiv.org/abs/1512.02325, after Howard 2013,
    https://arxiv.org/abs/1312.5402: contrast comes before or after the colours. Brightness is a
    level that the whole clip is brought to, as in OpenVINO Training Extensions' action recognition.

    Attributes:
        probability: of a clip to be distorted at all.
        brightness: smallest and largest mean grey level, 0 to 255.
        contrast: smallest and largest factor.
        saturation: smallest and largest factor.
        hue: largest turn to either side, degrees of 360.
    """

    probability: float
    brightness: Range = (65.0, 190.0)
    contrast: Range = (0.6, 1.4)
    saturation: Range = (0.7, 1.3)
    hue: float = 18.0

    def draw(self, generator: Generator) -> tuple[ClipOp, ...]:
        """The operations for one clip."""
        if not draw.chance(generator, self.probability):
            return ()
        turn = self.hue / 360
        contrast = self._part("contrast", self.contrast, generator)
        first = draw.chance(generator, 0.5)
        return (
            *self._part("mean_level", self.brightness, generator),
            *(contrast if first else ()),
            *self._part("saturation", self.saturation, generator),
            *self._part("hue", (-turn, turn), generator),
            *(() if first else contrast),
        )

    def _part(self, name: str, limits: Range, generator: Generator) -> tuple[ClipOp, ...]:
        if not draw.chance(generator, PART):
            return ()
        return (ClipOp(name, draw.uniform(generator, *limits)),)


def build_photometric(cfg: CfgNode) -> Photometric | None:
    """From ``AUG.PHOTOMETRIC.*``; ``None`` when it is off.

    CrossNorm is drawn first and takes its share of the clips; of the others so many are distorted
    that they are the share asked for of all.
    """
    keys, left = cfg.AUG.PHOTOMETRIC, 1 - cfg.AUG.CROSSNORM_PROB
    if not keys.PROB:
        return None
    return Photometric(
        min(keys.PROB / left, 1.0),
        tuple(keys.BRIGHTNESS),
        tuple(keys.CONTRAST),
        tuple(keys.SATURATION),
        keys.HUE,
    )
