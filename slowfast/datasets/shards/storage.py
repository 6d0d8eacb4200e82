"""Byte ranges of files on a disk, or behind any URL that fsspec knows."""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import Any, Protocol

from slowfast.utils.optional import require

OPEN_FILES = 16  # per process
BLOCK = 4 << 20  # bytes asked for at once of what is not on a disk
BLOCKS = 32  # kept of each open file: what the shuffling passes over comes back from here
AHEAD = 32 << 20  # bytes the disk is told of in advance


class ByteFile(Protocol):
    """A file that gives ranges of bytes; less where it ends."""

    def read(self, offset: int, size: int) -> bytes: ...

    def close(self) -> None: ...


class DiskFile:
    """A file on a disk. The system reads ahead of the ranges that are asked for.

    Args:
        path: of the file.
    """

    def __init__(self, path: str) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115
        self._told = 0

    def read(self, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset`` on."""
        descriptor = self._file.fileno()
        if hasattr(os, "posix_fadvise") and offset + size > self._told - AHEAD // 2:
            os.posix_fadvise(descriptor, offset, size + AHEAD, os.POSIX_FADV_WILLNEED)
            self._told = offset + size + AHEAD
        data = os.pread(descriptor, size, offset)
        while len(data) < size:  # one call gives 2 GB at most
            more = os.pread(descriptor, size - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class RemoteFile:
    """A file behind a URL, read in blocks of which the last ones are kept.

    Args:
        url: such as ``s3://bucket/name`` or ``memory://name``.
    """

    def __init__(self, url: str) -> None:
        system, name = _filesystem(url)
        options = {"maxblocks": BLOCKS}
        self._file = system.open(
            name, "rb", block_size=BLOCK, cache_type="blockcache", cache_options=options
        )

    def read(self, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset`` on."""
        self._file.seek(offset)
        data: bytes = self._file.read(size)
        return data

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


class OpenFiles:
    """The files this process reads from; those unused longest are closed.

    Args:
        limit: open at the same time.
    """

    def __init__(self, limit: int = OPEN_FILES) -> None:
        self.limit = limit
        self._files: OrderedDict[str, ByteFile] = OrderedDict()

    def read(self, path: str, offset: int, size: int) -> bytes:
        """``size`` bytes of a file or URL, less where it ends."""
        file = self._files.pop(path, None) or open_bytes(path)
        self._files[path] = file
        while len(self._files) > self.limit:
            self._files.popitem(last=False)[1].close()
        return file.read(offset, size)

    def forget(self) -> None:
        """Close all of them: after a fork the child opens its own."""
        for file in self._files.values():
            file.close()
        self._files.clear()


FILES = OpenFiles()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=FILES.forget)


def open_bytes(path: str) -> ByteFile:
    """A file on a disk, or behind a URL."""
    return RemoteFile(path) if is_url(path) else DiskFile(path)


def is_url(path: str) -> bool:
    """Whether a path is for fsspec.

    Example:
        >>> is_url("s3://bucket/train"), is_url("/data/train")
        (True, False)
    """
    return "://" in path


def join(folder: str, *names: str) -> str:
    """A name in a folder or below a URL.

    Example:
        >>> join("s3://bucket/k400/", "train", "index.json"), join("", "train")
        ('s3://bucket/k400/train/index.json', 'train')
    """
    if is_url(folder):
        return "/".join([folder.rstrip("/"), *names])
    return os.path.join(folder, *names)


def exists(path: str) -> bool:
    """Whether there is such a file."""
    if not is_url(path):
        return os.path.isfile(path)
    system, name = _filesystem(path)
    return bool(system.isfile(name))


def read_text(path: str) -> str:
    """A whole file, UTF-8."""
    if not is_url(path):
        with open(path, encoding="utf-8") as file:
            return file.read()
    system, name = _filesystem(path)
    data: bytes = system.cat_file(name)
    return data.decode("utf-8")


def _filesystem(url: str) -> tuple[Any, str]:
    """The filesystem of a URL, and the name in it."""
    system, name = require("fsspec.core", extra="shards").url_to_fs(url)
    return system, name
