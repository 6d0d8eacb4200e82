"""Rows of annotation tables that know where they stand, for errors that name the place.

Read from CSV files and from pickled pandas DataFrames; the latter without running the pickle and
without pandas (:mod:`slowfast.utils.safe_pickle`).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from slowfast.utils.errors import UserError, shortened
from slowfast.utils.safe_pickle import Inert, load_pickle

NOT_TEXT = "not UTF-8 text; save it as such"
HAS_ZERO_BYTES = "has zero bytes, as UTF-16 text has; save it as UTF-8 text"
LONGEST_LINE = 100_000
"""Characters. Longer ones are those of other files, or rows without line ends between them."""
LARGEST = 2**31 - 1
_INTEGER = re.compile(r"\s*[+-]?\d{1,18}\s*")


class AnnotationError(UserError, ValueError):
    """An annotation file or line that cannot be used; the text names the file and the line."""


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        source: where it stands, ``EPIC_100_train.csv:17``.
        values: column name -> text, or what the DataFrame held.
    """

    source: str
    values: Mapping[str, Any]

    def text(self, column: str) -> str:
        """The text in ``column``, not empty.

        Raises:
            AnnotationError: empty.
        """
        text = str(self.values[column]).strip()
        if not text:
            raise AnnotationError(f"{self.source}: nothing in column {column!r}")
        return text

    def integer(self, column: str, *, low: int = 0, high: int | None = None) -> int:
        """The whole number in ``column``.

        Args:
            column: its name.
            low: smallest value allowed.
            high: of class ids, the largest value allowed.

        Raises:
            AnnotationError: not a whole number, or outside the range.
        """
        return parse_integer(self.source, column, self.text(column), low=low, high=high)


def parse_integer(
    source: str, name: str, text: str, *, low: int = 0, high: int | None = None
) -> int:
    """``text`` as a whole number; errors name ``source`` and ``name``.

    Args:
        source: where it stands.
        name: what it is.
        text: the number.
        low: smallest value allowed.
        high: of class ids, the largest value allowed.

    Raises:
        AnnotationError: not a whole number, or outside the range.
    """
    if not _INTEGER.fullmatch(text):
        raise AnnotationError(f"{source}: {name} is {shortened(text)}, expected a whole number")
    number = int(text)
    if number < low or number > (LARGEST if high is None else high):
        allowed = f"{low} or more" if high is None else f"{low} to {high} (classes count from 0)"
        raise AnnotationError(f"{source}: {name} is {number}, expected {allowed}")
    return number


def parse_class(source: str, name: str, text: str, *, high: int | None = None) -> int:
    """A class id, 0 to ``high``, of a list that has no header."""
    if not text.strip().lstrip("+-").isdecimal():
        raise AnnotationError(
            f"{source}: {name} is {shortened(text)}, expected a whole number: classes are numbers, "
            "and this list has no header"
        )
    return parse_integer(source, name, text, high=high)


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """``(source, line)`` of every line of a text file that is not blank.

    Raises:
        AnnotationError: not UTF-8.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), ""), 1):
                check_line(f"{path}:{number}", line)
                if line.strip():
                    yield f"{path}:{number}", line.strip()
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path}: {NOT_TEXT} ({error})") from error


def check_line(source: str, line: str) -> None:
    """Raise for a line of what is no text file, or not a list.

    Raises:
        AnnotationError: zero bytes, or too long.
    """
    if "\0" in line:
        raise AnnotationError(f"{source}: {HAS_ZERO_BYTES}")
    if len(line) > LONGEST_LINE:
        raise AnnotationError(
            f"{source}: longer than {LONGEST_LINE} characters; write one row per line"
        )


def _bounded_lines(file: TextIO, path: Path) -> Iterator[str]:
    for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), ""), start=1):
        check_line(f"{path}:{number}", line)
        yield line


def read_csv(path: Path) -> Iterator[tuple[str, list[str]]]:
    """``(source, fields)`` of every row of a comma-separated file that is not blank."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(_bounded_lines(file, path), strict=True)
        while True:
            line = rows.line_num + 1
            try:
                fields = next(rows)
            except StopIteration:
                return
            except UnicodeDecodeError as error:
                raise AnnotationError(f"{path}: {NOT_TEXT} ({error})") from error
            except csv.Error as error:
                raise AnnotationError(
                    f"{path}:{line}: not comma-separated values ({error}). A quote at the start of "
                    'a field needs one at its end; within, write it twice: "say ""hi"""'
                ) from error
            if any(field.strip() for field in fields):
                yield f"{path}:{line}", [field.strip() for field in fields]


