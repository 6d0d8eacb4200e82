"""Figures that compare runs: how they learned, how good they are, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowfast.reports.figures import save_figure
from slowfast.reports.runs.facts import METRICS, Runs, Variant, front
from slowfast.reports.runs.series import (
    Points,
    epoch_minutes,
    learning_rates,
    over_epochs,
    peak_memory,
    validation,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito 2008, https://jfly.uni-koeln.de/color/: apart also for colour-blind readers. Yellow,
# too faint on white, is left out.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))
FORMATS = ("png", "svg")
LOG_FROM = 8.0  # largest over smallest loss from which its axis is logarithmic
COSTS = {"macs_g": "MACs of one clip (G)", "params_m": "parameters (M)"}


class NothingToDrawError(ValueError):
    """The runs lack what a figure shows."""


def write_figures(
    runs: Runs, folder: Path | str, *, formats: Sequence[str] = FORMATS
) -> tuple[list[Path], list[str]]:
    """Every figure that the runs have the numbers for.

    Args:
        runs: what to compare.
        folder: where to.
        formats: endings: ``png``, ``svg``, ``pdf``.

    Returns:
        The files, and a line for every figure that is left out.
    """
    from matplotlib import rc_context

    written, missing = [], []
    for stem, draw in FIGURES.items():
        try:
            figure = draw(runs)
        except NothingToDrawError as error:
            missing.append(f"{stem}: {error}")
            continue
        with rc_context({"svg.hashsalt": stem, "svg.fonttype": "none"}):  # the same file again
            written += [save_figure(figure, Path(folder) / f"{stem}.{f}") for f in formats]
    return written, missing


def training_loss(runs: Runs) -> Figure:
    """The loss on training clips over the epochs."""
    lines = [(t.name, over_epochs(t, "train", "loss")) for t in runs.trainings]
    return curves(lines, "training loss", "no log has the loss of an epoch of training")


def validation_accuracy(runs: Runs) -> Figure:
    """The accuracy on the validation split over the epochs."""
    found = [(t.name, *validation(t)) for t in runs.trainings]
    titles = {title for _, title, points in found if points}
    title = titles.pop() if len(titles) == 1 else "accuracy (%)"
    lines = [(name, points) for name, _, points in found]
    return curves(lines, f"validation {title}", "no log has a validation: TRAIN.EVAL_PERIOD 1")


def learning_rate(runs: Runs) -> Figure:
    """The learning rate over the epochs."""
    lines = [(t.name, learning_rates(t)) for t in runs.trainings]
    return curves(lines, "learning rate", "no log has a learning rate", marks=False)


def curves(
    lines: Sequence[tuple[str, Points]], y_title: str, otherwise: str, *, marks: bool = True
) -> Figure:
    """Lines over epochs, with one legend that never covers them.

    Raises:
        NothingToDrawError: no line has points; ``otherwise`` says what that means.
    """
    from matplotlib.figure import Figure

    lines = [(name, points) for name, points in lines if points]
    if not lines:
        raise NothingToDrawError(otherwise)
    figure = Figure(figsize=(8, 4.4), layout="constrained")
    axes = figure.add_subplot()
    for i, (name, points) in enumerate(lines):
        x, y = zip(*points, strict=True)
        marker = MARKERS[i % len(MARKERS)] if marks and len(x) <= 30 else None
        axes.plot(x, y, label=name, marker=marker, markersize=4, linewidth=1.8, **_style(i))
    values = [y for _, points in lines for _, y in points]
    if "loss" in y_title and min(values) > 0 and max(values) / min(values) > LOG_FROM:
        axes.set_yscale("log")  # losses of several kinds: distillation's sums are larger
    _dress(axes, "epoch", y_title)
    _legend(figure, axes)
    return figure


def model_comparison(runs: Runs) -> Figure:
    """Top-1, top-5 and mean-class accuracy of every network; of several tasks, one bar each."""
    from matplotlib.figure import Figure

    found = {v.name: numbers for v in runs.variants if (numbers := _accuracies(v))}
    if not found:
        raise NothingToDrawError("no run has been tested: tools/run_net.py --eval")
    metrics = list(dict.fromkeys(name for numbers in found.values() for name in numbers))
    height = 1.2 + len(found) * (0.12 + 0.17 * len(metrics))  # inches
    figure = Figure(figsize=(8, height), layout="constrained")
    axes = figure.add_subplot()
    thick = 0.84 / len(metrics)
    for i, metric in enumerate(metrics):
        shown = [(row, n[metric]) for row, n in enumerate(found.values()) if metric in n]
        places = [row + (i - (len(metrics) - 1) / 2) * thick for row, _ in shown]
        bars = axes.barh(
            places, [value for _, value in shown], thick * 0.92, label=metric, color=COLOURS[i % 7]
        )
        axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
    axes.set_yticks(range(len(found)), list(found))
    axes.invert_yaxis()
    axes.margins(x=0.12, y=0.02)
    _dress(axes, "accuracy (%)", "", grid="x")
    _legend(figure, axes)
    return figure


def _accuracies(variant: Variant) -> dict[str, float]:
    """What is known of a network's accuracy, task by task where there are several."""
    if variant.predictions is not None and len(variant.predictions.scores) > 1:
        metrics = variant.predictions.metrics()
        tasks = [*variant.predictions.labels, "action"]
        return {t: metrics[f"{t}_top1_acc"] for t in tasks if f"{t}_top1_acc" in metrics}
    values = {
        METRICS[variant.metric]: variant.accuracy,
        "top-5": variant.top5,
        "mean class": variant.mean_class,
    }
    return {name: value for name, value in values.items() if value is not None}


