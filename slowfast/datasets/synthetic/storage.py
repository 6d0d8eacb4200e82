"""Files and folders of images that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

_IMAGE = re.compile(r"(frame_)?\d+\.jpg")


def partial(path: Path) -> Path:
    """Where a file or folder is written before it is complete."""
    return path.with_name(f".{path.name}.part")


def write_text(path: Path, text: str) -> None:
    """Write a file of which there is never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = partial(path)
    aside.write_text(text, encoding="utf-8")
    os.replace(aside, path)


def is_whole(path: Path, num_frames: int) -> bool:
    """Whether a video is there: as a file, or as a folder of ``num_frames`` images."""
    if not path.is_dir():
        return path.exists()
    return len(_images(path)) == num_frames


def discard(path: Path) -> None:
    """Delete a file, or the numbered images of a folder and the folder if nothing else is in it."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for name in _images(path):
        (path / name).unlink()
    with contextlib.suppress(OSError):
        path.rmdir()


def move(source: Path, target: Path) -> None:
    """Give a complete file or folder its name; images of an incomplete one there go."""
    if target.is_dir():
        discard(target)
    if not target.is_dir():
        os.replace(source, target)
        return
    for name in sorted(_images(source)):  # something else is in there: join it
        os.replace(source / name, target / name)
    source.rmdir()


def _images(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if _IMAGE.fullmatch(name)]
