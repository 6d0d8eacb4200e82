"""Mixup and CutMix of whole clips, with soft labels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional

from slowfast.datasets.augment import draw
from slowfast.datasets.augment.spatial import Box


@dataclass(frozen=True)
class MixUp:
    """Mixes every clip of a batch with the one at the mirrored place, by one share ``lam``.

    Mixup: Zhang et al. 2018, https://arxiv.org/abs/1710.09412. CutMix: Yun et al. 2019,
    https://arxiv.org/abs/1905.04899. Pairing, shares and smoothing as timm and PySlowFast.

    Attributes:
        num_classes: width of the soft labels, of every task.
        alpha: mixup's share is from Beta(alpha, alpha); 0 switches mixup off.
        cutmix_alpha: the same for CutMix.
        probability: of a batch to be mixed.
        switch_probability: of CutMix instead of mixup when both are on.
        label_smoothing: spread evenly over all classes, also where a batch is not mixed.
    """

    num_classes: int | Mapping[str, int]
    alpha: float = 0.8
    cutmix_alpha: float = 1.0
    probability: float = 1.0
    switch_probability: float = 0.5
    label_smoothing: float = 0.1

    def __post_init__(self) -> None:
        if self.alpha < 0 or self.cutmix_alpha < 0 or self.alpha + self.cutmix_alpha == 0:
            raise ValueError(
                f"MIXUP.ALPHA is {self.alpha} and MIXUP.CUTMIX_ALPHA {self.cutmix_alpha}: neither "
                "may be negative, and one must be above 0 (or set MIXUP.ENABLE False)"
            )
        for key, value in (
            ("PROB", self.probability),
            ("SWITCH_PROB", self.switch_probability),
            ("LABEL_SMOOTH_VALUE", self.label_smoothing),
        ):
            if not 0 <= value <= 1:
                raise ValueError(f"MIXUP.{key} is {value}, must be between 0 and 1")

    def __call__(self, clips: Tensor, labels: Any, generator: Generator) -> tuple[Tensor, Any]:
        """Mixes clips in place.

        Args:
            clips: float ``(B, C, T, H, W)``, before pathways are packed.
            labels: ``(B,)`` class ids, ``(B, num_classes)`` targets, or ``{task: ...}`` of these.
            generator: draws the share and the box.

        Returns:
            ``clips`` and the soft labels ``(B, num_classes)``, of every task.
        """
        lam, box = self.draw(clips.shape[-2], clips.shape[-1], generator)
        return mix_clips(clips, lam, box), self.mix_labels(labels, lam)

    def draw(self, height: int, width: int, generator: Generator) -> tuple[float, Box | None]:
        """Share of a clip itself, and CutMix's box (``None``: mixup, or with share 1 nothing).

        The share of CutMix is what the box, cut off at the border, really leaves.
        """
        if not draw.chance(generator, self.probability):
            return 1.0, None
        cutmix = self.cutmix_alpha > 0
        if cutmix and self.alpha > 0:
            cutmix = draw.chance(generator, self.switch_probability)
        lam = draw.beta(generator, self.cutmix_alpha if cutmix else self.alpha)
        if not cutmix:
            return lam, None
        box = draw_cutmix_box(height, width, lam, generator)
        return 1.0 - box.height * box.width / (height * width), box

    def mix_labels(self, labels: Any, lam: float) -> Any:
        """``lam`` of the soft labels and ``1 - lam`` of those of the mirrored batch."""
        if isinstance(labels, dict):
            sizes = self.num_classes
            if not isinstance(sizes, Mapping) or set(sizes) != set(labels):
                raise ValueError(f"mixup knows classes {sizes!r}, the batch has {sorted(labels)}")
            return {task: self._mix(value, sizes[task], lam) for task, value in labels.items()}
        if isinstance(self.num_classes, Mapping):
            raise ValueError(f"mixup expects labels of {sorted(self.num_classes)}, got one task")
        return self._mix(labels, self.num_classes, lam)

    def _mix(self, labels: Tensor, num_classes: int, lam: float) -> Tensor:
        if labels.ndim == 1:
            labels = soft_labels(labels, num_classes, self.label_smoothing)
        else:
            labels = labels.to(torch.float32)  # several labels per clip: already targets
        return labels * lam + labels.flip(0) * (1.0 - lam)


def mix_clips(clips: Tensor, lam: float, box: Box | None) -> Tensor:
    """Mixes each clip ``(B, C, T, H, W)`` with its opposite in the batch, in place.

    Args:
        clips: float.
        lam: share of a clip itself, where there is no box.
        box: that is exchanged.
    """
    if box is not None:
        rows, columns = box.slices()
        region = clips[..., rows, columns]
        region.copy_(region.flip(0))
    elif lam < 1.0:
        other = clips.flip(0)
        clips.mul_(lam).add_(other, alpha=1.0 - lam)
    return clips


def soft_labels(labels: Tensor, num_classes: int, smoothing: float = 0.0) -> Tensor:
    """``(B,)`` class ids -> ``(B, num_classes)``; ``smoothing`` is spread over all classes."""
    hard = functional.one_hot(labels, num_classes).to(torch.float32)
    return hard * (1.0 - smoothing) + smoothing / num_classes


def draw_cutmix_box(height: int, width: int, lam: float, generator: Generator) -> Box:
    """A box of share ``1 - lam`` around an evenly drawn centre, cut off at the border."""
    side = math.sqrt(1.0 - lam)
    cut_height, cut_width = int(height * side), int(width * side)
    centre_y = draw.integer(generator, 0, height - 1)
    centre_x = draw.integer(generator, 0, width - 1)
    top, bottom = max(centre_y - cut_height // 2, 0), min(centre_y + cut_height // 2, height)
    left, right = max(centre_x - cut_width // 2, 0), min(centre_x + cut_width // 2, width)
    return Box(top, left, bottom - top, right - left)
