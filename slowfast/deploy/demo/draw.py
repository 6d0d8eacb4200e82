"""What is drawn on a frame: the best classes with bars, the speed, and a timeline.

Parts are rendered when they change and kept; a frame then costs a blend of a few rectangles.
"""

from __future__ import annotations

import colorsys
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from slowfast.deploy.recognition import Guess, Recognition
from slowfast.deploy.recognize import Frame

Colour = tuple[int, int, int]

LEAST_FONT, LINES_PER_FRAME = 11, 30
"""Pixels of the smallest text; lines of text that would fill the short side of a frame."""
PANEL_SHARE = 0.6
"""Of a frame's height that the list of classes may take."""
BACK = (12, 14, 20, 190)
ROW_BACK = (255, 255, 255, 28)
WHITE, GREY = (255, 255, 255, 255), (205, 210, 220, 255)
GOLDEN = 0.61803398875  # hues of neighbouring ids are far apart
LIVE_SPAN_S = 60.0
ELLIPSIS = "\u2026"


def class_colour(index: int) -> Colour:
    """The colour of a class, in bars and timeline alike."""
    hue = (0.55 + index * GOLDEN) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.68, 0.82)
    return round(red * 255), round(green * 255), round(blue * 255)


@cache
def text_font(size: int) -> Any:
    """DejaVu Sans, which comes with matplotlib, or Pillow's own."""
    found = importlib.util.find_spec("matplotlib")
    if found and found.origin:
        path = Path(found.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf"
        if path.is_file():
            return ImageFont.truetype(str(path), size)
    return ImageFont.load_default(size)


@dataclass(frozen=True)
class Patch:
    """A translucent picture at its place: ``frame * keep / 256 + add / 256``.

    Attributes:
        top, left: of its first pixel in the frame.
        keep: ``(H, W, 3)``, 0 to 256.
        add: ``(H, W, 3)``.
    """

    top: int
    left: int
    keep: NDArray[np.uint16]
    add: NDArray[np.uint16]

    @classmethod
    def of_image(cls, image: Image.Image, top: int, left: int) -> Patch:
        """Of an RGBA picture."""
        pixels = np.asarray(image, np.uint16)
        alpha = pixels[..., 3:] + (pixels[..., 3:] > 127)  # 0 to 256
        keep = np.repeat(256 - alpha, 3, 2)  # not broadcast: blending is twice as fast
        return cls(top, left, keep, pixels[..., :3] * alpha)

    def draw(self, frame: Frame) -> None:
        """Blend it in, where it is inside."""
        height, width = self.keep.shape[:2]
        part = frame[self.top : self.top + height, self.left : self.left + width]
        rows, columns = part.shape[:2]
        mixed = part * self.keep[:rows, :columns]
        mixed += self.add[:rows, :columns]
        part[:] = mixed >> 8


@dataclass(frozen=True)
class Style:
    """Sizes for frames of one size, pixels.

    Attributes:
        height, width: of the frames.
        font: size of the text.
    """

    height: int
    width: int
    font: int

    @classmethod
    def fitting(cls, height: int, width: int) -> Style:
        """Legible, and not in the way."""
        side = min(height, width * 3 // 4)
        return cls(height, width, max(round(side / LINES_PER_FRAME), LEAST_FONT))

    @property
    def gap(self) -> int:
        """Between things."""
        return max(self.font // 2, 2)

    @property
    def row(self) -> int:
        """From line to line."""
        return round(self.font * 1.5)

    @property
    def strip(self) -> int:
        """Height of the timeline."""
        return max(self.font * 2 // 3, 4)

    @property
    def panel_width(self) -> int:
        """Of the list of classes."""
        return min(max(self.width // 2, self.font * 20), self.width - 2 * self.gap)

    def lines(self, taken: int) -> int:
        """Lines of text that fit above the timeline when ``taken`` pixels are not free."""
        return max((self.height - taken - self.strip - 3 * self.gap) // self.row, 0)


class Timeline:
    """A strip at the bottom: what was recognised when.

    Args:
        style: of the frames.
        duration_s: of the source; 0: it has no end, and the strip shows the last minute.
    """

    def __init__(self, style: Style, duration_s: float = 0.0) -> None:
        self.width, self.height = max(style.width - 2 * style.gap, 1), style.strip
        self.top = max(style.height - style.strip - style.gap, 0)
        self.left = min(style.gap, style.width - 1)
        self._span, self._ends = duration_s or LIVE_SPAN_S, duration_s > 0
        self._origin, self._filled = 0.0, 0
        self._colours = np.zeros((self.width, 3), np.uint16)
        self._keep = np.full((self.width, 3), 112, np.uint16)
        self._colours[:] = 60 * (256 - 112)
        self._now: tuple[Colour, float] | None = None
        self._patch: Patch | None = None

    def mark(self, guess: Guess) -> None:
        """From now on this is seen."""
        self._now = class_colour(guess.class_id), guess.score

    def draw(self, frame: Frame, time_s: float) -> None:
        """The strip up to ``time_s``."""
        place = int((time_s - self._origin) / self._span * self.width)
        if place >= self.width and not self._ends:
            self._shift(place - self.width + 1)
            place = self.width - 1
        place = min(place, self.width - 1)
        if self._patch is None or place >= self._filled:
            self._fill(place)
        if self._patch is not None:
            self._patch.draw(frame)

    def _shift(self, columns: int) -> None:
        kept = max(self.width - columns, 0)
        self._origin += columns * self._span / self.width
        for values in (self._colours, self._keep):
            values[:kept] = values[self.width - kept :]
        self._filled = max(self._filled - columns, 0)

    def _fill(self, place: int) -> None:
        """Colour the columns up to ``place``, and mark it."""
        if self._now is not None:
            colour, score = self._now
            alpha = round(256 * (0.35 + 0.65 * min(max(score, 0.0), 1.0)))
            self._colours[self._filled : place + 1] = np.array(colour, np.uint16) * alpha
            self._keep[self._filled : place + 1] = 256 - alpha
        self._filled = place + 1
        add = np.repeat(self._colours[None], self.height, 0)
        keep = np.repeat(self._keep[None], self.height, 0)
        head = slice(max(place - 1, 0), place + 1)
        add[:, head], keep[:, head] = 255 * 256, 0
        self._patch = Patch(self.top, self.left, keep, add)


class Overlay:
    """Draws what was recognised on the frames of one source.

    Args:
        height: of the frames, pixels.
        width: of the frames.
        class_names: task -> names by class id.
        top_k: classes shown per task, as far as there is room.
        duration_s: of the source; 0: it has no end.
    """

    def __init__(
        self,
        height: int,
        width: int,
        class_names: Mapping[str, Sequence[str]],
        *,
        top_k: int = 5,
        duration_s: float = 0.0,
    ) -> None:
        self.style, self.class_names, self.top_k = Style.fitting(height, width), class_names, top_k
        self.timeline = Timeline(self.style, duration_s)
        self._found: Recognition | None = None
        self._panel: Patch | None = None
        self._status: tuple[str, Patch | None] = ("", None)

    def draw(
        self, frame: Frame, time_s: float, found: Recognition | None, status: str = ""
    ) -> None:
        """Draw on ``frame``, in place.

        Args:
            frame: uint8 ``(H, W, 3)``, RGB.
            time_s: of it.
            found: the newest recognition; ``None`` before the first.
            status: a line for the top left corner.
        """
        if found is not self._found and found is not None:
            self._found = found
            top = found.top(self.top_k, self.class_names)
            self._panel = self._render_panel(top)
            self.timeline.mark(next(iter(top.values()))[0])
        if status != self._status[0]:
            self._status = (status, self._render_status(status))
        self.timeline.draw(frame, time_s)
        for patch in (self._panel, self._status[1]):
            if patch is not None:
                patch.draw(frame)

    def _render_status(self, text: str) -> Patch | None:
        style = self.style
        if not text or style.lines(taken=0) < 1:
            return None
        font = text_font(max(round(style.font * 0.85), LEAST_FONT - 1))
        text = elided(text, font, style.width - 4 * style.gap)
        size = (round(font.getlength(text)) + 2 * style.gap, style.row)
        image, canvas = blank(size, style)
        canvas.text((style.gap, size[1] / 2), text, GREY, font, anchor="lm")
        return Patch.of_image(image, style.gap, style.gap)

    def _render_panel(self, top: Mapping[str, Sequence[Guess]]) -> Patch | None:
        """The best classes of every task."""
        style, font = self.style, text_font(self.style.font)
        titles = len(top) if len(top) > 1 else 0
        taken = max(style.row + style.gap, round((1 - PANEL_SHARE) * style.height))
        room = style.lines(taken) - titles
        rows = min(self.top_k, room // len(top))
        if rows < 1:
            rows, titles = min(style.lines(taken=0) // len(top), 1), 0
        if rows < 1:
            return None
        lines: list[Guess | str] = []
        for task, guesses in top.items():
            lines += [task] * bool(titles) + list(guesses[:rows])
        size = (style.panel_width, len(lines) * style.row + style.gap)
        image, canvas = blank(size, style)
        y = style.gap / 2
        for line in lines:
            if isinstance(line, str):
                canvas.text((style.gap, y + style.row / 2), line, GREY, font, anchor="lm")
            else:
                image.alpha_composite(self._bar(line), (style.gap, round(y)))
            y += style.row
        return Patch.of_image(image, self.timeline.top - style.gap - size[1], style.gap)

    def _bar(self, guess: Guess) -> Image.Image:
        """One line: a bar behind the name, and the score."""
        style, font = self.style, text_font(self.style.font)
        width, height = style.panel_width - 2 * style.gap, style.row - max(style.row // 8, 1)
        image = Image.new("RGBA", (width, height))
        canvas, radius = ImageDraw.Draw(image), height // 4
        canvas.rounded_rectangle((0, 0, width - 1, height - 1), radius, ROW_BACK)
        length = round(min(max(guess.score, 0.0), 1.0) * (width - 1))
        if length > 2 * radius:
            colour = (*class_colour(guess.class_id), 210)
            canvas.rounded_rectangle((0, 0, length, height - 1), radius, colour)
        score = f"{guess.score:.0%}"
        pad = style.gap // 2 + 1
        name = elided(guess.name, font, width - 3 * pad - font.getlength("100%"))
        for x, text, anchor in ((pad, name, "lm"), (width - pad, score, "rm")):
            canvas.text((x + 1, height / 2 + 1), text, (0, 0, 0, 150), font, anchor=anchor)
            canvas.text((x, height / 2), text, WHITE, font, anchor=anchor)
        return image


def blank(size: tuple[int, int], style: Style) -> tuple[Image.Image, Any]:
    """A dark translucent field (width, height) with round corners, and what draws on it."""
    image = Image.new("RGBA", size)
    canvas = ImageDraw.Draw(image)
    canvas.rounded_rectangle((0, 0, size[0] - 1, size[1] - 1), style.gap, BACK)
    return image, canvas


def elided(text: str, font: Any, width: float) -> str:
    """``text`` cut so that it fits."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + ELLIPSIS) > width:
        text = text[:-1]
    return text.rstrip() + ELLIPSIS
