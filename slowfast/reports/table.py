"""One set of rows, shown on the terminal and written as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Cell = str | int | float | None


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
        """Prints the rows on the terminal."""
        from rich import box
        from rich.console import Console
        from rich.table import Table as RichTable
        from rich.text import Text

        table = RichTable(title=self.title or None, box=box.SIMPLE_HEAD, title_justify="left")
        for name, right in zip(self.columns, self.right_aligned, strict=True):
            table.add_column(Text(name), justify="right" if right else "left")
        for row in self.rows:
            table.add_row(*(Text(format_cell(cell)) for cell in row))
        Console().print(table)

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
