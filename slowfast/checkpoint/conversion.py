"""From one layout of weights to another, with an account of every tensor."""

from __future__ import annotations

import fnmatch
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from slowfast.checkpoint.caffe2 import caffe2_bytes, read_blobs
from slowfast.checkpoint.convert import find_weights
from slowfast.checkpoint.io import (
    CheckpointError,
    read_checkpoint,
    save_atomically,
)
from slowfast.checkpoint.layouts import LAYOUTS, State, Step, detect, plan, reason_for
from slowfast.checkpoint.match import MatchReport, compare, fit_shapes
from slowfast.checkpoint.pytorchvideo import is_pytorchvideo
from slowfast.checkpoint.resize import fit_to_checkpoint
from slowfast.config import cfg_from_yaml
from slowfast.utils.files import write_atomically

NAMES_SHOWN = 5
KEPT_KEYS = ("cfg", "widths")
KEPT, RENAMED, LEFT_OUT, ADDED, UNMATCHED = "kept", "renamed", "left out", "added", "unmatched"


@dataclass(frozen=True)
class Row:
    """What became of one tensor.

    Attributes:
        source: its name in the file; ``None``: it was added.
        target: its name in the result; ``None``: it was left out.
        shape: in the file, or of what was added.
        status: one of the constants above; ``unmatched``: without counterpart and without reason.
        note: why it has no counterpart, or how it was rearranged.
    """

    source: str | None
    target: str | None
    shape: tuple[int, ...]
    status: str
    note: str = ""


@dataclass(frozen=True)
class Conversion:
    """Weights in another layout, and how they got there.

    Attributes:
        path: the file.
        layouts: names of the two.
        state: the result.
        rows: one per tensor of the file and per tensor added.
        fit: comparison with the model, if one was given.
        unread: other entries of the file's dictionary, which are not weights.
        kept: those of them that stay with the weights: ``cfg``, and ``widths`` of a pruned network.
    """

    path: str
    layouts: tuple[str, str]
    state: dict[str, Tensor]
    rows: tuple[Row, ...]
    fit: MatchReport | None = None
    unread: tuple[str, ...] = ()
    kept: Mapping[str, str] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """Why the result must not be used; empty: it may."""
        unmatched = [row for row in self.rows if row.status == UNMATCHED]
        lost = [row.source for row in unmatched if row.source is not None]
        made = [row.target for row in unmatched if row.target is not None]
        lines: list[str] = []
        if lost:
            advice = "Name those that may be with --drop 'PATTERN'"
            lines.append(f"{_count(lost)} would be lost: {_some(lost)}. {advice}")
        if made:
            lines.append(f"{_count(made)} of unknown origin: {_some(made)}")
        return lines + (_misfits(self.fit) if self.fit is not None else [])

    def check(self) -> None:
        """Raise where something would be lost silently.

        Raises:
            CheckpointError: names the tensors.
        """
        if self.problems:
            raise CheckpointError(
                f"{self.path} ({self.layouts[0]}) cannot become {self.layouts[1]}:\n  "
                + "\n  ".join(self.problems)
            )

    def summary(self) -> list[tuple[str, str, int, int, str]]:
        """Per status and note: both, tensors, numbers in them, an example."""
        groups: dict[tuple[str, str], list[Row]] = {}
        for row in self.rows:
            groups.setdefault((row.status, row.note), []).append(row)
        return [
            (status, note, len(rows), sum(math.prod(r.shape) for r in rows), _example(rows[0]))
            for (status, note), rows in groups.items()
        ]

    def as_dict(self) -> dict[str, Any]:
        """Everything, as plain data."""
        fit = self.fit
        return {
            "from": self.layouts[0],
            "to": self.layouts[1],
            "tensors": dict(Counter(row.status for row in self.rows)),
            "problems": self.problems,
            "not_weights": list(self.unread),
            "model": None if fit is None else {
                "matched": len(fit.loaded),
                "missing": fit.missing,
                "unexpected": fit.unexpected,
                "mismatched": {name: list(map(list, s)) for name, s in fit.mismatched.items()},
            },
            "rows": [
                {"source": r.source, "target": r.target, "shape": list(r.shape),
                 "status": r.status, "note": r.note} for r in self.rows
            ],
        }  # fmt: skip


