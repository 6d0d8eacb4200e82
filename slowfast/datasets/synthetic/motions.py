"""The 12 motions, arranged so that one frame does not tell which of them is going on.

Every clip draws *all* motions: a slide left or right, a rise or fall, a turn, a change of size, a
flip and three oscillations. The verb only decides which one of them plays; each of the others
stands still at one random moment of its own course. So the position, size and angles of a random
frame have the same distribution whatever the verb is, and every clip of one verb has a twin
(same seed) of any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from slowfast.datasets.synthetic.labels import VERBS

Curve = NDArray[np.float64]


@dataclass(frozen=True)
class Pose:
    """Where the object is in every frame; all arrays are ``(T,)``.

    Attributes:
        x: centre to the right of the middle, in picture widths.
        y: centre below the middle, in picture widths.
        scale: size relative to the drawn size, about 0.6 to 1.6.
        angle: turn in the picture, radians, clockwise as seen.
        tilt: turn out of the picture, radians; beyond a quarter turn the back is seen.
        tilt_axis: direction of the axis of that turn, radians; constant in a clip.
    """

    x: Curve
    y: Curve
    scale: Curve
    angle: Curve
    tilt: Curve
    tilt_axis: float


# verb -> (channel that plays, its direction or None for a random one)
_PLAYS: dict[str, tuple[str, int | None]] = {
    "push_left": ("slide", -1),
    "push_right": ("slide", 1),
    "lift": ("rise", -1),
    "lower": ("rise", 1),
    "rotate_clockwise": ("turn", 1),
    "rotate_anticlockwise": ("turn", -1),
    "approach": ("zoom", 1),
    "retreat": ("zoom", -1),
    "flip": ("flip", None),
    "shake": ("shake", None),
    "wiggle": ("wiggle", None),
    "stir": ("stir", None),
}


def _progress(time: Curve, rng: np.random.Generator) -> Curve:
    """A move from 0 to 1 that lasts 60 to 90 % of the clip and starts at any moment of it.

    Its distribution is the same played backwards, so opposite directions look alike in a frame.
    """
    duration = rng.uniform(0.6, 0.9)
    onset = rng.uniform(0, 1 - duration)
    return np.clip((time - onset) / duration, 0, 1)


def _wave(time: Curve, rng: np.random.Generator, cycles: tuple[float, float]) -> Curve:
    """Phase in radians of an oscillation with a random start and direction."""
    start, turns = rng.uniform(0, 2 * np.pi), rng.uniform(*cycles)
    return np.asarray(start + rng.choice((-1, 1)) * 2 * np.pi * turns * time)


def draw_pose(verb: int, num_frames: int, rng: np.random.Generator) -> Pose:
    """The course of the object in a clip of ``num_frames`` frames.

    The number of random draws does not depend on the verb: twins (same ``rng`` state, other verb)
    differ only in which channel plays.

    Args:
        verb: index into ``VERBS``.
        num_frames: T, at least 2.
        rng: consumed.
    """
    time = np.linspace(0, 1, num_frames)
    channel, direction = _PLAYS[VERBS[verb]]

    def play(name: str, course: Callable[[int], Curve]) -> Curve:
        """The channel's curve when it is the verb's, else its value at one random frame."""
        sign, frozen = int(rng.choice((-1, 1))), int(rng.integers(num_frames))
        if name != channel:
            return np.full(num_frames, course(sign)[frozen])
        return course(sign if direction is None else direction)

    moves = {name: _progress(time, rng) for name in ("slide", "rise", "turn", "zoom", "flip")}
    reach = rng.uniform(0.28, 0.40, size=2)
    turns = rng.uniform(0.35, 0.55)
    growth = np.log(rng.uniform(1.9, 2.4))
    flips = rng.uniform(0.6, 0.8)
    waves = {name: _wave(time, rng, (1.8, 2.4)) for name in ("shake", "wiggle")}
    circle = _wave(time, rng, (0.9, 1.3))
    radius, swing = rng.uniform(0.09, 0.11), rng.uniform(0.06, 0.075)
    centre = rng.uniform(-0.09, 0.09, size=2)
    size, angle, tilt, axis = rng.uniform(0, 1, size=4)

    slide = play("slide", lambda sign: sign * reach[0] * (moves["slide"] - 0.5))
    rise = play("rise", lambda sign: sign * reach[1] * (moves["rise"] - 0.5))
    turn = play("turn", lambda sign: sign * 2 * np.pi * turns * moves["turn"])
    zoom = play("zoom", lambda sign: sign * growth * (moves["zoom"] - 0.5))
    flip = play("flip", lambda sign: sign * 2 * np.pi * flips * moves["flip"])
    shake = play("shake", lambda sign: sign * swing * np.sin(waves["shake"]))
    wiggle = play("wiggle", lambda sign: sign * 0.6 * np.sin(waves["wiggle"]))
    stir = play("stir", lambda sign: sign * circle)
    return Pose(
        x=centre[0] + slide + shake + radius * np.cos(stir),
        y=centre[1] + rise + radius * np.sin(stir),
        scale=np.exp(0.24 * (size - 0.5) + zoom),
        angle=2 * np.pi * angle + turn + wiggle,
        tilt=2 * np.pi * tilt + flip,
        tilt_axis=float(np.pi * axis),
    )
