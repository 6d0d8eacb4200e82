"""The figures of a page: curves, fronts, confusion matrices."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from slowfast.reports import plots
from slowfast.reports.figures import confusion_figure
from slowfast.reports.page.blocks import Block, Chart, Charts, Missing
from slowfast.reports.page.numbers import BENCHMARK
from slowfast.reports.page.svg import COLOURS, Dot, Line, legend, line_chart, scatter_chart
from slowfast.reports.runs.facts import KINDS, METRICS, Runs, Training, Variant, front
from slowfast.reports.runs.series import (
    Points,
    learning_rates,
    over_epochs,
    thinned,
    validation,
)
from slowfast.reports.table import format_cell

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_POINTS = 200  # of a line
TEST = "python tools/run_net.py --cfg YAML --eval TEST.CHECKPOINT_FILE_PATH FILE"


def curve_blocks(runs: Runs, first: Sequence[Variant | None]) -> list[Block]:
    """Loss, accuracy and learning rate over the epochs; those of ``first`` have colours first."""
    if not runs.trainings:
        command = "python tools/run_net.py --cfg YAML OUTPUT_DIR FOLDER"
        return [Missing("No log of a training in these folders.", command)]
    order = {variant.folder: i for i, variant in enumerate(first) if variant is not None}
    ranked = sorted(
        (t for t in runs.trainings if "train_epoch" in t.stats or "val_epoch" in t.stats),
        key=lambda training: min(
            (i for f, i in order.items() if f in (training.folder, training.folder.parent)),
            default=len(order),
        ),
    )
    colours = {training.name: i for i, training in enumerate(ranked)}
    kinds: tuple[tuple[str, str, Callable[[Training], Points], Callable[[Runs], Figure]], ...] = (
        ("Training loss", "loss", lambda t: over_epochs(t, "train", "loss"), plots.training_loss),
        ("Validation accuracy", "accuracy (%)", lambda t: validation(t)[1],
         plots.validation_accuracy),
        ("Learning rate", "learning rate", learning_rates, plots.learning_rate),
    )  # fmt: skip
    charts, missing = [], []
    for title, y_title, read, draw in kinds:
        lines = [
            Line(t.name, thinned(points, MAX_POINTS), colours[t.name])
            for t in ranked
            if (points := read(t))
        ]
        if not lines:
            missing.append(Missing(f"No log has the {title.lower()}."))
            continue
        stem = title.lower().replace(" ", "_")
        html = line_chart(lines, "epoch", y_title)
        charts.append(Chart(html, partial(draw, runs), stem, title))
    names = list(colours.items())
    entries = names[:COLOURS]
    if len(names) > COLOURS + 1:
        entries.append((f"{len(names) - COLOURS} others", COLOURS))
    elif len(names) > COLOURS:
        entries.append(names[COLOURS])
    blocks: list[Block] = [Charts(charts, legend(entries, lines=True))] if charts else []
    return blocks + missing


def front_blocks(runs: Runs, named: Sequence[Variant | None]) -> list[Block]:
    """Accuracy against latency, in every runtime, and against MACs."""
    charts: list[Chart] = []
    missing: list[Block] = []
    runtimes = runs.runtimes
    timed = [
        (v, s.p50_ms, runtimes.index(s.runtime), s.runtime)
        for v in runs.variants if v.accuracy is not None for s in v.speeds
    ]  # fmt: skip
    costed = [
        (v, v.macs_g, KINDS.index(v.kind), v.kind)
        for v in runs.variants if v.accuracy is not None and v.macs_g
    ]  # fmt: skip
    if timed:
        title = "Accuracy and latency"
        charts.append(_front_chart(title, "latency of one clip, p50 (ms)", timed, named))
    else:
        missing.append(Missing("No latency was measured.", BENCHMARK))
    if costed:
        charts.append(_front_chart("Accuracy and MACs", "MACs of one clip (G)", costed, named))
    else:
        missing.append(Missing("No network has both a test and known MACs.", TEST))
    return ([Charts(charts)] if charts else []) + missing


def _front_chart(
    title: str,
    x_title: str,
    points: Sequence[tuple[Variant, float, int, str]],
    named: Sequence[Variant | None],
) -> Chart:
    """A dot per network and group; dots on the front, and those of ``named``, have names."""
    places = [(cost, v.accuracy or 0.0) for v, cost, _, _ in points]
    best = front(places)
    dots, seen = [], set()
    for i, (variant, cost, colour, group) in enumerate(points):
        is_named = i in best or variant in named or len(points) <= 6
        label = variant.name if is_named and variant.name not in seen else ""
        seen |= {label}
        place = cost, variant.accuracy or 0.0
        dots.append(Dot(*place, colour, _tip(variant), label, group))
    y_title = f"{METRICS[points[0][0].metric]} accuracy (%)"
    line = [places[i] for i in best]
    keys = sorted({(colour, group) for _, _, colour, group in points})
    sizes = (("wide-only", 560, 370), ("narrow-only", 360, 330))
    html = legend([(group, colour) for colour, group in keys]) + "".join(
        f'<div class="{name}">'
        f"{scatter_chart(dots, line, x_title, y_title, width=width, height=height)}</div>"
        for name, width, height in sizes
    )
    pictured = [(v.name, cost, v.accuracy or 0.0) for v, cost, _, _ in points]
    draw = partial(plots.scatter_figure, pictured, x_title)
    caption = "Upper left is better. No network lies beyond the dotted line."
    return Chart(html, draw, title.lower().replace(" ", "_"), title, caption)


def _tip(variant: Variant) -> str:
    """Everything about a network, a line each."""
    lines = [variant.name]
    if variant.accuracy is not None:
        lines.append(f"{METRICS[variant.metric]} {variant.accuracy:.1f} % ({variant.split})")
    for speed in variant.speeds:
        p90 = "" if speed.p90_ms is None else f", p90 {speed.p90_ms:.3g}"
        lines.append(f"{speed.runtime}: p50 {speed.p50_ms:.3g}{p90} ms")
    if variant.params_m is not None:
        lines.append(f"{format_cell(float(variant.params_m))} M parameters")
    if variant.macs_g is not None:
        macs = variant.macs_g
        lines.append(f"{format_cell(float(macs))} GMACs ({format_cell(2.0 * macs)} GFLOPs)")
    return "|".join(line.replace("|", "/") for line in lines)


def confusion_blocks(runs: Runs, first: Sequence[Variant | None]) -> list[Block]:
    """Confusion matrices, two side by side where two networks have predictions."""
    tested = [v for v in runs.variants if v.predictions is not None and v.predictions.labels]
    if not tested:
        return [
            Missing(
                "No predictions of single videos in these folders: no confusion matrix.",
                f"{TEST} TEST.SAVE_RESULTS_PATH preds",
            )
        ]
    shown = [v for v in first if v in tested] + [v for v in tested if v not in first]
    blocks: list[Block] = []
    tasks = dict.fromkeys(task for v in tested if v.predictions for task in v.predictions.labels)
    for task in tasks:
        networks = [v for v in shown if _matrix(v, task) is not None]
        sizes = {len(m) for v in networks if (m := _matrix(v, task)) is not None}
        if len(sizes) != 1:
            continue  # of several datasets, or labels of which a video has several
        title = "" if len(tasks) == 1 else f"{task}: "
        source = f"confusion-{task}"
        data = _confusion_data(networks, task)
        charts = []
        for i, variant in enumerate(networks[:2]):
            predictions = variant.predictions
            assert predictions is not None
            draw = partial(
                confusion_figure,
                predictions.confusion(task).numpy(),
                predictions.class_names.get(task),
            )
            script = "" if i else _script(source, data)
            html = script + _confusion_box(source, networks, i)
            stem = f"confusion_{task}" + (f"_{i + 1}" if i else "")
            charts.append(Chart(html, draw, stem, f"{title}{variant.name}"))
        blocks.append(Charts(charts))
    return blocks


def _matrix(variant: Variant, task: str) -> np.ndarray | None:
    predictions = variant.predictions
    if predictions is None or task not in predictions.labels:
        return None
    if predictions.labels[task].ndim != 1:
        return None
    return predictions.confusion(task).numpy()


def _confusion_data(networks: Sequence[Variant], task: str) -> str:
    first = networks[0].predictions
    assert first is not None
    names = first.class_names.get(task)
    entries = []
    for variant in networks:
        matrix = _matrix(variant, task)
        assert matrix is not None
        cells = [[int(r), int(c), int(matrix[r, c])] for r, c in np.argwhere(matrix)]
        entries.append({"name": variant.name, "cells": cells})
    size = first.scores[task].shape[1]
    found = {"names": names or [str(i) for i in range(size)], "networks": entries}
    return json.dumps(found, separators=(",", ":"))


def _script(key: str, data: str) -> str:
    safe = data.replace("<", "\\u003c")  # a name may not end the element
    return f'<script type="application/json" id="{escape(key, quote=True)}">{safe}</script>'


def _confusion_box(source: str, networks: Sequence[Variant], first: int) -> str:
    options = "".join(
        f'<option value="{i}">{escape(v.name)}</option>' for i, v in enumerate(networks)
    )
    label = f"confusion matrix of {escape(networks[first].name, quote=True)}"
    hidden = " hidden" if len(networks) < 3 else ""
    return (
        f'<div class="confusion" data-source="{escape(source, quote=True)}" data-first="{first}">'
        f'<div class="bar"><select aria-label="network"{hidden}>{options}</select>'
        '<button type="button" aria-label="zoom in">+</button>'
        '<button type="button" aria-label="zoom out">&minus;</button>'
        '<button type="button">reset</button></div>'
        f'<canvas role="img" aria-label="{label}"></canvas></div>'
    )
