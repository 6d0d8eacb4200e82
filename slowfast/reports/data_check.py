"""What ``tools/check_data.py`` shows and writes."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from slowfast.datasets.bad_list import write_bad_list
from slowfast.datasets.check.lists import ClassCounts
from slowfast.datasets.check.problems import KINDS, Problem
from slowfast.datasets.check.scan import CheckResult
from slowfast.reports.figures import save_figure
from slowfast.reports.table import Table
from slowfast.utils.files import write_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BAD_VIDEOS = "bad_videos.txt"
PROBLEMS = "problems.csv"
HISTOGRAM = "classes.png"
MAX_NAMED = 120  # classes up to which every bar has its name
EXAMPLE_WIDTH = 90


def counted(result: CheckResult, allowed: Collection[str] = ()) -> list[Problem]:
    """The problems of kinds that are not ``allowed``."""
    return [problem for problem in result.problems if problem.kind not in allowed]


def problem_table(result: CheckResult) -> Table:
    """A row per kind of problem: what it means, how many there are, an example."""
    examples: dict[str, Problem] = {}
    for problem in result.problems:
        examples.setdefault(problem.kind, problem)
    rows = [
        (kind, KINDS[kind], count, _example(examples[kind]))
        for kind in KINDS
        if (count := result.counts()[kind])
    ]
    splits = ", ".join(f"{split} {count:,}" for split, count in result.records.items())
    title = f"{splits} records in {result.num_files:,} files, {result.seconds:.0f} s"
    for split, other in result.same.items():
        title += f"; {split} repeats {other}"
    return Table(("problem", "meaning", "count", "for example"), rows, title)


def _example(problem: Problem) -> str:
    if not problem.source:  # of a whole split: the message says all, the place first
        return problem.detail
    text = f"{problem.source}: {problem.detail}"
    return text if len(text) <= EXAMPLE_WIDTH else "..." + text[3 - EXAMPLE_WIDTH :]


def class_table(result: CheckResult) -> Table:
    """Per task and split: how many classes occur, and the rarest and commonest ones' counts."""
    rows = []
    for task, by_split in result.classes.items():
        for split, counts in by_split.items():
            numbers = sorted(counts.values()) or [0]
            rows.append(
                (task, split, len(counts), numbers[0], numbers[len(numbers) // 2], numbers[-1])
            )
    return Table(("task", "split", "classes", "rarest", "median", "commonest"), rows)


def write_check(result: CheckResult, folder: Path | str) -> list[Path]:
    """Write the list of bad videos, all problems as CSV, and the picture of the classes."""
    folder = Path(folder)
    write_bad_list(folder / BAD_VIDEOS, result.bad_videos())
    table = io.StringIO(newline="")
    rows = csv.writer(table)
    rows.writerow(("problem", "split", "source", "path", "name", "detail"))
    for p in result.problems:
        rows.writerow((p.kind, p.split, p.source, p.path, p.name, p.detail))
    write_text(folder / PROBLEMS, table.getvalue())
    written = [folder / BAD_VIDEOS, folder / PROBLEMS]
    if any(counts for by_split in result.classes.values() for counts in by_split.values()):
        figure = class_histogram(result.classes, result.class_names)
        written.append(save_figure(figure, folder / HISTOGRAM))
    return written


def class_histogram(classes: ClassCounts, names: Mapping[str, list[str]]) -> Figure:
    """Records per class, a panel per task and a colour per split, classes by frequency.

    Args:
        classes: task -> split -> class id -> records.
        names: task -> class names by id; ids where there are none.
    """
    from matplotlib.figure import Figure

    most = max(len(set().union(*by_split.values())) for by_split in classes.values())
    width = float(np.clip(2 + 0.16 * most, 5, 24))
    figure = Figure(figsize=(width, 3.2 * len(classes) + 0.6), layout="constrained")
    panels = figure.subplots(len(classes), 1, squeeze=False)[:, 0]
    for axes, (task, by_split) in zip(panels, classes.items(), strict=True):
        first = next(iter(by_split.values()))
        ids = sorted(set().union(*by_split.values()), key=lambda label: (-first[label], label))
        bar = 0.8 / max(len(by_split), 1)
        for place, (split, counts) in enumerate(by_split.items()):
            offsets = np.arange(len(ids)) - 0.4 + bar * (place + 0.5)
            axes.bar(offsets, [counts[label] for label in ids], bar, label=split)
        known = names.get(task, [])
        labels = [known[label] if 0 <= label < len(known) else str(label) for label in ids]
        if len(ids) <= MAX_NAMED:
            axes.set_xticks(range(len(ids)), labels, rotation=90, fontsize=6)
        else:
            axes.set_xlabel("classes by frequency")
        axes.set(ylabel="records", title=f"{task}: {len(ids)} classes", xlim=(-1, len(ids)))
        if max(max(counts.values(), default=0) for counts in by_split.values()) > 1000:
            axes.set_yscale("log")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper")
    return figure
