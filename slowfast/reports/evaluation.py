"""The result of a test as one looks at it: a table, a confusion matrix, a row per class."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from slowfast.engine.predictions import SINGLE_TASK, Predictions
from slowfast.reports.epic_submission import challenge_table
from slowfast.reports.figures import confusion_figure, save_figure
from slowfast.reports.table import Cell, Table
from slowfast.utils.files import write_text

logger = logging.getLogger(__name__)

_HEADINGS = {
    "mean_class_precision": "mean class precision",
    "mean_class_recall": "mean class recall",
    "mean_class_f1": "mean class F1",
    "mean_class_acc": "mean class accuracy",
    "map": "mAP",
    "loss": "loss",
}


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
        if not predictions.labels:
            logger.info("%d videos without labels: no metrics", len(predictions))
            return
        metrics_table(predictions, self.ks).show()
        if predictions.dataset_metrics:
            challenge_table(predictions.dataset_metrics).show()
        for task, labels in predictions.labels.items():
            if labels.ndim == 1:
                self._write_task(predictions, task)

    def _write_task(self, predictions: Predictions, task: str) -> None:
        table = self.output_dir / f"per_class_{task}.md"
        write_text(table, per_class_table(predictions, task).markdown() + "\n")
        title = f"{len(predictions)} videos, {predictions.num_views} views each"
        names = predictions.class_names.get(task)
        figure = confusion_figure(predictions.confusion(task), names, title=title)
        picture = save_figure(figure, self.output_dir / f"confusion_{task}.png")
        logger.info("per class: %s, confusion matrix: %s", table, picture)


def metrics_table(predictions: Predictions, ks: tuple[int, ...] = (1, 5)) -> Table:
    """One row per task, and one for all tasks together where there are several."""
    metrics = predictions.metrics(ks)
    several = len(predictions.scores) > 1
    names = list(predictions.labels)
    names += [SINGLE_TASK] if several and SINGLE_TASK not in names else []
    numbers = {f"top{k}_acc": f"top-{k}" for k in ks} | _HEADINGS
    rows: list[list[Cell]] = []
    for name in names:
        found = {n: metrics.get(f"{name}_{n}" if several else n) for n in numbers}
        found["loss"] = metrics.get(f"loss_{name}", metrics.get("loss"))
        rows.append([name, *found.values()])
    filled = [i for i in range(len(numbers) + 1) if any(row[i] is not None for row in rows)]
    columns = ["task", *numbers.values()]
    title = f"{len(predictions)} videos, {predictions.num_views} views each; %, losses in nats"
    return Table([columns[i] for i in filled], [[row[i] for i in filled] for row in rows], title)


def per_class_table(predictions: Predictions, task: str) -> Table:
    """One row per class of ``task``."""
    rows = predictions.per_class(task)
    return Table(rows[0]._fields if rows else (), rows)
