"""The fixed label tables of the synthetic dataset: 12 verbs, 20 objects, 61 actions.

The numbers are MECCANO's (Ragusa et al. 2021, "The MECCANO Dataset", table 1). Every object takes
part in three actions (one in four) and every verb in five (one in six), so knowing the object
alone gives at most 20 / 61 = 33 % of the actions. Most objects have two verbs that differ only in
their direction. The tables do not depend on the seed: label ids of two datasets always agree.
"""

from __future__ import annotations

from typing import NamedTuple

VERBS = (
    "push_left",
    "push_right",
    "lift",
    "lower",
    "rotate_clockwise",
    "rotate_anticlockwise",
    "approach",
    "retreat",
    "flip",
    "shake",
    "wiggle",
    "stir",
)


class Look(NamedTuple):
    """How an object is drawn: the shape's name, its RGB colour (0 to 255) and its texture."""

    shape: str
    colour: tuple[int, int, int]
    texture: str


OBJECTS: dict[str, Look] = {
    "red_bar": Look("bar", (214, 48, 49), "plain"),
    "blue_bar": Look("bar", (45, 98, 214), "striped"),
    "green_plate": Look("plate", (38, 155, 72), "plain"),
    "yellow_plate": Look("plate", (240, 196, 25), "checked"),
    "steel_wrench": Look("wrench", (176, 190, 205), "plain"),
    "orange_wrench": Look("wrench", (240, 120, 20), "striped"),
    "purple_screwdriver": Look("screwdriver", (128, 62, 190), "plain"),
    "lime_screwdriver": Look("screwdriver", (150, 215, 40), "striped"),
    "brass_bolt": Look("bolt", (200, 160, 70), "plain"),
    "navy_bolt": Look("bolt", (40, 52, 120), "dotted"),
    "cyan_nut": Look("nut", (30, 190, 205), "plain"),
    "maroon_nut": Look("nut", (125, 28, 52), "dotted"),
    "black_wheel": Look("wheel", (48, 48, 54), "plain"),
    "pink_wheel": Look("wheel", (240, 120, 175), "checked"),
    "teal_gear": Look("gear", (16, 122, 122), "plain"),
    "white_gear": Look("gear", (232, 232, 226), "dotted"),
    "magenta_bracket": Look("bracket", (205, 36, 150), "plain"),
    "olive_bracket": Look("bracket", (118, 122, 36), "checked"),
    "sky_arrow": Look("arrow", (120, 180, 245), "dotted"),
    "brown_arrow": Look("arrow", (125, 78, 42), "striped"),
}

_VERBS_OF = {
    "red_bar": "push_left push_right flip",
    "blue_bar": "lift lower stir",
    "green_plate": "approach retreat wiggle",
    "yellow_plate": "push_left push_right shake",
    "steel_wrench": "rotate_clockwise rotate_anticlockwise approach",
    "orange_wrench": "rotate_clockwise lift shake",
    "purple_screwdriver": "rotate_clockwise rotate_anticlockwise flip",
    "lime_screwdriver": "lift lower wiggle",
    "brass_bolt": "rotate_anticlockwise wiggle push_left",
    "navy_bolt": "approach retreat flip",
    "cyan_nut": "rotate_clockwise rotate_anticlockwise stir push_right",
    "maroon_nut": "lift lower shake",
    "black_wheel": "rotate_clockwise push_right retreat",
    "pink_wheel": "push_left flip stir",
    "teal_gear": "rotate_anticlockwise wiggle lower",
    "white_gear": "approach retreat shake",
    "magenta_bracket": "push_left push_right wiggle",
    "olive_bracket": "lift lower flip",
    "sky_arrow": "approach stir shake",
    "brown_arrow": "push_right retreat stir",
}


class Action(NamedTuple):
    """One of the 61 classes."""

    name: str
    verb: int
    object: int


ACTIONS: tuple[Action, ...] = tuple(
    Action(f"{verb}_{name}", VERBS.index(verb), number)
    for number, name in enumerate(OBJECTS)
    for verb in sorted(_VERBS_OF[name].split(), key=VERBS.index)
)
