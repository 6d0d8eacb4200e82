"""Which classes are drawn, and what they are called."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from slowfast.datasets.base import DataError
from slowfast.deploy.export.build import build_names_of_data
from slowfast.deploy.recognition import class_label
from slowfast.deploy.recognize_build import read_task_names
from slowfast.engine.predictions import Predictions
from slowfast.models.build import build_num_classes

if TYPE_CHECKING:
    from yacs.config import CfgNode


@dataclass(frozen=True)
class ClassChoice:
    """Classes to draw.

    Attributes:
        names: task -> names by class id, before those of the predictions.
        subset: names of the classes that are drawn; ``None``: all.
        categories: name -> names of its classes, which are also drawn on their own.
    """

    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    subset: tuple[str, ...] | None = None
    categories: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def task_names(self, predictions: Predictions, task: str) -> list[str]:
        """A name for every class of a task."""
        count = predictions.scores[task].shape[1]
        for known in (self.names.get(task), predictions.class_names.get(task)):
            if known is not None and len(known) == count:
                return list(known)
        return [class_label(i) for i in range(count)]

    def groups(self, names: Sequence[str]) -> dict[str, list[int]]:
        """Title -> class ids, of everything that is drawn; the title of the subset is empty.

        Args:
            names: of the classes of a task.
        """
        chosen = list(range(len(names))) if self.subset is None else ids_of(self.subset, names)
        groups = {"": chosen} if chosen else {}
        for title, wanted in self.categories.items():
            found = ids_of(wanted, names)
            groups |= {title: found} if found else {}
        return groups


ALL = ClassChoice()


def ids_of(wanted: Sequence[str], names: Sequence[str]) -> list[int]:
    """Ids of the names that there are, in the order of the ids."""
    chosen = set(wanted)
    return [i for i, name in enumerate(names) if name in chosen]


def build_class_choice(cfg: CfgNode, subset_path: str = "", subset_key: str = "") -> ClassChoice:
    """The choice of a ``SUBSET_PATH`` and of ``TENSORBOARD.CATEGORIES_PATH``, by names.

    Names are those of ``TENSORBOARD.CLASS_NAMES_PATH``, else of the data.

    Args:
        cfg: the config.
        subset_path: file with a name per line; empty: all classes.
        subset_key: key it came from, for messages.

    Raises:
        DataError: a file cannot be read, or names a class that there is not; says which.
    """
    board = cfg.TENSORBOARD
    classes = build_num_classes(cfg)
    tasks = {"action": classes} if isinstance(classes, int) else dict(classes)
    names: Mapping[str, Sequence[str]] = {}
    if board.CLASS_NAMES_PATH:
        names = read_task_names(Path(board.CLASS_NAMES_PATH), tasks)
    subset = None if not subset_path else tuple(read_subset(Path(subset_path)))
    categories = read_categories(Path(board.CATEGORIES_PATH)) if board.CATEGORIES_PATH else {}
    if subset is None and not categories:
        return ClassChoice(names)
    names = names or build_names_of_data(cfg, tasks)
    known = {name for of_task in names.values() for name in of_task}
    where = f"{subset_key} {subset_path}"
    check_names(subset or (), known, where)
    for title, members in categories.items():
        check_names(members, known, f"TENSORBOARD.CATEGORIES_PATH, {title!r}")
    return ClassChoice(names, subset, categories)


def read_subset(path: Path) -> list[str]:
    """Class names, one per line.

    Raises:
        DataError: unreadable, or empty.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"class names {path} cannot be read: {error}") from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise DataError(f"{path} names no class: give one per line")
    return names


def read_categories(path: Path) -> dict[str, list[str]]:
    """Category -> class names.

    Raises:
        DataError: unreadable, or of another form.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"categories {path} cannot be read: {error}") from error
    if not isinstance(found, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names)
        for names in found.values()
    ):
        raise DataError(f"{path}: expected JSON, {{category: [class names]}}")
    return found


def check_names(wanted: Sequence[str], known: set[str], where: str) -> None:
    """Raise where a name is not one of the classes."""
    missing = [name for name in wanted if name not in known]
    if not missing:
        return
    listed = ", ".join(map(repr, missing[:5]))
    if not known:
        raise DataError(
            f"{where} names {listed}, but the names of the classes are not known: give them as "
            "TENSORBOARD.CLASS_NAMES_PATH, JSON {class name: class}"
        )
    some = ", ".join(sorted(known)[:5])
    raise DataError(f"{where} names {listed}: no such class; there are {some} and others")
