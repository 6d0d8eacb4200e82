"""Kinetics-style lists: ``train.csv``, ``val.csv``, ``test.csv`` with a path and a label per row.

Read as PySlowFast does, and more tolerantly: the separator is found out, paths may be quoted or
hold spaces, a third column between path and label is ignored.
"""

from __future__ import annotations

import csv
import logging
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from slowfast.datasets.annotations import AnnotationError, parse_class, read_lines
from slowfast.datasets.base import (
    ClipRecord,
    DataError,
    Labels,
    build_class_counts,
    read_class_names,
)
from slowfast.datasets.missing import check_files, check_folder
from slowfast.datasets.video_folder import VIDEO_SUFFIXES
from slowfast.utils.errors import shortened

if TYPE_CHECKING:
    from yacs.config import CfgNode

log = logging.getLogger(__name__)

SEPARATORS = (",", "\t", ";", "|")  # tried in this order; a space otherwise
_NUMBER = re.compile(r"\s*-?\d+\s*")


class Kinetics:
    """Videos listed in CSV files.

    Args:
        root: folder with ``train.csv``, ``val.csv``, ``test.csv``.
        num_classes: classes of each task (one entry for a single task).
        prefix: joined in front of every path; relative to ``root``, to the working directory, or
            absolute.
        separator: of path and label; another one is recognised all the same.
        tasks: names of the label sets when rows end with several labels.
        class_names: by class id, per task.
        skip_rows: rows to pass over at the top.
    """

    def __init__(
        self,
        root: str | Path,
        num_classes: Sequence[int],
        *,
        prefix: str = "",
        separator: str = " ",
        tasks: Sequence[str] = (),
        class_names: dict[str, list[str]] | None = None,
        skip_rows: int = 0,
    ) -> None:
        self.root = Path(root)
        self.num_classes = tuple(num_classes)
        self.prefix = prefix
        self.separator = separator
        self.tasks = tuple(tasks)
        self.class_names = class_names
        self.skip_rows = skip_rows

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> Self:
        """Reads DATA.PATH_*, DATA.CLASS_NAMES_PATH, DATA.SKIP_ROWS, MODEL.NUM_CLASSES, .TASKS."""
        names = cfg.DATA.CLASS_NAMES_PATH
        return cls(
            cfg.DATA.PATH_TO_DATA_DIR,
            build_class_counts(cfg),
            prefix=cfg.DATA.PATH_PREFIX,
            separator=cfg.DATA.PATH_LABEL_SEPARATOR,
            tasks=cfg.MODEL.TASKS if len(cfg.MODEL.TASKS) > 1 else (),
            class_names={"action": read_class_names(names)} if names else None,
            skip_rows=cfg.DATA.SKIP_ROWS,
        )

    def records(self, split: str) -> list[ClipRecord]:
        """The videos of ``split``; ``test`` without a list of its own takes ``val.csv``.

        Raises:
            DataError: no list, or none of its videos exists.
            MissingVideosError: some do not, of val or test.
            AnnotationError: a row without a usable label, by file and line.
        """
        path = self._list(split)
        lines = list(read_lines(path))[self.skip_rows :]
        rows = parse_rows(lines, self.separator, len(self.num_classes))
        unlabelled = [source for source, _, labels in rows if not labels]
        if unlabelled and split != "test":
            raise AnnotationError(
                f"{unlabelled[0]}: no label; a row is a path and a class number, e.g. "
                "videos/a.mp4 7 (only test lists may do without)"
            )
        nameless = [source for source, video, _ in rows if not video]
        if nameless:
            raise AnnotationError(f"{nameless[0]}: no path before the label; a row has both")
        if unlabelled:
            log.warning("%s: %d rows without label count as class 0", path, len(unlabelled))
        base = self._base(path, [video for _, video, _ in rows])
        records = [
            ClipRecord(os.path.join(base, video), self._labels(source, labels), source, name=video)
            for source, video, labels in rows
        ]
        if split != "train":  # training can do without some of them, and counts them
            check_files(records)
        return records

    def _list(self, split: str) -> Path:
        path = self.root / f"{split}.csv"
        if path.is_file():
            return path
        instead = self.root / "val.csv"
        if split == "test" and instead.is_file():
            log.warning("no %s: testing on %s", path, instead)
            return instead
        check_folder(self.root, "DATA.PATH_TO_DATA_DIR")
        there = sorted(entry.name for entry in self.root.iterdir())[:20]
        unset = " (not set: the working directory)" if self.root == Path() else ""
        raise DataError(
            f"no {path}. DATA.PATH_TO_DATA_DIR{unset} holds {there or 'nothing'}; write "
            f"{split}.csv with a path and a class number per row, or set TRAIN.DATASET "
            "video_folder for folders"
        )

    def _base(self, path: Path, videos: Sequence[str]) -> str:
        """Where relative paths start: at the list, or at the working directory."""
        if not videos:
            raise DataError(f"{path} lists no videos")
        bases = [os.path.join(self.root, self.prefix), self.prefix]
        for base in bases:
            if any(os.path.exists(os.path.join(base, video)) for video in videos):
                return base
        first = [shortened(os.path.join(base, videos[0]), 300) for base in bases]
        tried = " and ".join(dict.fromkeys(first))
        raise DataError(
            f"{path}: none of its {len(videos)} videos exists; tried {tried}. "
            "Set DATA.PATH_PREFIX to the folder that the paths start from"
        )

    def _labels(self, source: str, texts: Sequence[str]) -> Labels:
        texts = texts or ["0"] * len(self.num_classes)
        names = self.tasks or ["label"]
        numbers = [
            parse_class(source, name, text, high=classes - 1)
            for name, text, classes in zip(names, texts, self.num_classes, strict=True)
        ]
        return dict(zip(self.tasks, numbers, strict=True)) if self.tasks else numbers[0]


