"""A page as Markdown, with its pictures beside it."""

from __future__ import annotations

import os
from functools import singledispatchmethod
from pathlib import Path

from slowfast.reports.figures import save_figure
from slowfast.reports.page.blocks import (
    Block,
    Charts,
    Clips,
    Code,
    Grid,
    Missing,
    Page,
    Text,
    Tiles,
)
from slowfast.utils.files import write_bytes, write_text


class MarkdownPage:
    """Writes a page and its pictures.

    Args:
        target: the ``.md`` file; pictures go to ``<its name>_files/``.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.folder = target.with_name(f"{target.stem}_files")
        self.pictures: list[Path] = []

    def write(self, page: Page) -> list[Path]:
        """The files written."""
        parts = [f"# {page.title}", page.summary, self.block(page.tiles)]
        for section in page.sections:
            parts.append(f"## {section.title}")
            parts += map(self.block, section.blocks)
        text = "\n\n".join(part for part in parts if part) + "\n"
        write_text(self.target, text)
        return [self.target, *self.pictures]

    @singledispatchmethod
    def block(self, block: Block) -> str:
        """One block of a section."""
        raise TypeError(f"no Markdown of a {type(block).__name__}")

    @block.register
    def _(self, block: Text) -> str:
        return block.text

    @block.register
    def _(self, block: Missing) -> str:
        command = f"\n```bash\n{block.command}\n```" if block.command else ""
        return f"{block.what}\n{command}".strip()

    @block.register
    def _(self, block: Code) -> str:
        title = f"{block.folded}:\n\n" if block.folded else ""
        return f"{title}```text\n{block.text}\n```"

    @block.register
    def _(self, block: Tiles) -> str:
        return "\n".join(
            f"- {tile.label}: **{tile.value}**{f' ({tile.before})' if tile.before else ''}"
            for tile in block.tiles
        )

    @block.register
    def _(self, block: Grid) -> str:
        rows = [list(row) for row in block.table.rows]
        for number, badge in block.badges.items():
            rows[number][0] = f"{rows[number][0]} ({badge})"
        table = type(block.table)(block.table.columns, rows, block.table.title).markdown()
        if not block.folded:
            return table
        return f"<details><summary>{block.folded}</summary>\n\n{table}\n\n</details>"

    @block.register
    def _(self, block: Charts) -> str:
        parts = []
        for chart in block.charts:
            path = save_figure(chart.draw(), self.folder / f"{chart.stem}.png")
            parts.append(f"### {chart.title}\n\n{self._image(path, chart.title)}")
            if chart.caption:
                parts.append(chart.caption)
        return "\n\n".join(parts)

    @block.register
    def _(self, block: Clips) -> str:
        parts = []
        for number, clip in enumerate(block.clips, 1):
            images = []
            for i, frame in enumerate(clip.frames):
                path = self.folder / f"clip_{number}_{i}.jpg"
                write_bytes(path, frame)
                self.pictures.append(path)
                images.append(f"![{clip.name}]({_link(path, self.target)})")
            guesses = [
                f"- {by}: {name}{'' if score is None else f' ({100 * score:.0f} %)'}, "
                f"{'right' if is_right else 'wrong'}"
                for by, name, score, is_right in clip.guesses
            ]
            head = f"**{clip.truth}** ({clip.why}): `{clip.name}`"
            parts.append("\n\n".join([head, "".join(images), "\n".join(guesses)]))
        return "\n\n".join(parts)

    def _image(self, path: Path, title: str) -> str:
        self.pictures.append(path)
        return f"![{title}]({_link(path, self.target)})"


def _link(path: Path, page: Path) -> str:
    return Path(os.path.relpath(path, page.parent)).as_posix()
