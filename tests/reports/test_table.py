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