def parse_rows(
    lines: Sequence[tuple[str, str]], separator: str = " ", num_labels: int = 1
) -> list[tuple[str, str, list[str]]]:
    """``(source, path, labels)`` of every ``(source, line)``; labels are still text.

    A row has ``num_labels`` labels or, in a list without labels, none.
    """
    found = find_separator([line for _, line in lines], separator, num_labels)
    rows: list[tuple[str, str, list[str]]] = []
    for source, line in lines:
        fields = split_row(line, found)
        if len(fields) <= num_labels or _is_video(_unquoted(line)):  # no label at its end
            rows.append((source, _unquoted(line), []))
        else:
            rows.append((source, _path(fields[:-num_labels], found), fields[-num_labels:]))
    return rows


def find_separator(lines: Iterable[str], preferred: str = " ", num_labels: int = 1) -> str:
    """The separator under which most lines end with ``num_labels`` numbers.

    Example:
        >>> find_separator(["a b.mp4;3", "c.mp4;4"]), find_separator(["a,b.mp4 3"])
        (';', ' ')
    """
    lines = list(lines)

    def fits(separator: str) -> int:
        rows = [split_row(line, separator) for line in lines]
        return sum(
            len(row) > num_labels and all(map(_NUMBER.fullmatch, row[-num_labels:])) for row in rows
        )

    asked = [preferred] if preferred.strip(" ") else []  # a space would fit "a.mp4, 3"
    best = max([*asked, *SEPARATORS, " "], key=fits)  # the first of equals
    return best if fits(best) else preferred


def split_row(line: str, separator: str) -> list[str]:
    """The fields of a row, without quotes and outer blanks; nothing between blanks is no field.

    Example:
        >>> split_row('"my clips/a.mp4" 3', " "), split_row("my clips/a.mp4, 3", ",")
        (['my clips/a.mp4', '3'], ['my clips/a.mp4', '3'])
    """
    if len(separator) > 1:
        return [field.strip() for field in line.split(separator)]
    quote = "'" if line.lstrip().startswith("'") else '"'
    rows = csv.reader([line], delimiter=separator, quotechar=quote, skipinitialspace=True)
    try:
        row = next(rows, [])
    except csv.Error:  # a line end in the middle of it
        return [line]
    fields = [field.strip() for field in row]
    return [field for field in fields if field] if separator == " " else fields


def _path(fields: Sequence[str], separator: str) -> str:
    """The path in front of the labels: the first field, unless the path itself was torn apart."""
    return fields[0] if _is_video(fields[0]) else separator.join(fields)


def _is_video(text: str) -> bool:
    return text.lower().endswith(VIDEO_SUFFIXES)


def _unquoted(line: str) -> str:
    line = line.strip()
    quoted = len(line) > 1 and line[0] == line[-1] and line[0] in "\"'"
    return line[1:-1] if quoted else line
