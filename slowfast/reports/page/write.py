"""From folders of runs to the page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from slowfast.reports.page.contents import page_of
from slowfast.reports.page.html import html_page
from slowfast.reports.page.markdown import MarkdownPage
from slowfast.reports.runs.read import read_runs
from slowfast.utils.files import write_text


def write_page(
    folders: Mapping[str, Path | str],
    output: Path | str,
    *,
    title: str = "",
    teacher: str = "",
    compressed: str = "",
) -> list[Path]:
    """Write the page about some runs, as HTML and as Markdown.

    Args:
        folders: name -> folder of runs.
        output: the HTML file; the Markdown is beside it, under the same name.
        title: of the page.
        teacher: see :func:`page_of`.
        compressed: see :func:`page_of`.

    Returns:
        The files: HTML, Markdown, then the Markdown's pictures.
    """
    runs = read_runs(folders)
    title = title or f"Report on {', '.join(folders)}"
    page = page_of(runs, title, teacher=teacher, compressed=compressed)
    target = Path(output).with_suffix(".html")
    write_text(target, html_page(page))
    return [target, *MarkdownPage(target.with_suffix(".md")).write(page)]
