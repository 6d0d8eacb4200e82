"""The result of a test as one looks at it: a table, a confusion matrix, a row per class."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from slowfast.engine.predictions import Predictions
from slowfast.reports.figures import confusion_figure, save_figure
from slowfast.reports.table import Cell, Table

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReportTest:
    """Shows the metrics, and writes ``confusion_<task>.png`` and ``per_class_<task>.md``.

    Attributes:
        output_dir: where the files go.
        ks: of the top-k accuracies.
    """

    output_dir: Path
    ks: tuple[int, ...] = (1, 5)

    def __call__(self, predictions: Predictions) -> None:
        """Reports one test."""
        metrics_table(predictions, self.ks).show()
        for task, labels in predictions.labels.items():
            if labels.ndim == 1:
                self._write_task(predictions, task)

    def _write_task(self, predictions: Predictions, task: str) -> None:
        table = self.output_dir / f"per_class_{task}.md"
        table.write_text(per_class_table(predictions, task).markdown() + "\n", "utf-8")
        title = f"{len(predictions)} videos, {predictions.num_views} views each"
        names = predictions.class_names.get(task)
        figure = confusion_figure(predictions.confusion(task), names, title=title)
        picture = save_figure(figure, self.output_dir / f"confusion_{task}.png")
        logger.info("per class: %s, confusion matrix: %s", table, picture)


def metrics_table(predictions: Predictions, ks: tuple[int, ...] = (1, 5)) -> Table:
    """The metrics that are not the mere complement of another."""
    metrics = predictions.metrics(ks)
    rows: list[list[Cell]] = [
        [name, value] for name, value in metrics.items() if not name.endswith("_err")
    ]
    return Table(["metric", "%" if "loss" not in metrics else "% (loss: nats)"], rows)


def per_class_table(predictions: Predictions, task: str) -> Table:
    """One row per class of ``task``."""
    rows = predictions.per_class(task)
    return Table(rows[0]._fields if rows else (), rows)
