"""Line and scatter charts as SVG, coloured by the style sheet of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

LEFT, RIGHT, TOP, BOTTOM = 62, 14, 12, 44
COLOURS = 6  # of the style sheet; what comes after is grey
MAX_MARKS = 60  # of a line that can be pointed at
LOG_FROM = 10.0  # largest over smallest value from which a logarithmic axis says more

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """Attributes: name, points, colour (``COLOURS`` and above: grey), and whether it is dashed."""

    name: str
    points: Sequence[Point]
    colour: int
    dashed: bool = False


@dataclass(frozen=True)
class Dot:
    """Attributes: place, colour and shape, what is said of it, its label, and its group."""

    x: float
    y: float
    colour: int
    tip: str
    label: str = ""
    group: str = ""


@dataclass(frozen=True)
class Axis:
    """Attributes: title with unit, limits, ticks with labels, and whether it is logarithmic."""

    title: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]] = field(default_factory=tuple)
    is_log: bool = False

    def place(self, value: float, start: float, end: float) -> float:
        """Where a value lies between the pixels ``start`` and ``end``."""
        low, high, at = self.low, self.high, value
        if self.is_log:
            low, high, at = math.log(low), math.log(high), math.log(value)
        return start + (at - low) / (high - low) * (end - start)


def axis(values: Sequence[float], title: str, *, log: bool = False, pad: float = 0.06) -> Axis:
    """An axis around some values, with round ticks.

    Args:
        values: to be shown; at least one.
        title: with unit.
        log: logarithmic, where the values are positive and span a factor of ``LOG_FROM``.
        pad: room on both sides, as a share of the range.
    """
    low, high = min(values), max(values)
    if log and low > 0 and high / low >= LOG_FROM:
        factor = (high / low) ** pad
        low, high = low / factor, high * factor
        return Axis(title, low, high, _log_ticks(low, high), True)
    if low == high:  # one value: some room around it
        low, high = low - (abs(low) * 0.1 or 0.5), high + (abs(high) * 0.1 or 0.5)
    span = high - low
    floor = 0.0 if min(values) >= 0 else -math.inf
    low, high = max(low - pad * span, floor), high + pad * span
    return Axis(title, low, high, _ticks(low, high))


def _ticks(low: float, high: float, count: int = 5) -> list[tuple[float, str]]:
    rough = (high - low) / count
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(m * magnitude for m in (1, 2, 2.5, 5, 10) if m * magnitude >= rough)
    first = math.ceil(low / step - 1e-9)
    values = [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]
    return [(value, number(value)) for value in values]


def _log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 2, 5), (1, 3), (1,)):
        found = [m * 10.0**d for d in decades for m in steps if low <= m * 10.0**d <= high]
        if len(found) <= 7:
            break
    return [(value, number(value)) for value in found]


def number(value: float) -> str:
    """A few digits: ``0.05``, ``12``, ``1e-05``."""
    return f"{0.0 if abs(value) < 1e-12 else value:.4g}".replace("e-0", "e-")


def line_chart(
    lines: Sequence[Line], x_title: str, y_title: str, *, width: int = 400, height: int = 280
) -> str:
    """Lines over epochs. Pointing at one brings it forward."""
    xs = [x for line in lines for x, _ in line.points]
    ys = [y for line in lines for _, y in line.points]
    y_axis = axis(ys, y_title, log="loss" in y_title)
    canvas = _Canvas(axis(xs, x_title, pad=0.0), y_axis, width, height)
    for line in sorted(lines, key=lambda line: -line.colour):  # grey below
        canvas.line(line)
    return canvas.svg(f"{y_title} over {x_title}, {len(lines)} lines")


def scatter_chart(
    dots: Sequence[Dot],
    front: Sequence[Point],
    x_title: str,
    y_title: str,
    *,
    width: int = 560,
    height: int = 380,
) -> str:
    """Dots, and the front that none of them lies beyond as steps."""
    x = axis([dot.x for dot in dots], x_title, log=True, pad=0.1)
    y = axis([dot.y for dot in dots], y_title, pad=0.12)
    canvas = _Canvas(x, y, width, height)
    canvas.front(front)
    for dot in dots:
        canvas.dot(dot)
    canvas.labels(dots)
    return canvas.svg(f"{y_title} against {x_title}, {len(dots)} points")


class _Canvas:
    def __init__(self, x: Axis, y: Axis, width: int, height: int) -> None:
        self.x, self.y, self.width, self.height = x, y, width, height
        self.parts: list[str] = []
        self._draw_axes()

    def at(self, x: float, y: float) -> tuple[float, float]:
        return (
            round(self.x.place(x, LEFT, self.width - RIGHT), 1),
            round(self.y.place(y, self.height - BOTTOM, TOP), 1),
        )

    def _draw_axes(self) -> None:
        right, bottom = self.width - RIGHT, self.height - BOTTOM
        for value, text in self.y.ticks:
            y = round(self.y.place(value, bottom, TOP), 1)
            self.parts.append(
                f'<path class="grid" d="M{LEFT} {y}H{right}"/>'
                f'<text class="tick" x="{LEFT - 7}" y="{y + 4}" text-anchor="end">{text}</text>'
            )
        for value, text in self.x.ticks:
            x = round(self.x.place(value, LEFT, right), 1)
            self.parts.append(
                f'<path class="tickmark" d="M{x} {bottom}v4"/>'
                f'<text class="tick" x="{x}" y="{bottom + 18}" text-anchor="middle">{text}</text>'
            )
        middle_x, middle_y = (LEFT + right) / 2, (TOP + bottom) / 2
        x_scale, y_scale = (" (log scale)" if a.is_log else "" for a in (self.x, self.y))
        self.parts.append(
            f'<path class="axis" d="M{LEFT} {bottom}H{right}"/>'
            f'<text class="title" x="{middle_x}" y="{self.height - 6}" text-anchor="middle">'
            f"{escape(self.x.title)}{x_scale}</text>"
            f'<text class="title" text-anchor="middle" transform="translate(13 {middle_y})'
            f' rotate(-90)">{escape(self.y.title)}{y_scale}</text>'
        )

    def line(self, line: Line) -> None:
        places = [self.at(x, y) for x, y in line.points]
        path = "M" + "L".join(f"{x} {y}" for x, y in places)
        dashed = ' stroke-dasharray="5 4"' if line.dashed else ""
        name = escape(line.name, quote=True)
        x_title, y_title = (escape(a.title, quote=True) for a in (self.x, self.y))
        step = -(-len(places) // MAX_MARKS)
        marks = "".join(
            f'<circle class="spot" cx="{x}" cy="{y}" r="3.2" data-tip="{name}|'
            f'{x_title} {number(point[0])}|{y_title} {number(point[1])}"/>'
            for (x, y), point in list(zip(places, line.points, strict=True))[::step]
        )
        lone = " lone" if len(places) == 1 else ""
        self.parts.append(
            f'<g class="line {_colour(line.colour)}{lone}" data-series="{name}">'
            f'<path class="wide" d="{path}"/><path class="stroke" d="{path}"{dashed}/>{marks}</g>'
        )

    def front(self, points: Sequence[Point]) -> None:
        if len(points) < 2:
            return
        places = [self.at(x, y) for x, y in points]
        path = f"M{places[0][0]} {places[0][1]}"
        path += "".join(f"H{x}V{y}" for x, y in places[1:])
        self.parts.append(f'<path class="front" d="{path}"/>')

    def dot(self, dot: Dot) -> None:
        x, y = self.at(dot.x, dot.y)
        self.parts.append(
            f'<g class="dot {_colour(dot.colour)}" data-series="{escape(dot.group, quote=True)}" '
            f'tabindex="0" role="img" aria-label="{escape(dot.tip.replace("|", ", "), quote=True)}"'
            f' data-tip="{escape(dot.tip, quote=True)}" transform="translate({x} {y})">'
            f'<circle class="halo" r="14"/>{shape(dot.colour)}</g>'
        )

    def labels(self, dots: Sequence[Dot]) -> None:
        """Names beside the dots that have one, where they cover neither dots nor each other."""
        taken = [(*self.at(d.x, d.y), 7.0, 7.0) for d in dots]
        boxes = [(x - w, y - h, x + w, y + h) for x, y, w, h in taken]
        for dot in dots:
            if not dot.label:
                continue
            x, y = self.at(dot.x, dot.y)
            size = 6.6 * len(dot.label)
            for anchor, dx, dy in _PLACES:
                left = x + dx - {"start": 0.0, "end": size, "middle": size / 2}[anchor]
                box = (left, y + dy - 11, left + size, y + dy + 3)
                inside = box[0] > LEFT and box[2] < self.width - 2 and box[1] > 2
                if inside and not any(_overlap(box, other) for other in boxes):
                    boxes.append(box)
                    self.parts.append(
                        f'<text class="label" x="{x + dx}" y="{y + dy}" text-anchor="{anchor}">'
                        f"{escape(dot.label)}</text>"
                    )
                    break

    def svg(self, description: str) -> str:
        return (
            f'<svg class="chart" viewBox="0 0 {self.width} {self.height}" role="group" '
            f'aria-label="{escape(description, quote=True)}">{"".join(self.parts)}</svg>'
        )


_PLACES = (
    ("start", 10, 4), ("end", -10, 4), ("middle", 0, -11), ("middle", 0, 20),
    ("start", 9, -8), ("end", -9, -8), ("start", 9, 16), ("end", -9, 16),
)  # fmt: skip


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _colour(number: int) -> str:
    return f"c{number}" if number < COLOURS else "c-rest"


def shape(number: int) -> str:
    """The mark of a colour: colours differ in shape too, for those who see them alike."""
    shapes = (
        '<circle class="mark" r="5.5"/>',
        '<path class="mark" d="M-5 -5h10v10h-10z"/>',
        '<path class="mark" d="M0 -6.5L6.2 5H-6.2z"/>',
        '<path class="mark" d="M0 -7L7 0L0 7L-7 0z"/>',
        '<path class="mark" d="M0 6.5L6.2 -5H-6.2z"/>',
        '<path class="mark" d="M-2 -6h4v4h4v4h-4v4h-4v-4h-4v-4h4z"/>',
    )
    return shapes[number] if number < len(shapes) else '<circle class="mark" r="4"/>'


def legend(entries: Sequence[tuple[str, int]], *, lines: bool = False) -> str:
    """Names with their colours; pointing at one brings it forward in the figures beside it."""
    items = []
    for name, colour in entries:
        mark = '<path class="stroke" d="M-9 0H9"/>' if lines else shape(colour)
        items.append(
            f'<button type="button" class="key {_colour(colour)}" '
            f'data-series="{escape(name, quote=True)}"><svg viewBox="-10 -8 20 16" '
            f'aria-hidden="true">{mark}</svg>{escape(name)}</button>'
        )
    return f'<div class="legend">{"".join(items)}</div>'
