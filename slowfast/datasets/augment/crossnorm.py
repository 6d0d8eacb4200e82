"""CrossNorm: a clip gets the colour statistics of another one.

Tang et al., "CrossNorm and SelfNorm for Generalization under Distribution Shifts", ICCV 2021,
https://arxiv.org/abs/2102.02811; on input pixels, with statistics from a list, as in OpenVINO
Training Extensions' action recognition.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Generator

from slowfast.datasets.annotations import AnnotationError, read_lines
from slowfast.datasets.augment import draw

if TYPE_CHECKING:
    from yacs.config import CfgNode

FILE_NAME = "mean_std_list.txt"
FLAT = 1e-3  # standard deviation up to which a channel cannot be rescaled
LEAST = 1.0  # values of a style up to this are of black or empty clips: not listed
_LEVELS = np.arange(256, dtype=np.float64)
_NUMBER = r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?"
_TRIPLE = ",".join([f"({_NUMBER})"] * 3)
_LINE = re.compile(rf"{_TRIPLE}\s+{_TRIPLE}")

Clip = NDArray[np.uint8]  # (T, H, W, 3)
Triple = tuple[float, float, float]


class Style(NamedTuple):
    """Mean and standard deviation of each channel of a clip, RGB, 0 to 255."""

    mean: Triple
    std: Triple


@dataclass(frozen=True)
class CrossNorm:
    """Gives clips the style of one drawn from a list.

    Attributes:
        styles: at least one.
        probability: of a clip to be changed.
    """

    styles: tuple[Style, ...]
    probability: float = 0.5

    def __post_init__(self) -> None:
        if not self.styles:
            raise ValueError("CrossNorm without styles")
        if not 0 <= self.probability <= 1:
            raise ValueError(f"AUG.CROSSNORM_PROB is {self.probability}, not a probability")

    def draw(self, generator: Generator) -> Style | None:
        """The style of one clip, ``None`` to leave it as it is."""
        if not draw.chance(generator, self.probability):
            return None
        return self.styles[draw.integer(generator, 0, len(self.styles) - 1)]


def apply_style(clip: Clip, style: Style) -> Clip:
    """A copy of a uint8 clip with the given mean and standard deviation per channel.

    Every level of a channel becomes one other level, so this is a table look-up; exact but for the
    rounding and what falls outside 0 to 255.

    Args:
        clip: ``(T, H, W, 3)`` RGB, any layout in memory; a clip with a channel of one level only
            is returned as it is.
        style: see :class:`Style`.
    """
    own = measure_style(clip)
    if min(own.std) <= FLAT:
        return clip
    result = np.empty(clip.shape, np.uint8)
    for channel in range(3):
        scale = style.std[channel] / own.std[channel]
        levels = (_LEVELS - own.mean[channel]) * scale + style.mean[channel]
        table = np.rint(levels).clip(0, 255).astype(np.uint8)
        result[..., channel] = np.take(table, clip[..., channel])
    return result


def measure_style(clip: Clip) -> Style:
    """Mean and standard deviation of each channel over all frames of ``(T, H, W, 3)``."""
    mean, std = [], []
    for channel in range(3):
        counts = np.bincount(clip[..., channel].ravel(), minlength=256)
        average = float(counts @ _LEVELS / counts.sum())
        mean.append(average)
        std.append(float(np.sqrt(counts @ (_LEVELS - average) ** 2 / counts.sum())))
    return Style((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


def is_usable(style: Style) -> bool:
    """Whether a style belongs on a list: no mean or deviation near zero."""
    return min(*style.mean, *style.std) > LEAST


def read_styles(path: str | Path) -> tuple[Style, ...]:
    """The styles of a ``mean_std_list.txt``: a line ``m1,m2,m3 s1,s2,s3`` each, RGB, 0 to 255.

    Raises:
        AnnotationError: no such file, a line of another form, nothing in it.
    """
    path = Path(path)
    if not path.is_file():
        raise AnnotationError(
            f"AUG.CROSSNORM_PROB is set, but there is no {path} (AUG.CROSSNORM_FILE). Make it with "
            "tools/make_mean_std.py"
        )
    styles = []
    for source, line in read_lines(path):
        match = _LINE.fullmatch(line)
        if match is None:
            raise AnnotationError(f"{source}: {line[:80]!r}, expected m1,m2,m3 s1,s2,s3")
        numbers = [float(text) for text in match.groups()]
        if min(numbers) < 0 or max(numbers) > 255:
            raise AnnotationError(f"{source}: {line!r}, expected numbers from 0 to 255")
        styles.append(Style((*numbers[:3],), (*numbers[3:],)))  # type: ignore[arg-type]
    if not styles:
        raise AnnotationError(f"{path}: no lines in this file")
    return tuple(styles)


def write_styles(path: str | Path, styles: Iterable[Style]) -> None:
    """Write a ``mean_std_list.txt``, whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    lines = [f"{_triple(style.mean)} {_triple(style.std)}\n" for style in styles]
    partial.write_text("".join(lines), "utf-8")
    partial.replace(path)


def _triple(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:.3f}" for number in numbers)


def styles_path(file: str, data_dir: str) -> Path:
    """``file``, in ``data_dir`` if relative; ``mean_std_list.txt`` there if empty."""
    return Path(data_dir) / (file or FILE_NAME)


def build_cross_norm(cfg: CfgNode) -> CrossNorm | None:
    """From ``AUG.CROSSNORM_PROB`` (0: ``None``) and ``AUG.CROSSNORM_FILE``."""
    if not cfg.AUG.CROSSNORM_PROB:
        return None
    path = styles_path(cfg.AUG.CROSSNORM_FILE, cfg.DATA.PATH_TO_DATA_DIR)
    return CrossNorm(read_styles(path), cfg.AUG.CROSSNORM_PROB)
