"""Colour jitter, greyscale and blur: what is drawn for a clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator

from slowfast.datasets.augment import draw
from slowfast.datasets.augment.ops import ClipOp

MAX_HUE = 0.5  # half a turn of the colour circle


@dataclass(frozen=True)
class ColorJitter:
    """Brightness, contrast, saturation and hue, in a random order, the same for every frame.

    Factors are uniform in ``[max(0, 1 - x), 1 + x]``; hue moves by ``[-hue, hue]`` turns of the
    colour circle. The order and ranges of ``torchvision.transforms.v2.ColorJitter``, whose own
    draws come from the global generator.

    Attributes:
        brightness, contrast, saturation: at least 0; 0 is off.
        hue: 0 (off) to 0.5.
        grayscale: probability that the clip is turned to grey instead of keeping its colours.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    grayscale: float = 0.0

    def __post_init__(self) -> None:
        for name in ("brightness", "contrast", "saturation"):
            if getattr(self, name) < 0:
                raise ValueError(f"colour jitter: {name} is {getattr(self, name)}, must be >= 0")
        if not 0 <= self.hue <= MAX_HUE:
            raise ValueError(f"colour jitter: hue is {self.hue}, must be between 0 and {MAX_HUE}")
        if not 0 <= self.grayscale <= 1:
            raise ValueError(f"colour jitter: grayscale is {self.grayscale}, not a probability")

    def draw(self, generator: Generator) -> tuple[ClipOp, ...]:
        """The operations for one clip."""
        ops = []
        for name in ("brightness", "contrast", "saturation"):
            strength = getattr(self, name)
            if strength:
                factor = draw.uniform(generator, max(0.0, 1 - strength), 1 + strength)
                ops.append(ClipOp(name, factor))
        if self.hue:
            ops.append(ClipOp("hue", draw.uniform(generator, -self.hue, self.hue)))
        ops = _shuffled(ops, generator)
        if self.grayscale and draw.chance(generator, self.grayscale):
            ops.append(ClipOp("grayscale", 1.0))
        return tuple(ops)


def _shuffled(ops: Sequence[ClipOp], generator: Generator) -> list[ClipOp]:
    order = torch.randperm(len(ops), generator=generator, device=generator.device)
    return [ops[i] for i in order.tolist()]
