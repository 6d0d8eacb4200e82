"""What is wrong with the lists of a dataset, without opening a video."""

from __future__ import annotations

import itertools
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from slowfast.datasets.base import UNLABELLED, ClipRecord, Labels
from slowfast.datasets.check.problems import Problem

Splits = Mapping[str, Sequence[ClipRecord]]
ClassCounts = dict[str, dict[str, Counter[int]]]  # task -> split -> class id -> records


def by_task(labels: Labels, tasks: Sequence[str]) -> Iterator[tuple[str, int]]:
    """``(task, class id)`` pairs; labels without a task belong to the first."""
    if isinstance(labels, dict):
        yield from labels.items()
    else:
        for label in labels if isinstance(labels, tuple) else (labels,):
            yield tasks[0], label


def count_classes(splits: Splits, tasks: Sequence[str]) -> ClassCounts:
    """How often each class occurs."""
    counts: ClassCounts = {task: {split: Counter() for split in splits} for task in tasks}
    for split, records in splits.items():
        for record in records:
            for task, label in by_task(record.labels, tasks):
                if label != UNLABELLED:
                    counts.setdefault(task, {}).setdefault(split, Counter())[label] += 1
    return counts


def wrong_labels(splits: Splits, num_classes: Mapping[str, int]) -> Iterator[Problem]:
    """Labels outside 0 to ``num_classes[task] - 1``; only a test list may have none."""
    tasks = list(num_classes)
    there = {pair for part in splits.values() for r in part for pair in by_task(r.labels, tasks)}
    for split, records in splits.items():
        for record in records:
            for task, label in by_task(record.labels, tasks):
                classes = num_classes.get(task, 0)
                unknown = split == "test" and label == UNLABELLED
                if not (0 <= label < classes or unknown):
                    detail = f"{task} {label}, the model's classes are 0 to {classes - 1}"
                    if label == classes and (task, 0) not in there:
                        detail += ", and no label is 0: do they count from 1?"
                    yield _problem("label", split, record, detail)


def duplicates(splits: Splits) -> Iterator[Problem]:
    """Records of one split that are the same part of the same file."""
    for split, records in splits.items():
        first: dict[tuple[object, ...], ClipRecord] = {}
        for record in records:
            key = (_file(record), *bounds(record), record.start_frame is None)
            other = first.setdefault(key, record)
            if other is not record:
                same = "same" if other.labels == record.labels else "another"
                yield _problem("duplicate", split, record, f"also {other.source}, {same} label")


def overlaps(splits: Splits) -> Iterator[Problem]:
    """Files of which two splits use the same part; one problem per file and pair of splits."""
    uses: dict[str, dict[str, list[ClipRecord]]] = defaultdict(lambda: defaultdict(list))
    for split, records in splits.items():
        for record in records:
            uses[_file(record)][split].append(record)
    for by_split in uses.values():
        for one, other in itertools.combinations(by_split, 2):
            shared = list(_shared(by_split[one], by_split[other]))
            if shared:
                first, second = shared[0]
                count = f" and {len(shared) - 1} more" if len(shared) > 1 else ""
                yield _problem("overlap", f"{one}, {other}", first, f"also {second.source}{count}")


def _shared(
    ones: Sequence[ClipRecord], others: Sequence[ClipRecord]
) -> Iterator[tuple[ClipRecord, ClipRecord]]:
    """The pairs of segments of one file that have moments in common."""
    parts = [
        (bounds(record), side, record)
        for side, part in enumerate((ones, others))
        for record in part
    ]
    parts.sort(key=lambda part: part[:2])
    for place, ((_, end), side, record) in enumerate(parts):
        for (start, _), other_side, other in parts[place + 1 :]:
            if start >= end:
                break
            if other_side != side:
                yield (record, other) if side == 0 else (other, record)


def same_content(
    digests: Mapping[str, str], uses: Mapping[str, Sequence[tuple[str, ClipRecord]]]
) -> Iterator[Problem]:
    """Files of other names that hold the same bytes.

    Args:
        digests: path -> digest of the content, empty where there is none.
        uses: path -> ``(split, record)`` of the records in it.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for path, digest in digests.items():
        groups[digest].append(path)
    groups.pop("", None)
    for paths in groups.values():
        for other in paths[1:]:
            splits = {split for path in (paths[0], other) for split, _ in uses[path]}
            kind = "overlap" if len(splits) > 1 else "duplicate"
            record = uses[other][0][1]
            detail = f"same content as {paths[0]} ({uses[paths[0]][0][1].source})"
            yield _problem(kind, ", ".join(sorted(splits)), record, detail)


def same_lists(splits: Splits) -> dict[str, str]:
    """Splits that repeat an earlier one record by record: split -> the earlier one.

    Datasets without a test list test on the validation list.
    """
    found: dict[str, str] = {}
    for one, other in itertools.combinations(splits, 2):
        if other not in found and one not in found and splits[one] == splits[other]:
            found[other] = one
    return found


def bounds(record: ClipRecord) -> tuple[float, float]:
    """Start and end of a record in its file, in seconds or frames, the end not included."""
    if record.start_frame is not None or record.end_frame is not None:
        last = record.end_frame
        return record.start_frame or 0, math.inf if last is None else last + 1
    return record.start_s, math.inf if record.end_s is None else record.end_s


def group_by_file(splits: Splits) -> dict[str, list[tuple[str, ClipRecord]]]:
    """Path -> ``(split, record)`` of all records in that file."""
    uses: dict[str, list[tuple[str, ClipRecord]]] = defaultdict(list)
    for split, records in splits.items():
        for record in records:
            uses[record.path].append((split, record))
    return dict(uses)


def equal_sizes(sizes: Iterable[tuple[str, int]]) -> list[str]:
    """Paths that share their size with another: only these can have the same content."""
    groups: dict[int, list[str]] = defaultdict(list)
    for path, size in sizes:
        groups[size].append(path)
    groups.pop(-1, None)
    return [path for paths in groups.values() if len(paths) > 1 for path in paths]


def _file(record: ClipRecord) -> str:
    """One spelling per file, links followed."""
    folder, name = os.path.split(os.path.realpath(record.path))
    return os.path.join(folder, name)


def _problem(kind: str, split: str, record: ClipRecord, detail: str) -> Problem:
    return Problem(kind, split, record.path, detail, record.source, name=record.name or record.path)
