import re

import pytest

from slowfast.reports.table import Table, format_cell


@pytest.fixture
def table():
    return Table(
        ["model", "params (M)", "top-1"], [["X3D|S", 3.794, None], ["SlowFast", 34.566, 77.0]]
    )


def test_markdown_pads_aligns_and_escapes(table):
    assert table.markdown().splitlines() == [
        "| model    | params (M) | top-1 |",
        "| -------- | ---------: | ----: |",
        "| X3D\\|S   |       3.79 |     - |",
        "| SlowFast |      34.57 | 77.00 |",
    ]


def test_terminal_shows_the_same_cells(table, capsys):
    table.show()
    out = capsys.readouterr().out
    assert all(cell in out for cell in ["X3D|S", "3.79", "34.57", "77.00", "params (M)"])


def wide_table():
    columns = ["", *(f"number {i} (ms)" for i in range(12)), "why"]
    cells = [10.0**i + 0.25 for i in range(12)]
    return Table(columns, [["the name of it", *cells, "said in a sentence " * 5]], "A title")


def test_a_file_gets_whole_lines(capsys):
    wide_table().show()
    title, _, header, _, row, *_ = capsys.readouterr().out.splitlines()
    assert title.strip() == "A title"
    assert "number 11 (ms)" in header
    assert row.split()[:5] == ["the", "name", "of", "it", "1.25"]
    assert row.split()[-1] == "sentence"


@pytest.mark.parametrize("width", [30, 80, 120])
def test_a_narrow_terminal_gets_whole_numbers(width, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # a terminal, for rich
    monkeypatch.setenv("COLUMNS", str(width))
    table = wide_table()
    table.show()
    out = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    assert "…" not in out
    assert max(map(len, out.splitlines())) <= width
    words = out.split()
    assert all(format_cell(cell) in words for cell in table.rows[0][1:-1])
    assert out.count("A title") == 1
    assert out.count("the") >= {30: 6, 80: 2, 120: 2}[width]  # the name, in every part


def test_square_brackets_are_text_not_markup(capsys):
    Table(["a [ms]"], [["[bold]x"]]).show()
    out = capsys.readouterr().out
    assert "[bold]x" in out
    assert "a [ms]" in out


def test_a_short_row_is_an_error():
    with pytest.raises(ValueError, match="1 cells for"):
        Table(["a", "b"], [["x"]])


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, "-"),
        (1234567, "1,234,567"),
        (0.12345, "0.123"),
        (0.000432, "0.000432"),
        (65.712, "65.71"),
        (125.908, "125.9"),
        (1234.5, "1,234"),
        ("x", "x"),
    ],
)
def test_format_cell(cell, text):
    assert format_cell(cell) == text
