"""What became of the tensors of a converted checkpoint, as tables."""

from __future__ import annotations

from slowfast.checkpoint.conversion import UNMATCHED, Conversion
from slowfast.checkpoint.layouts import LAYOUTS
from slowfast.reports.table import Table

COLUMNS = ("status", "tensors", "numbers", "example", "note")


def conversion_table(conversion: Conversion) -> Table:
    """A row for every kind of thing that happened, unmatched ones one by one."""
    rows: list[tuple[str, int, int, str, str]] = [
        (status, tensors, numbers, example, note)
        for status, note, tensors, numbers, example in conversion.summary()
        if status != UNMATCHED
    ]
    for row in conversion.rows:
        if row.status == UNMATCHED:
            size = 1
            for side in row.shape:
                size *= side
            rows.append((UNMATCHED, 1, size, row.source or row.target or "", str(row.shape)))
    source, target = (f"{LAYOUTS[name].title} ({name})" for name in conversion.layouts)
    return Table(COLUMNS, rows, title=f"{source} -> {target}")


def conversion_notes(conversion: Conversion) -> list[str]:
    """What the table does not say: how it fits the model, and what else was in the file."""
    notes = []
    if conversion.fit is not None:
        notes.append(f"model of --cfg: {conversion.fit.summary()}")
    if conversion.unread:
        notes.append(f"not weights, left out: {', '.join(conversion.unread)}")
    return notes
