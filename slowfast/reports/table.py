"""One set of rows, shown on the terminal and written as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Cell = str | int | float | None
FRAME = 3
"""Characters of a column beside its text, on the terminal."""
LONGEST_WORD = 30
"""Longer ones, such as paths, are broken."""


@dataclass(frozen=True)
class Table:
    """Rows under column names.

    Attributes:
        columns: headings, with units: ``"latency p50 (ms)"``.
        rows: one cell per column; numbers are aligned right, ``None`` is shown as ``-``.
        title: a line above; may be empty.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    title: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"row {list(row)} has {len(row)} cells for {list(self.columns)}")

    def markdown(self) -> str:
        """The rows as a Markdown table, columns padded so that the source reads well too."""
        lines = [[str(c) for c in self.columns], *([format_cell(c) for c in r] for r in self.rows)]
        lines = [[cell.replace("|", "\\|") for cell in line] for line in lines]
        widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(self.columns))]
        right = self.right_aligned
        rule = ["-" * (w - 1) + ":" if r else "-" * w for w, r in zip(widths, right, strict=True)]
        padded = [
            [c.rjust(w) if r else c.ljust(w) for c, w, r in zip(line, widths, right, strict=True)]
            for line in lines
        ]
        text = "\n".join("| " + " | ".join(line) + " |" for line in [padded[0], rule, *padded[1:]])
        return f"{self.title}\n\n{text}" if self.title else text

    def show(self) -> None:
        """Prints the rows: as wide as they are into a file, in parts on a narrow terminal.

        No number is cut. Headings and texts are broken between words, and columns that find no
        room follow in further parts, beside the first one again.
        """
        from rich import box
        from rich.console import Console
        from rich.table import Table as RichTable
        from rich.text import Text

        console = Console()
        if not console.is_terminal:
            console = Console(width=1 + sum(FRAME + most for _, most in self._extents))
        title = self.title or None
        for widths in self._parts(console.width):
            table = RichTable(title=title, box=box.SIMPLE_HEAD, title_justify="left")
            for i, width in widths.items():
                justify: Literal["left", "right"] = "right" if self.right_aligned[i] else "left"
                name = Text(self.columns[i])
                table.add_column(name, justify=justify, width=width, overflow="fold")
            for row in self.rows:
                table.add_row(*(Text(format_cell(row[i])) for i in widths))
            console.print(table)
            title = None

    def _parts(self, room: int) -> Iterator[dict[int, int]]:
        """Columns that stand beside each other in so many characters, and how wide they are."""
        least = [FRAME + least for least, _ in self._extents]
        part: list[int] = []
        for i in range(len(self.columns)):
            if len(part) > 1 and 1 + least[i] + sum(least[k] for k in part) > room:
                yield self._widths(part, room)
                part = [0]
            part.append(i)
        yield self._widths(part, room)

    def _widths(self, part: Sequence[int], room: int) -> dict[int, int]:
        """The least each column needs, and what is left to those that would have most lines."""
        widths = {i: self._extents[i][0] for i in part}
        spare = room - 1 - sum(FRAME + width for width in widths.values())
        lacking = sum(self._extents[i][1] - width for i, width in widths.items())
        for _ in range(min(spare, lacking)):
            widths[max(part, key=lambda i: self._extents[i][1] / widths[i])] += 1
        return widths

    @cached_property
    def _extents(self) -> list[tuple[int, int]]:
        """Of each column, in characters: with all texts broken between words, and with none."""
        from rich.cells import cell_len

        found = []
        for i, (name, right) in enumerate(zip(self.columns, self.right_aligned, strict=True)):
            cells = [format_cell(row[i]) for row in self.rows]
            words = [word for text in (name, *(() if right else cells)) for word in text.split()]
            least = max((min(cell_len(word), LONGEST_WORD) for word in words), default=1)
            numbers = [cell_len(cell) for cell in cells] if right else []
            most = max(cell_len(text) for text in (name, *cells))
            found.append((max(least, *numbers, 1), most))
        return found

    @property
    def right_aligned(self) -> list[bool]:
        """Which columns hold numbers only."""
        cells = [[row[i] for row in self.rows] for i in range(len(self.columns))]
        return [
            any(c is not None for c in column)
            and all(c is None or isinstance(c, int | float) for c in column)
            for column in cells
        ]


def format_cell(cell: Cell) -> str:
    """``-`` for ``None``, thousands commas, and of other numbers 3 to 4 digits."""
    if cell is None:
        return "-"
    if isinstance(cell, bool | str):
        return str(cell)
    if isinstance(cell, int):
        return f"{cell:,}"
    if abs(cell) < 1:
        return f"{cell:.3g}"
    return f"{cell:,.{0 if abs(cell) >= 1000 else 1 if abs(cell) >= 100 else 2}f}"
