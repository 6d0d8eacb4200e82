"""Bounds on what comes out of archives and pickles, before it comes out."""

from __future__ import annotations

import mmap
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from slowfast.utils.errors import UserError, shortened

SLACK = 2**28
"""Bytes that a file may unpack to beyond its own size: little enough for any machine."""
MOST_UNPACKED = 2**31
"""Bytes that a compressed archive of scores may unpack to."""
VIEWS = 4
"""Tensors of a file may show its numbers so many times over, as tied weights do."""
ALLOCATES = b"bytearray"
"""What weights never need, and what turns ten bytes of a pickle into as many as one likes."""


class BombError(UserError, ValueError):
    """A small file that would fill the memory."""


def check_unpacked(archive: zipfile.ZipFile, path: Path, most: int | None = None) -> None:
    """Refuse an archive whose entries unpack to far more than the file has.

    Entries that lie over one another count once each.

    Args:
        archive: open.
        path: of it.
        most: bytes of all entries; by default those of the file and :data:`SLACK`, since torch
            does not compress.

    Raises:
        BombError: they are more.
    """
    limit = path.stat().st_size + SLACK if most is None else most
    total = sum(entry.file_size for entry in archive.infolist())
    if total > limit:
        raise BombError(
            f"{path} is refused: its {len(archive.infolist())} entries would unpack to {total} "
            f"bytes, and at most {limit} are taken. Write it again without compression, or get it "
            "from its source"
        )


def check_scores_archive(path: Path) -> None:
    """Refuse a compressed archive of arrays or JSON that no memory holds.

    Raises:
        BombError: see :func:`check_unpacked`.
        ValueError: no archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            check_unpacked(archive, path, MOST_UNPACKED)
    except zipfile.BadZipFile as error:
        raise ValueError(f"no archive: {error}") from error


def check_allocations(path: Path) -> None:
    """Refuse a torch file that asks for memory without filling it.

    Raises:
        BombError: it does.
    """
    with path.open("rb") as file:
        if not path.stat().st_size:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content.find(ALLOCATES) >= 0:
                raise BombError(
                    f"{path} is refused: it asks for a {ALLOCATES.decode()}, which weights do not "
                    "need and which can be of any size. Save tensors and plain values only"
                )


def check_tensors(state: Any, path: Path) -> None:
    """Refuse tensors that show few numbers so often that a copy would fill the memory.

    Raises:
        BombError: they do.
    """
    limit = VIEWS * path.stat().st_size + SLACK
    total, seen, waiting = 0, set[int](), [state]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            total += value.numel() * value.element_size()
            if total > limit:
                raise BombError(
                    f"{path} is refused: its tensors, the last of shape "
                    f"{shortened(tuple(value.shape))}, would fill more than {limit} bytes. Save "
                    "them with .clone()"
                )
        elif isinstance(value, (Mapping, list, tuple, set)) and id(value) not in seen:
            seen.add(id(value))  # a pickle may put a list into itself
            parts: Iterable[Any] = value.values() if isinstance(value, Mapping) else value
            waiting.extend(parts)
