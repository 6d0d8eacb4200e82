"""What stands on the page about a set of runs."""

from __future__ import annotations

from slowfast.reports.page.blocks import Block, Code, Grid, Missing, Page, Section, Text
from slowfast.reports.page.clips import clip_blocks
from slowfast.reports.page.environment import environment_lines
from slowfast.reports.page.numbers import (
    class_changes,
    exports_table,
    signed,
    streams_table,
    summary,
    tiles,
    variants_table,
)
from slowfast.reports.page.pictures import TEST, confusion_blocks, curve_blocks, front_blocks
from slowfast.reports.runs.facts import Runs, Variant, choose_compressed, choose_teacher
from slowfast.reports.table import Table

SHOWN_CLASSES = 12  # with the largest changes
EXPORT = "python tools/export.py --model_path FILE --format onnx openvino"
PRUNE = "python tools/prune.py --cfg YAML --model_path FILE --target_macs 0.5 --finetune_epochs 10"


class UnknownNetworkError(LookupError):
    """A network that is in none of the folders."""


def page_of(runs: Runs, title: str, *, teacher: str = "", compressed: str = "") -> Page:
    """The page about a set of runs.

    Args:
        runs: what there is.
        title: of the page.
        teacher: name of the network the others are compared with; chosen by default.
        compressed: name of the network that the page is about; chosen by default.
    """
    small = _named(runs, compressed) if compressed else choose_compressed(runs.variants)
    large = _named(runs, teacher) if teacher else choose_teacher(runs.variants, small)
    small = None if small is large else small
    first = [small, large]
    sections = [
        Section("networks", "All networks", _networks(runs, large, small)),
        Section("fronts", "Accuracy and cost", front_blocks(runs, first)),
        Section("training", "Training", curve_blocks(runs, first)),
        Section("confusion", "Confusion", confusion_blocks(runs, [large, small])),
        Section("classes", "Which actions changed", _classes(large, small)),
        Section("clips", "Sample clips", clip_blocks(runs, large, small)),
        Section("files", "Exported files", _files(runs)),
        Section("again", "Doing it again", _again(runs)),
    ]
    return Page(title, summary(runs, large, small), tiles(large, small), sections)


def _named(runs: Runs, name: str) -> Variant:
    found = next((v for v in runs.variants if v.name == name), None)
    if found is None:
        known = ", ".join(v.name for v in runs.variants) or "none"
        raise UnknownNetworkError(f"no network {name!r} in these runs; there are: {known}")
    return found


def _networks(runs: Runs, teacher: Variant | None, compressed: Variant | None) -> list[Block]:
    if not runs.variants:
        return [Missing("No network has been tested.", TEST)]
    blocks: list[Block] = [*variants_table(runs, teacher, compressed)]
    if compressed is None:
        blocks.append(Missing("Nothing was compressed.", PRUNE))
    splits = {v.split for v in runs.variants if v.accuracy is not None}
    where = "the test split" if splits == {"test"} else f"the splits {', '.join(sorted(splits))}"
    lines = [f"Accuracy is of {where}; change is in points from the teacher of each network."]
    lines.append("A multiply-add is one MAC and two FLOPs. Latency is of one clip.")
    lines += [f"**{v.name}** is refused: {v.refused}." for v in runs.variants if v.refused]
    if runs.machines:
        lines.append(f"Measured on: {'; '.join(runs.machines)}.")
    return [*blocks, Text(" ".join(lines))]


def _classes(teacher: Variant | None, compressed: Variant | None) -> list[Block]:
    if teacher is None or compressed is None:
        return [Missing("There is no compressed network to compare with its teacher.", PRUNE)]
    without = [v for v in (teacher, compressed) if v.predictions is None]
    if without:
        command = "python tools/run_net.py --cfg YAML --eval TEST.CHECKPOINT_FILE_PATH {} "
        command += "TEST.SAVE_RESULTS_PATH preds OUTPUT_DIR FOLDER"
        return [
            Missing(f"No predictions of single videos of **{v.name}**.",
                    command.format(v.checkpoint or "FILE"))
            for v in without
        ]  # fmt: skip
    assert teacher.predictions is not None
    tasks = [t for t, labels in teacher.predictions.labels.items() if labels.ndim == 1]
    found: list[Block] = []
    for task in tasks:
        found += _task_classes(teacher, compressed, task, several=len(tasks) > 1)
    return found or [Missing("The videos have several labels each: no recall per class.")]


def _task_classes(
    teacher: Variant, compressed: Variant, task: str, *, several: bool
) -> list[Block]:
    rows = class_changes(teacher, compressed, task)
    if not rows:
        return []
    worse = [row for row in rows if float(row[1] or 0) < 0]
    better = [row for row in rows if float(row[1] or 0) > 0]
    same = len(rows) - len(worse) - len(better)
    prefix = f"**{task}**: " if several else ""
    text = (
        f"{prefix}Of {len(rows)} actions, {len(worse)} are recognised less often than by "
        f"**{teacher.name}**, {len(better)} more often, {same} as often."
    )
    if worse:
        text += f" Most was lost in {worse[0][0]}: {signed(float(worse[0][1] or 0))} points."
    columns = ["action", "change (points)", f"{teacher.name} (%)", f"{compressed.name} (%)",
               "videos"]  # fmt: skip
    blocks: list[Block] = [Text(text)]
    half = SHOWN_CLASSES // 2
    picked = worse[:half] + better[-half:]
    if picked:
        blocks.append(Grid(Table(columns, picked), bars=1))
    if len(rows) > len(picked):
        blocks.append(Grid(Table(columns, rows), bars=1, folded=f"All {len(rows)} actions"))
    return blocks


def _files(runs: Runs) -> list[Block]:
    if not runs.exports:
        return [
            Missing("No exported file in these folders.", EXPORT),
            Missing("No stream either.", f"{EXPORT} --stream"),
        ]
    blocks: list[Block] = []
    clips, streams = exports_table(runs), streams_table(runs)
    if clips is not None:
        text = "Compared with PyTorch on clips of noise when they were written."
        blocks += [Grid(clips), Text(text)]
    if streams is not None:
        blocks += [
            Text("Streams take one frame at a time and keep their state between frames."),
            Grid(streams),
        ]
    else:
        blocks.append(Missing("No exported stream.", f"{EXPORT} --stream"))
    return blocks


def _again(runs: Runs) -> list[Block]:
    blocks: list[Block] = []
    if runs.commands:
        lines = [f"# {name}\n{command}" for name, command in runs.commands.items()]
        blocks.append(Code("\n\n".join(lines)))
    else:
        blocks.append(
            Missing("The folders keep neither a config nor a pipeline's commands.",
                    "python tools/pipeline.py --dry_run")
        )  # fmt: skip
    blocks.append(Code("\n".join(environment_lines(runs.machines)), folded="Environment"))
    blocks += [Missing(f"Left out: {note}") for note in runs.notes]
    return blocks