def convert_file(
    path: Path | str,
    *,
    source: str = "auto",
    target: str = "pyslowfast",
    model: nn.Module | None = None,
    arch: str | None = None,
    drop: Sequence[str] = (),
) -> Conversion:
    """The weights of a file in another layout. Look at ``problems`` before using them.

    Args:
        path: read without running anything in it.
        source: key of ``LAYOUTS``, or ``auto``.
        target: key of ``LAYOUTS``.
        model: of the weights, on any device: names and shapes are compared with it.
        arch: ``MODEL.ARCH``, if known.
        drop: patterns (``*`` for anything) of names in the file that may be left out.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: it cannot be read, is of another layout, or has names that no rule knows.
    """
    checkpoint = read_any(path, source)
    state = find_weights(checkpoint, source=str(path))
    source = _layout_of(state, source)
    if "widths" in checkpoint and target != "pyslowfast":
        raise CheckpointError(
            f"{path} is of a pruned network, which no other project can build: keep its layout"
        )
    if model is not None:
        fit_to_checkpoint(model, checkpoint, source=str(path))
    inside = model.state_dict() if model is not None else {}
    wrapped = inside if is_pytorchvideo(inside) else None
    before, after = plan(source, target, arch=arch or _arch_in(checkpoint), inside=wrapped)
    taken = {name: value for name, value in state.items() if not _matches(name, drop)}
    ours, rows = follow(taken, before)
    fit = None
    if model is not None:
        ours = fit_shapes(ours, model)
        fit = compare(model, ours)
        fit.missing = [name for name in fit.missing if not name.endswith("num_batches_tracked")]
    result, more = follow(ours, after)
    dropped = [
        Row(name, None, tuple(value.shape), LEFT_OUT, "asked for (--drop)")
        for name, value in state.items()
        if name not in taken
    ]
    kept = {key: checkpoint[key] for key in KEPT_KEYS if isinstance(checkpoint.get(key), str)}
    others = checkpoint if checkpoint is not state else {}
    return Conversion(
        str(path),
        (source, target),
        result,
        (*join(rows, more), *dropped),
        fit=fit,
        unread=tuple(sorted(k for k in others if checkpoint[k] is not state and k not in kept)),
        kept=kept,
    )


def _layout_of(state: State, name: str) -> str:
    """``name``, or the layout that the names of the weights are of."""
    if name == "auto":
        return detect(state)
    # PySlowFast's own files of PyTorchVideo's networks have those names, behind a prefix.
    return "pytorchvideo" if name == "pyslowfast" and is_pytorchvideo(state) else name


def _arch_in(checkpoint: Mapping[str, Any]) -> str | None:
    """``MODEL.ARCH`` of the config in a checkpoint, if there is one."""
    text = checkpoint.get("cfg")
    if not isinstance(text, str) or not text.strip():
        return None
    return str(cfg_from_yaml(text).MODEL.ARCH)


def read_any(path: Path | str, source: str) -> dict[str, Any]:
    """The dictionary in a file; ``{"blobs": ...}`` for caffe2's."""
    if source == "caffe2" or (source == "auto" and Path(path).suffix == ".pkl"):
        return {"model_state": read_blobs(path)}
    return read_checkpoint(path)


def write_converted(
    conversion: Conversion, path: Path | str, *, cfg_yaml: str | None = None
) -> None:
    """Write the result as the target's project would, whole or not at all.

    Args:
        conversion: without ``problems``.
        path: file to write.
        cfg_yaml: config of the weights, to stand beside them in PySlowFast's layout; default:
            the one in the file, if there is one.
    """
    conversion.check()
    key = LAYOUTS[conversion.layouts[1]].key
    if key is None:
        write_atomically(Path(path), lambda file: file.write(caffe2_bytes(conversion.state)))
        return
    state: dict[str, Any] = {key: conversion.state}
    if conversion.layouts[1] == "pyslowfast":
        state |= conversion.kept
        state |= {"cfg": cfg_yaml} if cfg_yaml is not None else {}
    save_atomically(state, Path(path))


