"""Pixel operations on a uint8 clip, by name: a table over torchvision."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from slowfast.utils import vision

FILL = [128.0, 128.0, 128.0]  # grey where a warp finds no pixel, as timm and PySlowFast
SOLARIZE_ADD_BELOW = 128


class ClipOp(NamedTuple):
    """One operation, drawn once and applied to every frame of a clip.

    Attributes:
        name: a key of ``OPS``.
        value: its strength, in the unit the table gives.
    """

    name: str
    value: float


def _to_mean_level(frames: Tensor, level: float) -> Tensor:
    red, green, blue = frames.float().mean(dim=(0, 2, 3)).tolist()
    shift = round(level - (0.299 * red + 0.587 * green + 0.114 * blue))
    return (frames.to(torch.int16) + shift).clamp_(0, 255).to(torch.uint8)


def _solarize_add(frames: Tensor, amount: int) -> Tensor:
    brighter = (frames.to(torch.int16) + amount).clamp_(0, 255).to(torch.uint8)
    return torch.where(frames < SOLARIZE_ADD_BELOW, brighter, frames)


def _solarize(f: ModuleType, frames: Tensor, level: float) -> Tensor:
    # 256 inverts nothing: right, but torchvision refuses it.
    return frames if level > 255 else f.solarize(frames, threshold=level)


def _shear(f: ModuleType, frames: Tensor, x: float, y: float) -> Tensor:
    # About the top left corner, as PIL's affine transform does it.
    degrees = [math.degrees(math.atan(x)), math.degrees(math.atan(y))]
    return _affine(f, frames, shear=degrees, center=[0.0, 0.0])


def _translate(f: ModuleType, frames: Tensor, x: float, y: float) -> Tensor:
    height, width = frames.shape[-2:]
    return _affine(f, frames, translate=[x * width, y * height])


def _affine(f: ModuleType, frames: Tensor, **change: list[float]) -> Tensor:
    still = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}
    return f.affine(frames, **{**still, **change}, interpolation=_bilinear(f), fill=FILL)


def _bilinear(f: ModuleType) -> object:
    # torchvision warps tensors by nearest or bilinear only: AUG.INTERPOLATION's bicubic, and
    # random (of the two), are bilinear here.
    return f.InterpolationMode.BILINEAR


# What the value is: nothing (ignored); bits kept; a grey level; levels added; a factor, of which 1
# changes nothing; a share of the colour circle; degrees anticlockwise; a tangent; a share of the
# width or height.
OPS: dict[str, Callable[[ModuleType, Tensor, float], Tensor]] = {
    "autocontrast": lambda f, frames, _: f.autocontrast(frames),
    "equalize": lambda f, frames, _: f.equalize(frames),
    "invert": lambda f, frames, _: f.invert(frames),
    "grayscale": lambda f, frames, _: f.rgb_to_grayscale(frames, num_output_channels=3),
    "posterize": lambda f, frames, bits: f.posterize(frames, bits=int(bits)),
    "solarize": lambda f, frames, level: _solarize(f, frames, level),
    "solarize_add": lambda _, frames, levels: _solarize_add(frames, int(levels)),
    "mean_level": lambda _, frames, level: _to_mean_level(frames, level),
    "brightness": lambda f, frames, factor: f.adjust_brightness(frames, factor),
    "contrast": lambda f, frames, factor: f.adjust_contrast(frames, factor),
    "saturation": lambda f, frames, factor: f.adjust_saturation(frames, factor),
    "sharpness": lambda f, frames, factor: f.adjust_sharpness(frames, factor),
    "hue": lambda f, frames, turns: f.adjust_hue(frames, turns),
    "rotate": lambda f, frames, degrees: f.rotate(
        frames, degrees, interpolation=_bilinear(f), fill=FILL
    ),
    "shear_x": lambda f, frames, tangent: _shear(f, frames, tangent, 0.0),
    "shear_y": lambda f, frames, tangent: _shear(f, frames, 0.0, tangent),
    "translate_x": lambda f, frames, share: _translate(f, frames, share, 0.0),
    "translate_y": lambda f, frames, share: _translate(f, frames, 0.0, share),
}


def apply_ops(frames: Tensor, ops: Sequence[ClipOp]) -> Tensor:
    """The clip after every operation, in order.

    Args:
        frames: uint8 ``(T, C, H, W)``, RGB.
        ops: what to do; nothing is drawn here, so all frames are treated alike.
    """
    if not ops:
        return frames
    f = vision.functional()
    for name, value in ops:
        frames = OPS[name](f, frames, value)
    return frames
