"""Heat on frames, side by side as a video, or one above the other as a sheet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from slowfast.utils.errors import UserError

Frames = NDArray[np.uint8]  # (T, H, W, 3), RGB
Image = NDArray[np.uint8]  # (H, W, 3), RGB

STRENGTH = 0.65
"""Share of the colour where the heat is greatest; where there is none the frame is as it was."""
LEAST_SIDE = 192
"""Pixels that the short side of a frame is enlarged to at least, by a whole factor."""
GAP, BACK, INK = 4, (18, 20, 26), (235, 238, 244)


@dataclass(frozen=True)
class Panel:
    """Frames with a line of text above.

    Attributes:
        title: the line.
        frames: uint8 ``(T, H, W, 3)``.
    """

    title: str
    frames: Frames


def colour_map(name: str) -> Any:
    """Matplotlib's colour map of that name.

    Raises:
        UserError: there is none; names similar ones.
    """
    import difflib

    import matplotlib

    try:
        return matplotlib.colormaps[name]
    except KeyError as error:
        near = difflib.get_close_matches(name, list(matplotlib.colormaps), n=4, cutoff=0.3)
        raise UserError(f"no colour map {name!r}: try {', '.join(near or ['viridis'])}") from error


def frames_of(clip: Tensor) -> Frames:
    """uint8 ``(3, T, H, W)`` or of one channel, as frames."""
    frames = clip.permute(1, 2, 3, 0).cpu().numpy()
    return np.ascontiguousarray(np.repeat(frames[..., :1], 3, 3) if len(clip) != 3 else frames)


def overlay(frames: Frames, heat: NDArray[np.floating[Any]], colours: str = "viridis") -> Frames:
    """Frames tinted by heat.

    Args:
        frames: ``(T, H, W, 3)``.
        heat: ``(T, H, W)``, 0 to 1.
        colours: name of a colour map.
    """
    share = STRENGTH * np.clip(heat, 0.0, 1.0)[..., None]
    colour = colour_map(colours)(heat)[..., :3] * 255.0
    return np.asarray(np.rint(frames * (1 - share) + colour * share), np.uint8)


def side_by_side(panels: Sequence[Panel], columns: int, head: Sequence[str] = ()) -> Frames:
    """A grid of panels, frame by frame; one with fewer frames shows each of them longer.

    Args:
        panels: row by row, frames of one size.
        columns: panels per row.
        head: lines above everything.

    Returns:
        ``(T, H, W, 3)``, T the most frames of a panel.
    """
    length = max(len(panel.frames) for panel in panels)
    titles = [_bar(panel.title, _width(panel), 1) for panel in panels]
    big = [enlarged(panel.frames) for panel in panels]
    pictures = []
    for t in range(length):
        tiles = []
        for title, frames in zip(titles, big, strict=True):
            tiles.append(np.concatenate([title, frames[held(t, length, len(frames))]]))
        rows = [_row(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
        pictures.append(_stack(rows))
    width = pictures[0].shape[1]
    lines = _bar("\n".join(head), width, len(head)) if head else np.zeros((0, width, 3), np.uint8)
    return np.stack([np.concatenate([lines, picture]) for picture in pictures])


def sheet(panels: Sequence[Panel], head: Sequence[str] = (), *, columns: int = 8) -> Image:
    """One row per panel: its title, and frames evenly spaced from the first to the last."""
    rows = []
    for panel in panels:
        count = min(columns, len(panel.frames))
        places = np.linspace(0, len(panel.frames) - 1, count).round().astype(int)
        strip = _row(list(enlarged(panel.frames[places])))
        rows += [_bar(panel.title, strip.shape[1], 1), strip]
    picture = _stack(rows, gap=0)
    return np.concatenate([_bar("\n".join(head), picture.shape[1], len(head)), picture])


def held(t: int, length: int, count: int) -> int:
    """The frame of ``count`` that is shown at picture ``t`` of ``length``: both ends included."""
    return round(t * (count - 1) / (length - 1)) if length > 1 else 0


def enlarged(frames: Frames) -> Frames:
    """Small frames made legible, by a whole factor."""
    factor = max(1, -(-LEAST_SIDE // min(frames.shape[1:3])))
    return frames.repeat(factor, axis=1).repeat(factor, axis=2)


def write_png(path: Path, picture: Image) -> Path:
    """Write a picture, its folder too."""
    from PIL import Image as PilImage

    path.parent.mkdir(parents=True, exist_ok=True)
    PilImage.fromarray(picture).save(path)
    return path


def write_mp4(path: Path, frames: Frames, fps: float) -> Path:
    """Write a video, its folder too."""
    from slowfast.deploy.demo.output import VideoWriter

    height, width = frames.shape[1:3]
    writer = VideoWriter(path, fps=fps, width=width, height=height)
    try:
        for i, frame in enumerate(frames):
            writer.write(frame, i / fps)
    except BaseException:
        writer.discard()
        raise
    writer.finish()
    return path


def gif_bytes(frames: Frames, fps: float = 8.0) -> bytes:
    """The frames as an endless GIF."""
    import io

    from PIL import Image as PilImage

    pictures = [PilImage.fromarray(frame) for frame in frames]
    target = io.BytesIO()
    pictures[0].save(
        target, "GIF", save_all=True, append_images=pictures[1:], loop=0,
        duration=max(round(1000 / fps), 20),
    )  # fmt: skip
    return target.getvalue()


def captioned(
    frames: Frames, lines: Sequence[str], colours: Sequence[tuple[int, int, int]] = ()
) -> Frames:
    """Enlarged frames with lines of text above, on bars of ``colours`` where they are given."""
    frames = enlarged(frames)
    bars = [
        _bar(line, frames.shape[2], 1, colours[i % len(colours)] if colours else BACK)
        for i, line in enumerate(lines)
    ]
    head = np.concatenate(bars)[None].repeat(len(frames), axis=0)
    return np.concatenate([head, frames], axis=1)


def _width(panel: Panel) -> int:
    return enlarged(panel.frames[:1]).shape[2]


def _bar(text: str, width: int, lines: int, back: tuple[int, int, int] = BACK) -> NDArray[np.uint8]:
    """Lines of text, cut at the width."""
    from PIL import Image as PilImage
    from PIL import ImageDraw

    from slowfast.deploy.demo.draw import elided, text_font

    size, pad = 13, 5
    image = PilImage.new("RGB", (width, lines * (size + pad) + pad), back)
    canvas, font = ImageDraw.Draw(image), text_font(size)
    ink = INK if sum(back) < 384 else (10, 10, 10)
    for i, line in enumerate(text.split("\n")):
        cut = elided(line, font, width - 2 * pad)
        canvas.text((pad, i * (size + pad) + pad // 2 + 1), cut, ink, font)
    return np.asarray(image, np.uint8)


def _row(tiles: Sequence[Image]) -> Image:
    gap = np.full((tiles[0].shape[0], GAP, 3), BACK, np.uint8)
    return np.concatenate(list(_between(tiles, gap)), axis=1)


def _stack(rows: Sequence[Image], gap: int = GAP) -> Image:
    """Rows above each other, the narrower ones filled up at the right."""
    width = max(row.shape[1] for row in rows)
    padded = []
    for row in rows:
        rest = np.full((row.shape[0], width - row.shape[1], 3), BACK, np.uint8)
        padded.append(np.concatenate([row, rest], axis=1))
    return np.concatenate(list(_between(padded, np.full((gap, width, 3), BACK, np.uint8))))


def _between(parts: Iterable[Image], gap: Image) -> Iterable[Image]:
    for i, part in enumerate(parts):
        if i:
            yield gap
        yield part
