"""Renders one clip: a hand moves an object over a table, filmed by a shaky camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from slowfast.datasets.synthetic.backdrop import (
    draw_part,
    draw_table,
    drop_shadow,
    scatter_parts,
)
from slowfast.datasets.synthetic.labels import OBJECTS, Look
from slowfast.datasets.synthetic.motions import Pose, draw_pose
from slowfast.datasets.synthetic.objects import draw_hand, draw_object

Frames = NDArray[np.uint8]
Matrices = NDArray[np.float64]

_OBJECT_SIZE = 0.46  # of the picture's side, at scale 1
_HAND_SIZE = 0.38
_MARGIN = 0.14  # of the table beyond each side of the picture, seen when the camera shakes
_SKIN = ((246, 205, 178), (228, 176, 140), (198, 140, 100), (150, 98, 66), (104, 66, 46))
_MEAN_COLOUR = np.array([128.0, 118.0, 116.0])


@dataclass(frozen=True)
class SceneOptions:
    """What every clip of a dataset shares.

    Attributes:
        num_frames: T.
        size: side of the square picture in pixels.
        difficulty: 0 to 1: noise, number of distractors, share of the object behind the hand,
            camera shake, changes of light and likeness of the colours all grow with it.
        firm_grip: the hand comes from any side and turns with the object, so that rotations are
            as plain to see as pushes. Otherwise it comes from below and slides along the object.
    """

    num_frames: int = 32
    size: int = 112
    difficulty: float = 0.5
    firm_grip: bool = False


def render_clip(
    verb: int, object_: int, options: SceneOptions, seed: int, scene_seed: int | None = None
) -> Frames:
    """The frames of one action.

    Args:
        verb: index into ``VERBS``.
        object_: index into ``OBJECTS``.
        options: size, length and difficulty.
        seed: decides everything else. With equal seeds two verbs show the same scene.
        scene_seed: decides the table top instead, so that the clips of a long video share it.

    Returns:
        uint8 RGB ``(T, H, W, 3)``.
    """
    rng = np.random.default_rng(seed)
    pose = draw_pose(verb, options.num_frames, rng)
    camera = _draw_camera(rng, options)
    look = list(OBJECTS.values())[object_]
    table_rng = rng if scene_seed is None else np.random.default_rng(scene_seed)
    table = _draw_background(table_rng, options)
    layers = [
        _drifting_part(rng, options),
        _object_layer(look, pose, rng, options),
        _hand_layer(pose, rng, options),
    ]
    lights = _draw_lights(rng, options)
    noise = _Noise(rng, options)
    margin = _MARGIN * options.size
    to_table = _inverse(camera @ _shift(-margin, -margin))
    frames = np.empty((options.num_frames, options.size, options.size, 3), np.uint8)
    for t, frame in enumerate(frames):
        picture = _warp(table, to_table[t], (0, 0, options.size, options.size))
        for layer in layers:
            layer.paint(picture, camera[t], t)
        frame[:] = noise(_lit(picture, lights[t]))
    return frames


class _Layer:
    """A sprite that moves: its own course is given per frame, the camera's is applied on top.

    Args:
        sprite: RGBA.
        course: ``(T, 3, 3)`` sprite pixels to picture pixels, before the camera.
        shadow: opacity of the shadow on the table, 0 for none.
        back: what is seen where ``is_back``, e.g. the other side of a flipped object.
        is_back: ``(T,)``.
    """

    def __init__(
        self,
        sprite: Image.Image,
        course: Matrices,
        *,
        shadow: float = 0.0,
        back: Image.Image | None = None,
        is_back: NDArray[np.bool_] | None = None,
    ) -> None:
        self.sides = (sprite, back or sprite)
        self.course, self.is_back = course, is_back
        self.shadow = drop_shadow(sprite.getchannel("A"), shadow) if shadow else None

    def paint(self, picture: Image.Image, camera: Matrices, t: int) -> None:
        """Draw frame ``t`` on the picture, in place."""
        sprite = self.sides[int(self.is_back is not None and self.is_back[t])]
        matrix = camera @ self.course[t]
        if self.shadow is not None:
            offset = 0.025 * picture.width
            _stamp(picture, self.shadow, _shift(offset, 1.4 * offset) @ matrix)
        _stamp(picture, sprite, matrix)


def _stamp(picture: Image.Image, sprite: Image.Image, matrix: Matrices) -> None:
    """Paste a sprite (RGBA, or L for a shadow) where ``matrix`` (3, 3) takes it, in place."""
    width, height = sprite.size
    corners = matrix[:2, :2] @ np.array([[0, width, width, 0], [0, 0, height, height]])
    corners += matrix[:2, 2:]
    low = np.maximum(np.floor(corners.min(axis=1)), 0).astype(int)
    high = np.minimum(np.ceil(corners.max(axis=1)), picture.size).astype(int)
    if (high <= low).any():
        return
    box = (int(low[0]), int(low[1]), int(high[0]), int(high[1]))
    moved = _warp(sprite, _inverse(matrix), box)
    picture.paste((0, 0, 0) if sprite.mode == "L" else moved, box, moved)


def _warp(image: Image.Image, inverse: Matrices, box: tuple[int, int, int, int]) -> Image.Image:
    """The part ``box`` (x0, y0, x1, y1) of the picture that shows ``image``.

    ``inverse`` (3, 3) takes picture coordinates to image coordinates; both count from the corner
    of the first pixel, as Pillow's affine transform does.
    """
    matrix = inverse @ _shift(box[0], box[1])
    size = (box[2] - box[0], box[3] - box[1])
    values = tuple(matrix[:2].ravel())
    return image.transform(size, Image.Transform.AFFINE, values, Image.Resampling.BILINEAR)


def _shift(x: float | NDArray[np.float64], y: float | NDArray[np.float64]) -> Matrices:
    """Translations; scalars give ``(3, 3)``, arrays ``(T,)`` give ``(T, 3, 3)``."""
    matrix = np.zeros((*np.shape(x), 3, 3))
    matrix[..., [0, 1, 2], [0, 1, 2]] = 1
    matrix[..., 0, 2], matrix[..., 1, 2] = x, y
    return matrix


def _inverse(matrix: Matrices) -> Matrices:
    return np.linalg.inv(matrix).astype(np.float64)


def _linear(
    angle: float | NDArray[np.float64],
    scale_x: float | NDArray[np.float64] = 1.0,
    scale_y: float | NDArray[np.float64] = 1.0,
) -> Matrices:
    """First scale, then turn by ``angle`` radians, clockwise as seen (y points down)."""
    angle, scale_x, scale_y = np.broadcast_arrays(angle, scale_x, scale_y)
    matrix = np.zeros((*angle.shape, 3, 3))
    matrix[..., 0, 0], matrix[..., 0, 1] = np.cos(angle) * scale_x, -np.sin(angle) * scale_y
    matrix[..., 1, 0], matrix[..., 1, 1] = np.sin(angle) * scale_x, np.cos(angle) * scale_y
    matrix[..., 2, 2] = 1
    return matrix


def _drift(rng: np.random.Generator, num_frames: int, speed: float) -> NDArray[np.float64]:
    """A smooth random curve of about -1 to 1 with ``speed`` swings per clip, ``(T,)``."""
    time = np.linspace(0, 2 * np.pi, num_frames)
    phases = rng.uniform(0, 2 * np.pi, size=2)
    curve = 0.65 * np.sin(speed * time + phases[0]) + 0.35 * np.sin(2.3 * speed * time + phases[1])
    return np.asarray(curve)


def _draw_camera(rng: np.random.Generator, options: SceneOptions) -> Matrices:
    """Steady picture to shaken picture, ``(T, 3, 3)``: a shift, a roll and a little zoom."""
    count, half, amount = options.num_frames, options.size / 2, options.difficulty
    x, y = (0.035 * amount * options.size * _drift(rng, count, s) for s in (1.1, 1.4))
    roll = 0.05 * amount * _drift(rng, count, 0.9)
    zoom = 1 + 0.03 * amount * _drift(rng, count, 0.8)
    return _shift(half + x, half + y) @ _linear(roll, zoom, zoom) @ _shift(-half, -half)


def _draw_background(rng: np.random.Generator, options: SceneOptions) -> Image.Image:
    side = round(options.size * (1 + 2 * _MARGIN))
    table = Image.fromarray(draw_table(rng, side, options.difficulty))
    scatter_parts(
        table,
        rng,
        count=round(5 * options.difficulty),
        side=round(0.22 * options.size),
        difficulty=options.difficulty,
    )
    return table


def _drifting_part(rng: np.random.Generator, options: SceneOptions) -> _Layer:
    """A distractor that slides about slowly; it stays clear at difficulty 0."""
    sprite = draw_part(rng, round(0.22 * options.size), options.difficulty)
    x, y = rng.uniform(0.1, 0.9, size=2)
    reach = 0.12 * options.difficulty
    path_x = x + reach * _drift(rng, options.num_frames, 0.5)
    path_y = y + reach * _drift(rng, options.num_frames, 0.5)
    course = _shift(options.size * path_x, options.size * path_y)
    course = course @ _linear(float(rng.uniform(0, 2 * np.pi)))
    if options.difficulty < 0.25:
        course = course @ _shift(10.0 * options.size, 0.0)  # out of sight
    return _Layer(sprite, course @ _shift(-sprite.width / 2, -sprite.height / 2), shadow=0.4)


def _object_layer(
    look: Look, pose: Pose, rng: np.random.Generator, options: SceneOptions
) -> _Layer:
    """The object in play; tilting it narrows it to its thickness, then shows its dull back."""
    likeness = 0.45 * options.difficulty
    colour = _MEAN_COLOUR * likeness + np.asarray(look.colour) * (1 - likeness)
    side = round(_OBJECT_SIZE * options.size)
    named = Look(look.shape, (round(colour[0]), round(colour[1]), round(colour[2])), look.texture)
    rgba = draw_object(named, side).astype(np.float32)
    rgba[..., :3] *= rng.uniform(0.88, 1.12) * rng.uniform(0.94, 1.06, size=3)
    front = np.clip(rgba, 0, 255).astype(np.uint8)
    back = front.copy()
    back[..., :3] = front[..., :3] * 0.55 + 20
    facing = np.cos(pose.tilt)
    side_seen = np.where(facing < 0, -1.0, 1.0)
    width = side_seen * (0.35 + 0.65 * np.abs(facing))
    # What is seen from behind turns the other way; undo that, so that clockwise stays clockwise.
    angle = pose.angle[0] + side_seen * (pose.angle - pose.angle[0])
    course = (
        _shift(options.size * (0.5 + pose.x), options.size * (0.5 + pose.y))
        @ _linear(pose.tilt_axis, width * pose.scale, pose.scale)
        @ _linear(angle - pose.tilt_axis)
        @ _shift(-front.shape[1] / 2, -front.shape[0] / 2)
    )
    sides = Image.fromarray(front), Image.fromarray(back)
    return _Layer(sides[0], course, shadow=0.5, back=sides[1], is_back=facing < 0)


def _hand_layer(pose: Pose, rng: np.random.Generator, options: SceneOptions) -> _Layer:
    """A hand that follows the object's position and size; its turns only with a firm grip."""
    count, size = options.num_frames, options.size
    skin, sleeve, alpha = draw_hand(round(_HAND_SIZE * size))
    tone = np.asarray(_SKIN[int(rng.integers(len(_SKIN)))], np.float32)
    cloth = rng.uniform(40, 200, size=3).astype(np.float32)
    covered = sleeve[..., None] > skin[..., None] * 0.98
    rgb = np.where(covered, sleeve[..., None] * cloth, skin[..., None] * tone)
    rgba = np.concatenate([rgb, 255 * alpha[..., None]], axis=2).astype(np.uint8)
    side = rng.uniform(-1.0, 1.0)
    direction = np.full(count, np.pi / 2 + side)  # from below, like the camera wearer's own
    if options.firm_grip:  # all round: else its direction in one frame would tell a rotation
        direction = np.pi * side + pose.angle
    grip = _OBJECT_SIZE * (0.40 - 0.28 * options.difficulty * rng.uniform(0.3, 1.0))
    sway_x, sway_y = (0.012 * _drift(rng, count, speed) for speed in (1.0, 1.2))
    swing = 0.06 * _drift(rng, count, 0.8)
    x = 0.5 + pose.x + grip * pose.scale * np.cos(direction) + sway_x
    y = 0.5 + pose.y + grip * pose.scale * np.sin(direction) + sway_y
    course = (
        _shift(size * x, size * y)
        @ _linear(direction + swing, pose.scale, pose.scale)
        @ _shift(0.0, -rgba.shape[0] / 2)
    )
    return _Layer(Image.fromarray(rgba), course)


