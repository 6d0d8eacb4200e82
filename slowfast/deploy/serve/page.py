"""The files of the page, in memory: no path of a request is ever looked up on the disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).with_name("static")
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
INDEX = "index.html"


def read_page() -> Iterator[tuple[str, str, bytes]]:
    """Path in the address, media type and content of every file."""
    for file in sorted(FOLDER.iterdir()):
        if kind := TYPES.get(file.suffix):
            path = "/" if file.name == INDEX else f"/{file.name}"
            yield path, f"{kind}; charset=utf-8", file.read_bytes()
