"""Writing files that are there whole or not at all, whenever the process or the machine ends."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from slowfast.utils.errors import UserError

FULL = "The disk is full: make room, or write elsewhere, and start the same command again"
LOCKED = "Nothing can be written there: choose another folder, or change its permissions"
ADVICE = {
    errno.ENOSPC: FULL,
    errno.EDQUOT: FULL,
    errno.EFBIG: "Files may not get so large there (ulimit -f): lift the limit",
    errno.EROFS: LOCKED,
    errno.EACCES: LOCKED,
    errno.EPERM: LOCKED,
    errno.ENOTDIR: "A part of the path is a file, not a folder",
}


ALMOST_NOTHING = 2**20  # bytes


class WriteError(UserError, OSError):
    """A file that could not be written; names it, the cause and the remedy."""


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file such that ``path`` holds the old one or the whole new one, never a part.

    The bytes are on the disk before the name is: also a power cut leaves one of the two. What a
    killed process leaves ends in ``.tmp`` and is overwritten by the next.

    Args:
        path: its folder is made.
        write: fills the open file.

    Raises:
        WriteError: the disk is full, the folder cannot be written ...; nothing is left behind.
    """
    partial = path.with_name(f"{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        cause = system_error(error)
        if cause is None:
            raise
        raise write_error(path, cause) from error
    _fsync_directory(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes; see :func:`write_atomically`."""
    write_atomically(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    """Write a text in UTF-8; see :func:`write_atomically`."""
    write_bytes(path, text.encode("utf-8"))


def copy_file(source: Path, target: Path) -> None:
    """Copy the bytes of a file; see :func:`write_atomically`."""
    with source.open("rb") as original:
        write_atomically(target, lambda file: shutil.copyfileobj(original, file))


def write_error(path: Path, cause: OSError) -> WriteError:
    """What to tell of a file that could not be written."""
    advice = ADVICE.get(cause.errno or 0, "Is the disk full?")
    return WriteError(f"cannot write {path}: {cause.strerror or cause}. {advice}")


@contextmanager
def staging_folder(target: Path) -> Iterator[Path]:
    """A folder beside ``target`` for its files until they are finished.

    One that a killed process left is cleared, so that they do not gather.
    """
    folder = target.with_name(f".export_{target.name}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def written_aside(target: Path) -> Iterator[Path]:
    """Where a library may write ``target`` and what belongs to it, e.g. ``.xml`` and ``.bin``.

    At the end the files get their place, ``target`` last. A description beside it,
    ``<target>.json``, would be of the file before, and goes first.

    Raises:
        WriteError: the disk is full.
    """
    with told_if_disk_full(target), staging_folder(target) as folder:
        yield folder / target.name
        target.with_name(f"{target.name}.json").unlink(missing_ok=True)
        for file in sorted(folder.iterdir(), key=lambda file: file.name == target.name):
            os.replace(file, target.parent / file.name)


@contextmanager
def told_if_disk_full(path: Path) -> Iterator[None]:
    """Around libraries that write ``path`` and wrap, or hide, that the disk was full.

    Raises:
        WriteError: instead of theirs.
    """
    try:
        yield
    except Exception as error:
        cause = system_error(error)
        if cause is not None and cause.errno in ADVICE:
            raise write_error(path, cause) from error
        if path.parent.is_dir() and shutil.disk_usage(path.parent).free < ALMOST_NOTHING:
            raise write_error(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))) from error
        raise


def system_error(error: BaseException | None) -> OSError | None:
    """The system's error at the root of another: torch, for one, wraps a full disk in its own."""
    while error is not None:
        if isinstance(error, OSError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _fsync_directory(directory: Path) -> None:
    if os.name != "posix":
        return  # other systems cannot open a directory
    with suppress(OSError):  # some network file systems cannot do it
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
