"""What the TensorBoard hook draws beside scalars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from slowfast.datasets.batch import Batch
from slowfast.engine.predictions import Predictions
from slowfast.reports.clips import contact_sheet, denormalize
from slowfast.reports.figures import confusion_figure


def draw_confusion(writer: Any, predictions: Predictions, step: int) -> None:
    """Adds the confusion matrix of every task with one label per video."""
    for task, labels in predictions.labels.items():
        if labels.ndim == 1:
            figure = confusion_figure(
                predictions.confusion(task), predictions.class_names.get(task)
            )
            writer.add_figure(f"Confusion/{task}", figure, step)


@dataclass(frozen=True)
class ClipDrawer:
    """Adds the clips of a batch, as the model sees them, one row each.

    Attributes:
        mean: that was subtracted, RGB (``DATA.MEAN``).
        std: that was divided by (``DATA.STD``).
        reverse_channels: the model gets BGR (``DATA.REVERSE_INPUT_CHANNEL``).
    """

    mean: Sequence[float]
    std: Sequence[float]
    reverse_channels: bool = False

    def __call__(self, writer: Any, batch: Batch, step: int) -> None:
        """Writes ``Train/clips``."""
        clips = batch.clips[-1].detach().float()  # the pathway with all frames comes last
        if self.reverse_channels:
            clips = clips.flip(1)
        sheet = contact_sheet(denormalize(clips, self.mean, self.std))
        writer.add_image("Train/clips", sheet, step, dataformats="HWC")
