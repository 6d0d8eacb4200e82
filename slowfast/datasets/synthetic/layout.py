"""How clips lie on disk. A layout is small: where a clip goes, and the lists beside them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from slowfast.datasets.synthetic.encode import write_video
from slowfast.datasets.synthetic.labels import ACTIONS, OBJECTS, VERBS
from slowfast.datasets.synthetic.specs import SPLITS, ClipSpec


class Layout(Protocol):
    """Where a dataset family expects its files; paths are relative to the dataset's folder."""

    def clip_path(self, spec: ClipSpec) -> str:
        """The file, or the folder of frames, of one clip."""

    def write_clip(self, path: Path, frames: NDArray[np.uint8], fps: int) -> None:
        """Write uint8 RGB frames ``(T, H, W, 3)`` to ``path``, whose parent exists."""

    def lists(self, specs: Sequence[ClipSpec]) -> dict[str, str]:
        """Annotation files: path -> text."""


class KineticsLayout:
    """``videos/<split>/<action>/<clip>.mp4`` with ``{train,val,test}.csv`` (path, space, class id).

    The ``videos/<split>`` folders are also complete folder-of-videos datasets.
    """

    def clip_path(self, spec: ClipSpec) -> str:
        """The ``.mp4`` of a clip."""
        return f"videos/{spec.split}/{ACTIONS[spec.action].name}/{spec.name}.mp4"

    def write_clip(self, path: Path, frames: NDArray[np.uint8], fps: int) -> None:
        """Encode as H.264."""
        write_video(path, frames, fps=fps)

    def lists(self, specs: Sequence[ClipSpec]) -> dict[str, str]:
        """One csv per split, class names, and the tables that tell verb and object of each clip."""
        rows = {split: [s for s in specs if s.split == split] for split in SPLITS}
        texts = {
            f"{split}.csv": "".join(f"{self.clip_path(s)} {s.action}\n" for s in rows[split])
            for split in SPLITS
        }
        return texts | label_tables() | {"clips.csv": clip_table(specs, self.clip_path)}


def label_tables() -> dict[str, str]:
    """``{class,verb,object}_names.json`` (name -> id) and ``actions.csv`` (the 61 pairs)."""
    names = {
        "class_names.json": [action.name for action in ACTIONS],
        "verb_names.json": list(VERBS),
        "object_names.json": list(OBJECTS),
    }
    texts = {
        path: json.dumps({name: k for k, name in enumerate(listed)}, indent=1) + "\n"
        for path, listed in names.items()
    }
    objects = list(OBJECTS)
    header = ("action_id", "action", "verb_id", "verb", "object_id", "object")
    table = [
        (k, action.name, action.verb, VERBS[action.verb], action.object, objects[action.object])
        for k, action in enumerate(ACTIONS)
    ]
    return texts | {"actions.csv": _csv([header, *table])}


def clip_table(specs: Sequence[ClipSpec], clip_path: Callable[[ClipSpec], str]) -> str:
    """A csv with path, split, action, verb, object and seed of every clip."""
    header = ("path", "split", "action", "verb", "object", "seed")
    table = [(clip_path(s), s.split, s.action, s.verb, s.object, s.seed) for s in specs]
    return _csv([header, *table])


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


LAYOUTS: dict[str, type[Layout]] = {"kinetics": KineticsLayout}
