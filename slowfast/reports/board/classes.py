"""Pictures of what classes are taken for: confusion matrices, and a histogram per class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from slowfast.engine.predictions import Predictions
from slowfast.reports.board.choice import ALL, ClassChoice
from slowfast.reports.figures import confusion_figure, histogram_figure


@dataclass(frozen=True)
class ConfusionDrawer:
    """Adds ``Confusion/<task>``, and ``Confusion/<task>/<category>`` of every category.

    Attributes:
        choice: of classes.
        size_inches: of a figure.
    """

    choice: ClassChoice = ALL
    size_inches: tuple[float, float] | None = None

    def __call__(self, writer: Any, predictions: Predictions, step: int) -> None:
        """Draws every task with one label per video."""
        for task, counts, names in _tasks(predictions, self.choice):
            for title, ids in self.choice.groups(names).items():
                chosen = [names[i] for i in ids]
                figure = confusion_figure(
                    counts[ids][:, ids], chosen, title=title, size_inches=self.size_inches
                )
                writer.add_figure(_tag("Confusion", task, title), figure, step)


@dataclass(frozen=True)
class HistogramDrawer:
    """Adds ``Predicted/<task>/<true class>``: what its videos are taken for most often.

    Classes of a category are filed under ``Predicted/<task>/<category>/<true class>`` too.
    Classes without a video have no figure.

    Attributes:
        choice: of true classes.
        top_k: predicted classes of each.
        size_inches: of a figure.
    """

    choice: ClassChoice = ALL
    top_k: int = 10
    size_inches: tuple[float, float] = (8, 8)

    def __call__(self, writer: Any, predictions: Predictions, step: int) -> None:
        """Draws every task with one label per video."""
        for task, counts, names in _tasks(predictions, self.choice):
            for title, ids in self.choice.groups(names).items():
                for i in ids:
                    if counts[i].sum() == 0:
                        continue
                    figure = histogram_figure(
                        counts[i], names, i, top_k=self.top_k, size_inches=self.size_inches
                    )
                    writer.add_figure(_tag("Predicted", task, title, names[i]), figure, step)


def _tasks(predictions: Predictions, choice: ClassChoice) -> Iterator[tuple[str, Any, list[str]]]:
    """Task, counts ``(C, C)`` by true and predicted class, and names of the classes."""
    for task, labels in predictions.labels.items():
        if labels.ndim == 1:
            counts = predictions.confusion(task).numpy()
            yield task, counts, choice.task_names(predictions, task)


def _tag(*parts: str) -> str:
    return "/".join(part for part in parts if part)