def memory(runs: Runs) -> Figure:
    """The peak memory of every training, and of one prediction where that was measured."""
    found = [(t.name, *peak) for t in runs.trainings if (peak := peak_memory(t))]
    predicting = [(v.name, v.memory_mib) for v in runs.variants if v.memory_mib is not None]
    if not found and not predicting:
        raise NothingToDrawError("no log has gpu_mem or RAM, and no benchmark a peak memory")
    panels: list[tuple[str, list[tuple[str, float]]]] = [
        (f"training, peak {kind} (GiB)", [(name, gib) for name, k, gib in found if k == kind])
        for kind in ("GPU", "RAM")
    ]
    panels.append(("one prediction, peak (MiB)", predicting))
    return _bar_panels([panel for panel in panels if panel[1]])


def efficiency(runs: Runs) -> Figure:
    """Accuracy against cost, with the front of the best, and the time of an epoch of training."""
    from matplotlib.figure import Figure

    costs = {key: [v for v in runs.variants if _known(v, key)] for key in COSTS}
    key = max(costs, key=lambda k: len(costs[k]))
    timed = [(v.name, s.p50_ms, v.accuracy) for v in runs.variants if v.accuracy is not None
             for s in [v.fastest] if s is not None]  # fmt: skip
    minutes = [(t.name, m) for t in runs.trainings if (m := epoch_minutes(t)) is not None]
    panels: list[Callable[[Axes], None]] = []
    if costs[key]:
        points = [(v.name, getattr(v, key), v.accuracy or 0.0) for v in costs[key]]
        panels.append(lambda axes: _scatter(axes, points, COSTS[key]))
    if timed:
        panels.append(lambda axes: _scatter(axes, timed, "latency of one clip, p50 (ms)"))
    if minutes:
        panels.append(lambda axes: _bars(axes, minutes, "training time per epoch (minutes)"))
    if not panels:
        raise NothingToDrawError("neither costs nor durations are known: tools/benchmark.py")
    figure = Figure(figsize=(5.2 * len(panels), 4.6), layout="constrained")
    for axes, draw in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        draw(axes)
    return figure


def scatter_figure(points: Sequence[tuple[str, float, float]], x_title: str) -> Figure:
    """Accuracy against one cost: name, cost, accuracy of each network."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.6), layout="constrained")
    _scatter(figure.add_subplot(), points, x_title)
    return figure


def _scatter(axes: Axes, points: Sequence[tuple[str, float, float]], x_title: str) -> None:
    places = [(x, y) for _, x, y in points]
    best = front(places)
    axes.step(
        [places[i][0] for i in best], [places[i][1] for i in best],
        where="post", color="0.6", linewidth=1.2, zorder=1,
    )  # fmt: skip
    for i, (_, x, y) in enumerate(points):
        marker, colour = MARKERS[i % len(MARKERS)], COLOURS[i % len(COLOURS)]
        axes.plot(x, y, marker, color=colour, markersize=7, zorder=2)
    named = best if len(points) > 8 else range(len(points))
    for i in named:
        name, x, y = points[i]
        axes.annotate(name, (x, y), xytext=(6, 6), textcoords="offset points", fontsize=8)
    xs = [x for x, _ in places]
    if min(xs) > 0 and max(xs) / min(xs) > 10:
        axes.set_xscale("log")
    axes.margins(0.18, 0.14)
    _dress(axes, x_title, "accuracy (%)", grid="both")


def _bar_panels(panels: Sequence[tuple[str, list[tuple[str, float]]]]) -> Figure:
    from matplotlib.figure import Figure

    rows = max(len(values) for _, values in panels)
    figure = Figure(figsize=(5.2 * len(panels), 1.4 + 0.32 * rows), layout="constrained")
    for axes, (title, values) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        _bars(axes, values, title)
    return figure


def _bars(axes: Axes, values: Sequence[tuple[str, float]], title: str) -> None:
    names = [name for name, _ in values]
    bars = axes.barh(range(len(names)), [value for _, value in values], color=COLOURS[0])
    axes.bar_label(bars, fmt="%.3g", padding=3, fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.16)
    _dress(axes, title, "", grid="x")


def _known(variant: Variant, key: str) -> bool:
    return variant.accuracy is not None and getattr(variant, key) is not None


def _style(number: int) -> dict[str, Any]:
    turn = number // len(COLOURS)
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[turn % len(DASHES)]}


def _dress(axes: Axes, x_title: str, y_title: str, grid: str = "y") -> None:
    axes.set_xlabel(x_title)
    axes.set_ylabel(y_title)
    axes.grid(axis=grid, alpha=0.3)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=min(4, len(labels)), frameon=False,
        fontsize=9,
    )  # fmt: skip


FIGURES: dict[str, Callable[[Runs], Figure]] = {
    "01_training_loss": training_loss,
    "02_validation_accuracy": validation_accuracy,
    "03_model_comparison": model_comparison,
    "04_memory": memory,
    "05_learning_rate": learning_rate,
    "06_efficiency": efficiency,
}
