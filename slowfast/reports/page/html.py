"""A page as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import re
from functools import singledispatch
from html import escape
from importlib.resources import files

from slowfast.reports.page.blocks import (
    Block,
    Charts,
    Clip,
    Clips,
    Code,
    Grid,
    Missing,
    Page,
    Section,
    Text,
    Tiles,
)
from slowfast.reports.table import Cell, format_cell


def html_page(page: Page) -> str:
    """The whole document."""
    links = "".join(f'<li><a href="#{s.key}">{escape(s.title)}</a></li>' for s in page.sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(page.title)}</title>
<link rel="icon" href="data:,">
<style>
{_file("style.css")}</style>
</head>
<body>
<nav aria-label="Sections"><div class="wrap"><ul>{links}</ul>
<button type="button" class="theme" hidden>Dark</button></div></nav>
<main class="wrap">
<header>
<h1>{escape(page.title)}</h1>
<p class="lead">{inline(page.summary)}</p>
{html_block(page.tiles)}
</header>
{"".join(map(_section, page.sections))}
</main>
<script>
{_file("page.js")}</script>
</body>
</html>
"""


def _file(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def _section(section: Section) -> str:
    blocks = "\n".join(map(html_block, section.blocks))
    return f'<section id="{section.key}">\n<h2>{escape(section.title)}</h2>\n{blocks}\n</section>\n'


def inline(text: str) -> str:
    """Strong words and code of a paragraph.

    Example:
        >>> inline("**x3d** < `y`")
        '<strong>x3d</strong> &lt; <code>y</code>'
    """
    found = escape(text, quote=False)
    found = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", found)
    return re.sub(r"`(.+?)`", r"<code>\1</code>", found)


@singledispatch
def html_block(block: Block) -> str:
    """One block of a section."""
    raise TypeError(f"no HTML of a {type(block).__name__}")


@html_block.register
def _(block: Text) -> str:
    return f"<p>{inline(block.text)}</p>"


@html_block.register
def _(block: Missing) -> str:
    command = f"<code>{escape(block.command)}</code>" if block.command else ""
    return f'<div class="missing">{inline(block.what)}{command}</div>'


@html_block.register
def _(block: Code) -> str:
    return _folded(f"<pre>{escape(block.text)}</pre>", block.folded)


@html_block.register
def _(block: Tiles) -> str:
    tiles = "".join(
        f'<div class="tile"><div class="label">{escape(tile.label)}</div>'
        f'<div class="value">{escape(tile.value)}</div>'
        f'<div class="before">{escape(tile.before)}</div></div>'
        for tile in block.tiles
    )
    return f'<div class="tiles">{tiles}</div>' if tiles else ""


@html_block.register
def _(block: Grid) -> str:
    table = block.table
    left = [not right for right in table.right_aligned]
    left = [is_left and not _numeric(i, block) for i, is_left in enumerate(left)]
    heads = "".join(
        f'<th{" class=left" if is_left else ""}><button type="button">{escape(name)}</button></th>'
        for name, is_left in zip(table.columns, left, strict=True)
    )
    largest = _largest_bar(block)
    rows = []
    for number, row in enumerate(table.rows):
        badge = block.badges.get(number, "")
        cells = [
            _cell(cell, is_left, badge if i == 0 else "", largest if i == block.bars else None)
            for i, (cell, is_left) in enumerate(zip(row, left, strict=True))
        ]
        rows.append(f"<tr{' class=marked' if badge else ''}>{''.join(cells)}</tr>")
    title = f"<h3>{escape(table.title)}</h3>" if table.title else ""
    body = (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(table.columns[0])}">'
        f'<table class="sortable"><thead><tr>{heads}</tr></thead><tbody>{"".join(rows)}</tbody>'
        "</table></div>"
    )
    return _folded(title + body, block.folded)


def _numeric(column: int, block: Grid) -> bool:
    """Whether a column of texts holds numbers: changes, or two of them."""
    cells = [row[column] for row in block.table.rows if row[column] is not None]
    return bool(cells) and all(re.fullmatch(r"[-+\N{MINUS SIGN}\d./ x]+", str(c)) for c in cells)


def _largest_bar(block: Grid) -> float:
    if block.bars is None:
        return 0.0
    return max((abs(float(row[block.bars] or 0)) for row in block.table.rows), default=0.0)


def _cell(cell: Cell, is_left: bool, badge: str, largest: float | None) -> str:
    value = "" if cell is None else str(cell)
    found = re.match(r"[-+\N{MINUS SIGN}]?[\d.]+", value)
    if not is_left and found:  # "0.71 / 0.81" is sorted by its first number
        value = found[0].replace("\N{MINUS SIGN}", "-")
    key = f' data-value="{escape(value, quote=True)}"'
    if largest is not None and isinstance(cell, float):
        return _bar(cell, largest, key)
    text = escape(format_cell(cell)) if cell is not None else '<span class="none">&ndash;</span>'
    mark = f'<span class="badge">{escape(badge)}</span>' if badge else ""
    return f"<td{' class=left' if is_left else ''}{key}>{text}{mark}</td>"


def _bar(value: float, largest: float, key: str) -> str:
    share = 28 * abs(value) / largest if largest else 0.0
    side = "right:60%" if value < 0 else "left:40%"
    less = ' class="less"' if value < 0 else ""
    text = f"{value:+.1f}".replace("-", "\N{MINUS SIGN}")
    bar = f'<i{less} style="{side};width:{share:.1f}%"></i>' if value else ""
    return f'<td class="diff"{key}>{bar}{text}</td>'


@html_block.register
def _(block: Charts) -> str:
    figures = "".join(
        f"<figure><h3>{escape(chart.title)}</h3>{chart.html}"
        + (f"<figcaption>{inline(chart.caption)}</figcaption>" if chart.caption else "")
        + "</figure>"
        for chart in block.charts
    )
    pair = " pair" if len(block.charts) == 2 else ""
    return f'<div class="linked">{block.legend}<div class="charts{pair}">{figures}</div></div>'


@html_block.register
def _(block: Clips) -> str:
    return "<div>" + "".join(map(_clip, block.clips)) + "</div>"


def _clip(clip: Clip) -> str:
    images = "".join(
        f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(frame).decode()}">'
        for frame in clip.frames
    )
    guesses = "".join(
        f'<div class="guess {"right" if is_right else "wrong"}"><span class="by">{escape(by)}'
        f'</span><span class="what">{escape(name)}{_score(score)}</span></div>'
        for by, name, score, is_right in clip.guesses
    )
    return (
        f'<div class="clip"><div><div class="frames" role="img" '
        f'aria-label="frames of {escape(clip.name, quote=True)}">{images}</div></div>'
        f'<div><div class="why">{escape(clip.why)}</div><div class="truth">{escape(clip.truth)}'
        f'</div>{guesses}<div class="file">{escape(clip.name)}</div></div></div>'
    )


def _score(score: float | None) -> str:
    return "" if score is None else f" ({100 * score:.0f} %)"


def _folded(body: str, title: str) -> str:
    if not title:
        return body
    return f"<details><summary>{escape(title)}</summary>{body}</details>"
