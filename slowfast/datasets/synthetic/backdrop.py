"""Textured table tops with loose parts lying about."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from slowfast.datasets.synthetic.labels import OBJECTS, Look
from slowfast.datasets.synthetic.objects import SHAPES, draw_object

Field = NDArray[np.float32]


def _smooth(rng: np.random.Generator, side: int, cells: tuple[int, int]) -> Field:
    """Noise of about -1 to 1 with ``cells`` (down, across) bumps, ``(side, side)``."""
    grid = rng.uniform(-1, 1, size=cells).astype(np.float32)
    return np.asarray(Image.fromarray(grid).resize((side, side), Image.Resampling.BICUBIC))


def _wood(rng: np.random.Generator, side: int) -> Field:
    _, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    bend = x * rng.uniform(5, 9) + 0.5 * _smooth(rng, side, (3, 3))
    return np.asarray(0.5 * np.sin(2 * np.pi * bend) + 0.5 * _smooth(rng, side, (4, side // 2)))


def _cloth(rng: np.random.Generator, side: int) -> Field:
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    threads = 2 * np.pi * rng.uniform(14, 22)
    return np.asarray(0.5 * np.sin(threads * x) * np.sin(threads * y) + _smooth(rng, side, (4, 4)))


def _mat(rng: np.random.Generator, side: int) -> Field:
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    cells = rng.uniform(5, 8)
    lines = ((x * cells) % 1 < 0.08) | ((y * cells) % 1 < 0.08)
    return np.asarray(1.2 * lines - 0.3 + 0.4 * _smooth(rng, side, (3, 3)))


def _stone(rng: np.random.Generator, side: int) -> Field:
    octaves = [_smooth(rng, side, (cells, cells)) / k for k, cells in ((1, 4), (2, 12), (1.5, 40))]
    return np.asarray(sum(octaves))


def _tiles(rng: np.random.Generator, side: int) -> Field:
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side
    cells = rng.uniform(3, 6)
    shift = rng.uniform(0, 1, size=2)
    checks = ((x * cells + shift[0]).astype(int) + (y * cells + shift[1]).astype(int)) % 2
    return np.asarray(checks - 0.5 + 0.4 * _smooth(rng, side, (6, 6)))


_STYLES = (_wood, _cloth, _mat, _stone, _tiles)
_COLOURS = (
    (150, 112, 78),
    (104, 118, 132),
    (84, 110, 96),
    (162, 156, 146),
    (134, 120, 150),
    (188, 176, 152),
    (78, 82, 92),
)


def draw_table(rng: np.random.Generator, side: int, difficulty: float) -> NDArray[np.uint8]:
    """A random table top ``(side, side, 3)``; its contrast grows with the difficulty."""
    style = _STYLES[int(rng.integers(len(_STYLES)))]
    colour = np.asarray(_COLOURS[int(rng.integers(len(_COLOURS)))], np.float32)
    colour = colour * rng.uniform(0.8, 1.15) + rng.uniform(-12, 12, size=3).astype(np.float32)
    pattern = style(rng, side) * np.float32(10 + 22 * difficulty)
    falloff = 1 + 0.18 * _smooth(rng, side, (2, 2))  # a lamp on one side
    table = (colour + pattern[..., None]) * falloff[..., None]
    return np.clip(table, 0, 255).astype(np.uint8)


def drop_shadow(alpha: Image.Image, strength: float) -> Image.Image:
    """The blurred and weakened opacity mask of a sprite."""
    soft = alpha.filter(ImageFilter.GaussianBlur(alpha.width / 22))
    return soft.point([round(strength * v) for v in range(256)])


@functools.lru_cache(maxsize=64)
def _part(shape: str, number: int, side: int, colourful: bool) -> Image.Image:
    red, green, blue = tuple(OBJECTS.values())[number].colour
    if not colourful:
        grey = (red + green + blue) / 3
        red, green, blue = (round(0.75 * grey + 0.25 * value) for value in (red, green, blue))
    return Image.fromarray(draw_object(Look(shape, (red, green, blue), "plain"), side))


def draw_part(rng: np.random.Generator, side: int, difficulty: float) -> Image.Image:
    """A distractor, RGBA: the shape of some object, in grey or, when hard, in a real colour."""
    shape = tuple(SHAPES)[int(rng.integers(len(SHAPES)))]
    number = int(rng.integers(len(OBJECTS)))
    return _part(shape, number, side, bool(rng.uniform() < difficulty - 0.4))


def scatter_parts(
    table: Image.Image, rng: np.random.Generator, *, count: int, side: int, difficulty: float
) -> None:
    """Lay ``count`` distractors with shapes ``side`` pixels wide on the table, in place."""
    for _ in range(count):
        turn, x, y = rng.uniform(0, 360), *rng.uniform(0, 1, size=2)
        part = draw_part(rng, side, difficulty)
        part = part.rotate(turn, Image.Resampling.BILINEAR)
        left, top = (round(v * table.width - part.width / 2) for v in (x, y))
        table.paste((0, 0, 0), (left + 1, top + 2), drop_shadow(part.getchannel("A"), 0.4))
        table.paste(part, (left, top), part)
