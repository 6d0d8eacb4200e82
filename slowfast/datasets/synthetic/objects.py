"""Pictures of the 20 objects and of the hand, drawn once and then only moved.

A sprite is an RGBA picture with the object in its middle; its outer rim is transparent so that
it can be turned. Shapes are drawn on a unit square (0 to 1, y down) at four times the
size and averaged, which makes smooth edges.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from slowfast.datasets.synthetic.labels import Look

Points = list[tuple[float, float]]
_OVERSAMPLING = 4
_RIM = 1.42  # sprite side / shape side, so that a turned square still fits


class Pen:
    """Draws on a mask in unit coordinates.

    Args:
        side: pixels of the unit square.
        margin: pixels around it.
    """

    def __init__(self, side: int, margin: int) -> None:
        self.side, self.margin = side, margin
        self.image = Image.new("L", (side + 2 * margin,) * 2, 0)
        self._draw = ImageDraw.Draw(self.image)

    def _at(self, points: Points) -> Points:
        return [(self.margin + x * self.side, self.margin + y * self.side) for x, y in points]

    def polygon(self, points: Points, value: int = 255) -> None:
        """A filled polygon."""
        self._draw.polygon(self._at(points), fill=value)

    def box(self, corners: tuple[float, float, float, float], round_: float = 0.0) -> None:
        """A filled rectangle (x0, y0, x1, y1) with rounded corners."""
        low, high = self._at([corners[:2], corners[2:]])
        self._draw.rounded_rectangle([low, high], round_ * self.side, fill=255)

    def disc(self, x: float, y: float, radius: float, value: int = 255) -> None:
        """A filled disc; ``value=0`` drills a hole."""
        low, high = self._at([(x - radius, y - radius), (x + radius, y + radius)])
        self._draw.ellipse([low, high], fill=value)

    def limb(self, points: Points, width: float, value: int = 255) -> None:
        """A thick line with round ends through the points."""
        self._draw.line(self._at(points), value, max(1, round(width * self.side)), joint="curve")
        for x, y in points:
            self.disc(x, y, width / 2, value)


def _ring(count: int, radius: float, start: float = 0.0) -> Points:
    """Corners of a regular polygon around the middle."""
    angles = [start + 2 * math.pi * k / count for k in range(count)]
    return [(0.5 + radius * math.cos(a), 0.5 + radius * math.sin(a)) for a in angles]


def _bar(pen: Pen) -> None:
    pen.box((0.0, 0.34, 1.0, 0.66), 0.16)
    for x in (0.16, 0.39, 0.62):
        pen.disc(x, 0.5, 0.07, 0)


def _plate(pen: Pen) -> None:
    pen.box((0.06, 0.2, 0.94, 0.8), 0.06)
    for x, y in ((0.2, 0.34), (0.2, 0.66), (0.42, 0.34)):
        pen.disc(x, y, 0.07, 0)
    pen.polygon([(0.68, 0.2), (0.94, 0.2), (0.94, 0.46)], 0)


def _wrench(pen: Pen) -> None:
    pen.box((0.25, 0.4, 0.95, 0.6), 0.08)
    pen.disc(0.2, 0.5, 0.2)
    pen.polygon([(-0.05, 0.4), (0.2, 0.4), (0.2, 0.6), (-0.05, 0.6)], 0)
    pen.disc(0.88, 0.5, 0.14)
    pen.disc(0.88, 0.5, 0.06, 0)


def _screwdriver(pen: Pen) -> None:
    pen.box((0.0, 0.34, 0.46, 0.66), 0.1)
    pen.box((0.44, 0.45, 0.92, 0.55), 0.0)
    pen.polygon([(0.9, 0.42), (1.0, 0.38), (1.0, 0.62), (0.9, 0.58)])


def _bolt(pen: Pen) -> None:
    pen.box((0.3, 0.38, 1.0, 0.62), 0.04)
    for x in (0.55, 0.7, 0.85):
        pen.polygon([(x, 0.36), (x + 0.05, 0.36), (x + 0.01, 0.44), (x - 0.04, 0.44)], 0)
        pen.polygon([(x, 0.64), (x + 0.05, 0.64), (x + 0.01, 0.56), (x - 0.04, 0.56)], 0)
    pen.box((0.04, 0.18, 0.34, 0.82), 0.08)


def _nut(pen: Pen) -> None:
    pen.polygon(_ring(6, 0.46))
    pen.disc(0.5, 0.5, 0.2, 0)
    pen.polygon([(0.5, 0.42), (1.0, 0.36), (1.0, 0.64), (0.5, 0.58)], 0)


def _wheel(pen: Pen) -> None:
    pen.disc(0.5, 0.5, 0.48)
    for start in (0.35, 2.45, 4.55):  # one of three windows is smaller than the others
        size = 0.16 if start > 1 else 0.09
        pen.disc(0.5 + 0.26 * math.cos(start), 0.5 + 0.26 * math.sin(start), size, 0)


def _gear(pen: Pen) -> None:
    pen.disc(0.5, 0.5, 0.38)
    for k in range(7):  # the place of the eighth tooth stays empty
        angle = 2 * math.pi * k / 8
        tip = (0.5 + 0.45 * math.cos(angle), 0.5 + 0.45 * math.sin(angle))
        pen.limb([(0.5, 0.5), tip], 0.14)
    pen.disc(0.5, 0.5, 0.14, 0)


def _bracket(pen: Pen) -> None:
    pen.box((0.08, 0.08, 0.38, 0.94), 0.06)
    pen.box((0.08, 0.64, 0.94, 0.94), 0.06)
    pen.disc(0.23, 0.24, 0.08, 0)
    pen.disc(0.78, 0.79, 0.08, 0)


def _arrow(pen: Pen) -> None:
    pen.box((0.02, 0.38, 0.6, 0.62), 0.03)
    pen.polygon([(0.52, 0.14), (1.0, 0.5), (0.52, 0.86)])


SHAPES: dict[str, Callable[[Pen], None]] = {
    "bar": _bar,
    "plate": _plate,
    "wrench": _wrench,
    "screwdriver": _screwdriver,
    "bolt": _bolt,
    "nut": _nut,
    "wheel": _wheel,
    "gear": _gear,
    "bracket": _bracket,
    "arrow": _arrow,
}


def _texture(name: str, side: int) -> NDArray[np.float32]:
    """Relative brightness ``(side, side)``; "plain", "striped", "dotted" or "checked"."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side * _RIM
    if name == "striped":
        pattern = np.sin(2 * math.pi * (x + 0.5 * y) * 4.5) > 0
    elif name == "dotted":
        pattern = ((x * 6) % 1 - 0.5) ** 2 + ((y * 6) % 1 - 0.5) ** 2 < 0.08
    elif name == "checked":
        pattern = ((x * 5).astype(int) + (y * 5).astype(int)) % 2 == 0
    else:
        pattern = np.zeros((side, side), dtype=bool)
    return np.where(pattern, 0.45, 1.0).astype(np.float32)


