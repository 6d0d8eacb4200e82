"""What a page is made of, whatever it is written as."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slowfast.reports.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Text:
    """A paragraph. ``**strong**`` and ```code``` mean what they do in Markdown."""

    text: str


@dataclass(frozen=True)
class Missing:
    """What a page could show and cannot.

    Attributes:
        what: a sentence.
        command: what to run for it.
    """

    what: str
    command: str = ""


@dataclass(frozen=True)
class Grid:
    """A table.

    Attributes:
        table: its cells.
        badges: row -> a word that marks it.
        bars: column whose numbers are drawn as bars around zero.
        folded: shown only when asked for, under this title.
    """

    table: Table
    badges: dict[int, str] = field(default_factory=dict)
    bars: int | None = None
    folded: str = ""


@dataclass(frozen=True)
class Tile:
    """One number that matters: what it is, its value, and what it was before."""

    label: str
    value: str
    before: str = ""


@dataclass(frozen=True)
class Tiles:
    """Numbers side by side."""

    tiles: Sequence[Tile]


@dataclass(frozen=True)
class Chart:
    """A figure.

    Attributes:
        html: an element that draws it, without network.
        draw: makes the same as a picture, for Markdown.
        stem: file name of that picture.
        title: above it.
        caption: below it.
    """

    html: str
    draw: Callable[[], Figure]
    stem: str
    title: str
    caption: str = ""


@dataclass(frozen=True)
class Charts:
    """Figures side by side where there is room.

    Attributes:
        charts: of the figures.
        legend: what all of them share, as HTML.
    """

    charts: Sequence[Chart]
    legend: str = ""


@dataclass(frozen=True)
class Clip:
    """One video with its predictions.

    Attributes:
        frames: JPEG files, in order.
        name: of the video.
        truth: its class.
        guesses: network, class, score (0 to 1 or ``None``), whether it is right.
        why: why it is shown.
    """

    frames: Sequence[bytes]
    name: str
    truth: str
    guesses: Sequence[tuple[str, str, float | None, bool]]
    why: str


@dataclass(frozen=True)
class Clips:
    """Videos under one another."""

    clips: Sequence[Clip]


@dataclass(frozen=True)
class Code:
    """Commands or settings, line by line; ``folded``: shown when asked for, under this title."""

    text: str
    folded: str = ""


Block = Text | Missing | Grid | Tiles | Charts | Clips | Code


@dataclass(frozen=True)
class Section:
    """Attributes: identifier for links, title, and what is in it."""

    key: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Page:
    """Attributes: title, the sentence that matters, its numbers, and the sections."""

    title: str
    summary: str
    tiles: Tiles
    sections: Sequence[Section]
