"""Random erasing of one box through all frames of a clip."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from slowfast.datasets.augment import draw
from slowfast.datasets.augment.spatial import Box

ATTEMPTS = 10
MODES = ("pixel", "rand", "const")


@dataclass(frozen=True)
class RandomErasing:
    """Overwrites boxes of a normalised clip, the same in every frame.

    Zhong et al. 2020, https://arxiv.org/abs/1708.04896; areas and aspects of timm and PySlowFast.
    There, mode ``pixel`` draws new noise for every frame; here it is one frame of noise per clip.

    Attributes:
        probability: of a clip to be erased.
        mode: ``pixel`` one normal number per pixel, ``rand`` one per channel, ``const`` zeros
            (the data's mean).
        count: most boxes per clip, 1 to this many; they share the area between them.
        split: leave the first half of a batch as it is.
        area: smallest and largest share of the frame.
        aspect: smallest and largest height / width, log-uniform.
    """

    probability: float
    mode: str = "pixel"
    count: int = 1
    split: bool = False
    area: tuple[float, float] = (0.02, 1 / 3)
    aspect: tuple[float, float] = (0.3, 1 / 0.3)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"AUG.RE_MODE {self.mode!r} is unknown; one of {MODES}")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"AUG.RE_PROB is {self.probability}, not a probability")
        if self.count < 1:
            raise ValueError(f"AUG.RE_COUNT is {self.count}, must be at least 1")

    def __call__(self, clips: Tensor, generator: Generator) -> Tensor:
        """Erases in place.

        Args:
            clips: float ``(B, C, T, H, W)``, normalised.
            generator: draws boxes and noise, each clip its own.

        Returns:
            ``clips`` itself.
        """
        for clip in clips[len(clips) // 2 if self.split else 0 :]:
            if draw.chance(generator, self.probability):
                count = draw.integer(generator, 1, self.count)
                area = self.area[0] / count, self.area[1] / count
                for _ in range(count):
                    self._erase(clip, area, generator)
        return clips

    def draw_box(
        self, size: tuple[int, int], area: tuple[float, float], generator: Generator
    ) -> Box | None:
        """A box inside frames of ``size`` (H, W); ``None`` if ten tries gave none."""
        height, width = size
        for _ in range(ATTEMPTS):
            pixels = draw.uniform(generator, *area) * height * width
            aspect = draw.log_uniform(generator, *self.aspect)
            h = round(math.sqrt(pixels * aspect))
            w = round(math.sqrt(pixels / aspect))
            if 0 < h < height and 0 < w < width:
                top = draw.integer(generator, 0, height - h)
                return Box(top, draw.integer(generator, 0, width - w), h, w)
        return None

    def _erase(self, clip: Tensor, area: tuple[float, float], generator: Generator) -> None:
        channels, _, height, width = clip.shape  # (C, T, H, W)
        box = self.draw_box((height, width), area, generator)
        if box is None:
            return
        size = {"pixel": (channels, 1, box.height, box.width), "rand": (channels, 1, 1, 1)}
        if self.mode == "const":
            noise = torch.zeros(())
        else:
            noise = torch.randn(size[self.mode], generator=generator, device=generator.device)
        rows, columns = box.slices()
        clip[:, :, rows, columns] = noise.to(clip.device, clip.dtype)
