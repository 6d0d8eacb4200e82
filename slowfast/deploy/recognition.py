"""What is seen in a stretch of a video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from slowfast.deploy.export.info import ExportInfo
from slowfast.utils.errors import UserError

Scores = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Recognition:
    """What is seen in a stretch of a video.

    Attributes:
        start_s: time of its first frame, as given to ``push``.
        end_s: of its last frame.
        scores: task -> score of every class.
        seconds: that the computation took.
        time_s: of the newest frame when it was made; of streams with lookahead after ``end_s``.
    """

    start_s: float
    end_s: float
    scores: Scores
    seconds: float
    time_s: float = 0.0

    def top(
        self, k: int, class_names: Mapping[str, Sequence[str]] | None = None
    ) -> dict[str, list[Guess]]:
        """Task -> its ``k`` best classes (all, where there are fewer), best first.

        Args:
            k: at least 1.
            class_names: task -> names by class id; without them ``class 17``.
        """
        found = {}
        for task, scores in self.scores.items():
            best = np.argsort(-scores, kind="stable")[:k].tolist()
            names = (class_names or {}).get(task)
            found[task] = [
                Guess(i, names[i] if names else class_label(i), float(scores[i])) for i in best
            ]
        return found


class Guess(NamedTuple):
    """A class and its score. Attributes: its id, its name, 0 to 1."""

    class_id: int
    name: str
    score: float


def class_label(index: int) -> str:
    """What a class without a name is called."""
    return f"class {index}"


def complete_names(info: ExportInfo, names: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Names of every task; a class without one is called by its number."""
    found = {}
    for task, count in zip(info.tasks, info.num_classes, strict=True):
        found[task] = [str(name) for name in names.get(task, map(class_label, range(count)))]
        if len(found[task]) != count:
            raise UserError(
                f"{len(found[task])} class names for the {count} classes of {task!r}: give one per "
                "class, in the order of their ids (DATA.CLASS_NAMES_PATH)"
            )
    return found
