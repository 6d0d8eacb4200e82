"""Which clips a synthetic dataset consists of."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from slowfast.datasets.synthetic.labels import ACTIONS
from slowfast.datasets.synthetic.scene import SceneOptions

SPLITS = ("train", "val", "test")
RENDERER_VERSION = 1  # raise it when the same options give other frames
_LATER = {"firm_grip": False, "actions": ()}
"""Options that came later, and what they are in the datasets written before."""


@dataclass(frozen=True)
class SyntheticOptions:
    """Everything that decides the content of a synthetic dataset.

    Attributes:
        num_clips: clips in all splits together.
        num_frames: frames per clip, at least 8; in long videos up to a quarter more.
        size: side of the square picture in pixels, even, at least 32.
        fps: frames per second written to the files, or told by the lists of images.
        difficulty: 0 (clean) to 1 (noise, clutter, occlusion, shake, alike colours).
        seed: of the whole dataset.
        split_ratio: shares of train, val and test; they sum to 1.
        layout: a name in ``LAYOUTS``.
        firm_grip: see ``SceneOptions``.
        actions: names of the actions to draw; all 61 when empty. Class ids stay the same.
    """

    num_clips: int = 1200
    num_frames: int = 32
    size: int = 112
    fps: int = 30
    difficulty: float = 0.5
    seed: int = 0
    split_ratio: tuple[float, float, float] = (0.7, 0.1, 0.2)
    layout: str = "kinetics"
    firm_grip: bool = False
    actions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be rendered.

        Raises:
            ValueError: naming the option, its value and what is allowed.
        """
        ratio = self.split_ratio
        checks = (
            ("num_clips", self.num_clips >= 1, "must be at least 1"),
            ("num_frames", self.num_frames >= 8, "must be at least 8, else no motion can be told"),
            ("size", self.size >= 32 and self.size % 2 == 0, "must be even and at least 32"),
            ("fps", self.fps >= 1, "must be at least 1"),
            ("difficulty", 0 <= self.difficulty <= 1, "must be from 0 to 1"),
            ("seed", self.seed >= 0, "must not be negative"),
            (
                "split_ratio",
                len(ratio) == 3 and min(ratio) >= 0 and abs(sum(ratio) - 1) < 1e-6,
                "must be three shares (train, val, test) that sum to 1",
            ),
        )
        for name, good, rule in checks:
            if not good:
                raise ValueError(f"synthetic dataset: {name} {rule}, got {getattr(self, name)}")
        self.action_ids()

    @property
    def scene(self) -> SceneOptions:
        """The part that the renderer needs."""
        return SceneOptions(self.num_frames, self.size, self.difficulty, self.firm_grip)

    def action_ids(self) -> list[int]:
        """Indices into ``ACTIONS`` of the actions to draw.

        Raises:
            ValueError: one of them is not known.
        """
        ids = {action.name: number for number, action in enumerate(ACTIONS)}
        unknown = [name for name in self.actions if name not in ids]
        if unknown:
            near = difflib.get_close_matches(unknown[0], ids, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"synthetic dataset: actions has {unknown[0]!r}, not known.{hint}")
        return sorted({ids[name] for name in self.actions}) or list(ids.values())

    def fingerprint(self) -> str:
        """A hash of the options and the renderer's version: equal means equal datasets."""
        content = {**asdict(self), "renderer": RENDERER_VERSION}
        for name, default in _LATER.items():
            if content[name] == default:
                del content[name]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class ClipSpec:
    """One clip: what happens in it and which random numbers draw the rest.

    Attributes:
        name: unique, e.g. ``"push_left_red_bar_00017"``.
        split: "train", "val" or "test".
        verb: index into ``VERBS``.
        object: index into ``OBJECTS``.
        action: index into ``ACTIONS``.
        seed: of the renderer; from the dataset's seed and the clip's number.
    """

    name: str
    split: str
    verb: int
    object: int
    action: int
    seed: int


def split_sizes(num_clips: int, ratio: Sequence[float]) -> list[int]:
    """Clips per split; they sum to ``num_clips``, and the largest split takes the remainder."""
    sizes = [int(num_clips * share) for share in ratio]
    sizes[int(np.argmax(ratio))] += num_clips - sum(sizes)
    return sizes


def list_clips(options: SyntheticOptions) -> list[ClipSpec]:
    """Every clip of the dataset, split by split, in an order that mixes the classes.

    Within a split no two classes differ by more than one clip.
    """
    rng = np.random.default_rng((options.seed, 0))
    specs: list[ClipSpec] = []
    sizes = split_sizes(options.num_clips, options.split_ratio)
    actions = options.action_ids()
    for split, size in zip(SPLITS, sizes, strict=True):
        rounds = [rng.permutation(actions) for _ in range(-(-size // len(actions)))]
        for action in np.concatenate([*rounds, np.empty(0, int)])[:size].tolist():
            number = len(specs)
            name, verb, object_ = ACTIONS[action]
            state = np.random.SeedSequence((options.seed, 1, number)).generate_state(1, np.uint64)
            clip = f"{name}_{number:05d}"
            specs.append(ClipSpec(clip, split, verb, object_, action, int(state[0])))
    return specs
