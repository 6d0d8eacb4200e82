"""Pictures of a run. Figures are made without pyplot, so they need no display and no closing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from slowfast.reports.stats import Record, series
from slowfast.utils.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_NUMBERED = 15  # classes up to which each cell shows its count
MAX_NAMED = 120  # classes up to which every row has its name


def confusion_figure(
    matrix: npt.ArrayLike,
    class_names: Sequence[str] | None = None,
    *,
    title: str = "",
    size_inches: tuple[float, float] | None = None,
) -> Figure:
    """A confusion matrix; colour is the share of each true class.

    The figure grows with the classes, so that names stay readable; above ``MAX_NAMED`` classes
    only every n-th is labelled.

    Args:
        matrix: ``(C, C)`` counts, row = true class, column = predicted class.
        class_names: C names; indices when missing.
        title: shown above.
        size_inches: width and height, instead of one that grows.
    """
    from matplotlib.figure import Figure

    counts = np.asarray(matrix, dtype=np.float64)
    size = len(counts)
    if counts.shape != (size, size):
        raise ValueError(f"confusion matrix has shape {counts.shape}: expected a square")
    names = [str(i) for i in range(size)] if class_names is None else list(class_names)
    if len(names) != size:
        raise ValueError(f"{len(names)} class names for a confusion matrix of {size} classes")
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

    inches = float(np.clip(3 + 0.16 * size, 4, 24))
    figsize = (inches + 1, inches) if size_inches is None else size_inches
    figure = Figure(figsize=figsize, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(image, ax=axes, label="share of the true class", fraction=0.046)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    _label_classes(axes, names)
    if size <= MAX_NUMBERED:
        for row, column in np.argwhere(counts > 0):
            colour = "white" if share[row, column] > 0.5 else "black"
            text = f"{counts[row, column]:g}"
            axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    return figure


def _label_classes(axes: Axes, names: Sequence[str]) -> None:
    step = -(-len(names) // MAX_NAMED)
    ticks = list(range(0, len(names), step))
    labels = [names[i] for i in ticks]
    size = 8 if len(names) <= 30 else 6
    axes.set_xticks(ticks, labels, rotation=90, fontsize=size)
    axes.set_yticks(ticks, labels, fontsize=size)


def histogram_figure(
    counts: npt.ArrayLike,
    class_names: Sequence[str],
    true_class: int,
    *,
    top_k: int = 10,
    size_inches: tuple[float, float] = (8, 8),
) -> Figure:
    """What the videos of one class are taken for: the classes predicted most often, as bars.

    Args:
        counts: C numbers of videos, by predicted class.
        class_names: C names.
        true_class: whose videos they are; its bar has another colour.
        top_k: bars; classes that were never predicted have none.
        size_inches: width and height.
    """
    from matplotlib.figure import Figure

    numbers = np.asarray(counts, dtype=np.float64)
    best = [int(i) for i in np.argsort(-numbers, kind="stable")[:top_k] if numbers[i] > 0]
    share = 100 * numbers[best] / max(numbers.sum(), 1)
    figure = Figure(figsize=size_inches, layout="constrained")
    axes = figure.add_subplot()
    colours = ["tab:green" if i == true_class else "tab:red" for i in best]
    bars = axes.barh(range(len(best)), share, color=colours)
    axes.bar_label(bars, [f"{numbers[i]:g}" for i in best], padding=2, fontsize=8)
    axes.set_yticks(range(len(best)), [class_names[i] for i in best])
    axes.invert_yaxis()
    title = f"{class_names[true_class]}: {numbers.sum():g} videos"
    axes.set(xlabel="predicted, % of the videos", title=title, xlim=(0, 105))
    return figure


def curves_figure(stats: dict[str, list[Record]]) -> Figure:
    """Loss, top-1 error and learning rate over the epochs, training and validation.

    Args:
        stats: what :func:`slowfast.reports.stats.read_stats` returns. Panels without any value
            are left out.
    """
    from matplotlib.figure import Figure

    panels = [("loss", "loss"), ("top1_err", "top-1 error (%)"), ("lr", "learning rate")]
    lines = [
        (
            key,
            label,
            [(kind, *series(stats.get(f"{kind}_epoch", []), key)) for kind in ("train", "val")],
        )
        for key, label in panels
    ]
    lines = [panel for panel in lines if any(epochs for _, epochs, _ in panel[2])]
    if not lines:
        raise ValueError("no epoch records with loss, top1_err or lr: has an epoch finished?")
    figure = Figure(figsize=(4.5 * len(lines), 3.5), layout="constrained")
    for axes, (_, label, kinds) in zip(
        figure.subplots(1, len(lines), squeeze=False)[0], lines, strict=True
    ):
        for kind, epochs, values in kinds:
            if epochs:
                axes.plot(epochs, values, marker="." if len(epochs) < 30 else None, label=kind)
        axes.set(xlabel="epoch", ylabel=label)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def save_figure(figure: Figure, path: Path | str) -> Path:
    """Writes a figure as PNG, SVG or PDF, by the ending of ``path``."""
    target = Path(path)
    kind = target.suffix.removeprefix(".") or None
    write_atomically(target, lambda file: figure.savefig(file, dpi=150, format=kind))
    return target