def _unit(image: Image.Image) -> NDArray[np.float32]:
    """A mask from 0 to 1."""
    return np.asarray(image).astype(np.float32) / np.float32(255)


def _relief(mask: NDArray[np.float32], blur: NDArray[np.float32]) -> NDArray[np.float32]:
    """Brightness of a bevelled edge lit from the top left, from a mask and its blurred copy."""
    slope_y, slope_x = np.gradient(blur)
    light = (slope_x + slope_y) * 2.2
    return np.asarray(np.clip(1 + light, 0.55, 1.45) * (0.72 + 0.28 * blur) * (mask > 0))


@functools.lru_cache(maxsize=256)
def draw_object(look: Look, side: int) -> NDArray[np.uint8]:
    """The sprite ``(S, S, 4)`` of an object whose shape is ``side`` pixels wide, S = 1.42 side."""
    margin = math.ceil(side * (_RIM - 1) / 2)
    pen = Pen(side * _OVERSAMPLING, margin * _OVERSAMPLING)
    SHAPES[look.shape](pen)
    small = pen.image.reduce(_OVERSAMPLING)
    size = small.width
    mask = _unit(small)
    soft = small.filter(ImageFilter.GaussianBlur(max(0.8, side / 40)))
    blur = _unit(soft)
    shade = _relief(mask, blur) * _texture(look.texture, size)
    rgb = np.asarray(look.colour, dtype=np.float32) * shade[..., None]
    rgba = np.concatenate([rgb, 255 * mask[..., None]], axis=2)
    rgba = np.clip(rgba, 0, 255).astype(np.uint8)
    rgba.setflags(write=False)
    return rgba


@functools.lru_cache(maxsize=4)
def draw_hand(side: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """A hand that reaches in from the right: skin brightness, sleeve brightness, opacity.

    Args:
        side: pixels from the finger tips to the wrist; the arm goes on beyond the picture.

    Returns:
        Three arrays ``(H, W)`` from 0 to 1; the finger tips are at the middle of the left edge.
    """
    scale = side * _OVERSAMPLING
    size = (round(3.5 * scale), round(1.2 * scale))
    canvas = {name: Image.new("L", size, 0) for name in ("skin", "sleeve")}

    def limb(layer: str, points: Points, width: float, value: int) -> None:
        draw = ImageDraw.Draw(canvas[layer])
        ends = [(x * scale, (y + 0.6) * scale) for x, y in points]
        draw.line(ends, value, round(width * scale), joint="curve")
        for x, y in ends:
            radius = width * scale / 2
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=value)

    limb("skin", [(0.75, 0.0), (3.6, 0.0)], 0.40, 205)  # forearm
    limb("skin", [(0.60, 0.0), (0.72, 0.0)], 0.52, 225)  # palm
    fingers = ((-0.20, 0.16), (-0.07, 0.05), (0.06, 0.05), (0.18, 0.12))
    for y, tip in fingers:  # a dark line beneath every finger keeps them apart
        course = [(0.55, y), (0.28, y * 1.1), (tip + 0.03, y * 0.8)]
        limb("skin", course, 0.15, 150)
        limb("skin", course, 0.115, 240)
    limb("skin", [(0.60, 0.22), (0.34, 0.36), (0.16, 0.30)], 0.16, 165)
    limb("skin", [(0.60, 0.22), (0.34, 0.36), (0.16, 0.30)], 0.125, 250)
    limb("sleeve", [(1.25, 0.0), (3.6, 0.0)], 0.52, 235)
    limb("sleeve", [(1.12, -0.2), (1.12, 0.2)], 0.10, 200)
    skin, sleeve = (_unit(image.reduce(_OVERSAMPLING)) for image in canvas.values())
    alpha = np.minimum(np.maximum(skin, sleeve) / np.float32(0.58), np.float32(1))
    return skin, sleeve, alpha