def _draw_lights(rng: np.random.Generator, options: SceneOptions) -> NDArray[np.uint8]:
    """A lookup table per frame and channel, ``(T, 3, 256)``: exposure and tint change slowly."""
    change = 0.06 + 0.16 * options.difficulty
    level = rng.uniform(0.9, 1.1) * (1 + change * _drift(rng, options.num_frames, 0.6))
    tint = 1 + 0.25 * change * np.stack([_drift(rng, options.num_frames, 0.5) for _ in range(3)])
    gains = (level * tint).T[:, :, None]  # (T, 3, 1)
    return np.clip(gains * np.arange(256), 0, 255).astype(np.uint8)


def _lit(picture: Image.Image, lights: NDArray[np.uint8]) -> Frames:
    """The picture as an array ``(H, W, 3)``, seen through the lookup tables ``(3, 256)``."""
    return lights[np.arange(3), np.asarray(picture)]


class _Noise:
    """Sensor noise: windows of one noise field, at a place that changes every frame."""

    def __init__(self, rng: np.random.Generator, options: SceneOptions) -> None:
        self.size, self.rng = options.size, rng
        side = options.size + 16
        sigma = 1.0 + 9.0 * options.difficulty
        self.field = rng.normal(0, sigma, size=(side, side, 3)).astype(np.int16)

    def __call__(self, picture: Frames) -> Frames:
        """The picture ``(H, W, 3)`` with noise."""
        y, x = self.rng.integers(16, size=2)
        noise = self.field[y : y + self.size, x : x + self.size]
        return np.clip(picture + noise, 0, 255).astype(np.uint8)