def read_table(path: Path, columns: Sequence[str] = ()) -> Iterator[Row]:
    """The rows of a CSV file with a header, or of a pickled DataFrame (``.pkl``, ``.pickle``).

    Args:
        path: the file.
        columns: columns that must be there.

    Raises:
        AnnotationError: a column is missing, a row has another number of fields.
        UnsafePickleError: the pickle holds more than plain data.
    """
    if path.suffix.lower() in (".pkl", ".pickle"):
        table = frame_columns(load_pickle(path), path)
        _require_columns(str(path), list(table), columns)
        for number, values in enumerate(zip(*table.values(), strict=True)):
            yield Row(f"{path}[{number}]", dict(zip(table, values, strict=True)))
        return
    rows = read_csv(path)
    first, header = next(rows, (f"{path}:1", []))
    _require_columns(first, header, columns)
    for source, fields in rows:
        if len(fields) != len(header):
            raise AnnotationError(
                f"{source}: {len(fields)} fields, the header has {len(header)}; "
                "quote fields that contain commas"
            )
        yield Row(source, dict(zip(header, fields, strict=True)))


def _require_columns(source: str, header: Sequence[str], columns: Sequence[str]) -> None:
    missing = [column for column in columns if column not in header]
    if missing:
        raise AnnotationError(
            f"{source}: no column {', '.join(missing)}; there are {shortened(header, 400)}"
        )


def frame_columns(frame: Any, path: Path) -> dict[str, list[Any]]:
    """Column name -> values of a DataFrame read by :func:`load_pickle`, its named index included.

    pandas >= 1.0 pickles a block manager: 2-D blocks of one type each, and which columns stand in
    each block. Up to 1.2 it has its parts in its state, later in its arguments.

    Raises:
        AnnotationError: not a DataFrame, or stored in a way not known here.
    """
    try:
        if frame.kind != "DataFrame":
            raise TypeError(f"a {frame.kind}")
        manager = frame.state.get("_mgr", frame.state.get("_data"))
        blocks, axes = _manager_parts(manager)
        names, index = (_axis_values(axis) for axis in axes)
        values: dict[str, list[Any]] = {}
        if axes[1].args[1].get("name"):
            values[axes[1].args[1]["name"]] = index
        columns: dict[int, list[Any]] = {}
        for block, places in blocks:
            positions = range(len(names))[places] if isinstance(places, slice) else places
            columns |= zip(map(int, positions), np.atleast_2d(block).tolist(), strict=True)
        return values | {str(name): columns[place] for place, name in enumerate(names)}
    except (AttributeError, TypeError, KeyError, IndexError, ValueError) as error:
        raise AnnotationError(
            f"{path}: not a DataFrame that can be read here ({error}). Write it as CSV: "
            f"python -c \"import pandas; pandas.read_pickle({str(path)!r}).to_csv('out.csv')\""
        ) from error


def _manager_parts(manager: Inert) -> tuple[list[tuple[Any, Any]], list[Inert]]:
    """``([(values, places of columns), ...], [columns axis, index axis])``."""
    if manager.args:
        blocks, axes = manager.args
        return [(_array(block.args[0]), _places(block.args[1])) for block in blocks], list(axes)
    parts = next(part for part in manager.state if isinstance(part, dict))["0.14.1"]
    blocks = [(_array(block["values"]), _places(block["mgr_locs"])) for block in parts["blocks"]]
    return blocks, list(parts["axes"])


def _places(places: Any) -> Any:
    return places.args[0] if isinstance(places, Inert) else places


def _array(values: Any) -> np.ndarray[Any, Any]:
    """A block's array: itself, or inside one of pandas's array types."""
    if isinstance(values, np.ndarray):
        return values
    state = values.state if isinstance(values.state, tuple | list) else (values.state,)
    parts = [*values.args, *state]
    return next(part for part in parts if isinstance(part, np.ndarray))


def _axis_values(axis: Inert) -> list[Any]:
    state = axis.args[1]
    if "data" in state:
        return _array(state["data"]).tolist()
    return list(range(state["start"], state["stop"], state["step"]))