def follow(state: State, steps: Iterable[Step]) -> tuple[dict[str, Tensor], list[Row]]:
    """The result of several steps, and what became of every tensor."""
    current, rows = dict(state), None
    for step in steps:
        result = step.rename(current)
        found = trace(current, result, step)
        current, rows = result, found if rows is None else join(rows, found)
    if rows is None:
        rows = [Row(name, name, tuple(value.shape), KEPT) for name, value in current.items()]
    return current, rows


def trace(before: State, after: State, step: Step) -> list[Row]:
    """Which entry of ``after`` each entry of ``before`` is, told by the tensors themselves."""
    places: dict[tuple[int, int], list[str]] = {}
    for name, value in after.items():
        places.setdefault(_place(value), []).append(name)
    rows, hit = [], set()
    for name, value in before.items():
        shape = tuple(value.shape)
        here = places.get(_place(value))
        target, note = (here.pop(0), "") if here else (_transposed(value, after), "transposed")
        if target is not None and not note and after[target].shape != value.shape:
            note = "reshaped"
        if target is not None:
            hit.add(target)
            rows.append(Row(name, target, shape, KEPT if target == name else RENAMED, note))
            continue
        reason = reason_for(name, step.dropped)
        rows.append(Row(name, None, shape, LEFT_OUT if reason else UNMATCHED, reason or ""))
    for name, value in after.items():
        if name not in hit:
            reason = reason_for(name, step.added)
            status = ADDED if reason else UNMATCHED
            rows.append(Row(None, name, tuple(value.shape), status, reason or ""))
    return rows


def join(first: Sequence[Row], second: Sequence[Row]) -> list[Row]:
    """Rows of two steps as those of one."""
    follows = {row.source: row for row in second if row.source is not None}
    rows = []
    for row in first:
        if row.target is None:
            rows.append(row)
            continue
        last = follows.get(row.target, row)
        if row.source is None and last.target is None:
            continue  # added, then left out again
        status = last.status if last.target is None or row.source is not None else row.status
        if status in (KEPT, RENAMED):
            status = KEPT if row.source == last.target else RENAMED
        note = "; ".join(dict.fromkeys(filter(None, (row.note, last.note))))
        rows.append(replace(row, target=last.target, status=status, note=note))
    return [*rows, *(row for row in second if row.source is None)]


def _misfits(fit: MatchReport) -> list[str]:
    """What does not agree with the model."""
    shapes = [f"{n} {theirs} not {ours}" for n, (theirs, ours) in fit.mismatched.items()]
    table = (
        (fit.missing, "of the model that are not in the file"),
        (fit.unexpected, "of the file that are not in the model"),
        (shapes, "of another shape in the model"),
    )
    lines = [f"{_count(names)} {what}: {_some(names)}" for names, what in table if names]
    if fit.heads:
        classes = fit.mismatched[fit.heads[0]][0][0]
        lines.append(f"the classifier has {classes} classes: set MODEL.NUM_CLASSES to that")
    return lines


def _count(names: Sequence[str]) -> str:
    return f"{len(names)} tensor{'s' if len(names) > 1 else ''}"


def _place(value: Tensor) -> tuple[int, int]:
    """Where its numbers are: the same for a view of it."""
    return value.untyped_storage().data_ptr(), int(value.storage_offset())


def _transposed(value: Tensor, after: State) -> str | None:
    if value.ndim != 2:
        return None
    same = (n for n, v in after.items() if v.shape == value.t().shape and torch.equal(v, value.t()))
    return next(same, None)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _some(names: Sequence[str]) -> str:
    more = f", ... {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def _example(row: Row) -> str:
    return " -> ".join(name for name in (row.source, row.target) if name)
