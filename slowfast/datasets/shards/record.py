"""One video in a shard: where its bytes lie, and a reader of them."""

from __future__ import annotations

import hashlib
import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from slowfast.datasets.base import ClipRecord
from slowfast.datasets.decode import (
    Frames,
    Region,
    RegionReader,
    RegionsReader,
    VideoError,
    VideoReader,
    open_video,
)
from slowfast.datasets.decode.base import ClosingReader, Times
from slowfast.datasets.shards.storage import FILES
from slowfast.utils.stopwatch import Watch, no_watch

HEADER = tarfile.BLOCKSIZE  # bytes in front of every member
INSIDE = "::"  # between the shard and what lies in it, in the paths of records
COPY_AGAIN = "copy the shard again (tools/make_shards.py --verify finds all that are damaged)"


@dataclass(frozen=True)
class ShardRecord(ClipRecord):
    """A record whose video lies in a tar file; its ``path`` is ``<shard>::<member>``.

    Attributes:
        shard: path or URL of the tar file.
        offset: of the video's first byte in it.
        size: bytes of the video.
        crc32: of these bytes.
    """

    shard: str = ""
    offset: int = HEADER
    size: int = 0
    crc32: int = 0


def is_in_shard(path: str) -> bool:
    """Whether the path of a record stands for a member of a shard.

    Example:
        >>> is_in_shard("val/shard-000000.tar::00000000.mp4"), is_in_shard("val/a.mp4")
        (True, False)
    """
    return ".tar" + INSIDE in path


def read_sample(record: ShardRecord) -> memoryview:
    """The bytes of a record's video, as they were when the shard was written.

    Raises:
        VideoError: naming shard and member: not there, cut short, or other bytes.
    """
    try:
        data = memoryview(FILES.read(record.shard, record.offset - HEADER, HEADER + record.size))
    except Exception as error:  # every filesystem behind a URL has errors of its own
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise VideoError(record.path, f"the shard cannot be read: {reason}") from error
    if len(data) < HEADER + record.size:
        lost = HEADER + record.size - len(data)
        raise VideoError(record.path, f"cut short: the shard lacks {lost} bytes; {COPY_AGAIN}")
    if not _is_header_of(record, bytes(data[:HEADER])):
        cause = "no such member where the index says; the shard is damaged or another one"
        raise VideoError(record.path, f"{cause}: {COPY_AGAIN}")
    if zlib.crc32(data[HEADER:]) != record.crc32:
        raise VideoError(record.path, f"damaged: its CRC-32 is not the index's; {COPY_AGAIN}")
    return data[HEADER:]


def _is_header_of(record: ShardRecord, header: bytes) -> bool:
    try:
        info = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return info.isreg() and info.size in {record.size, 0}  # 0: a larger one stands before it


class MemoryFile:
    """Bytes under a path that every decoder can open; no disk is written to where Linux runs.

    The time of the last change stands for what the bytes are: readers know a file they have seen by
    its path, size and time, and these paths come again.

    Args:
        data: what the file holds.
        identity: names these bytes.
    """

    def __init__(self, data: memoryview, identity: str) -> None:
        if hasattr(os, "memfd_create"):
            self._descriptor, self._file = os.memfd_create("video", os.MFD_CLOEXEC), ""
            self.path = f"/proc/self/fd/{self._descriptor}"
        else:
            self._descriptor, self._file = tempfile.mkstemp(prefix="shard-")
            self.path = self._file
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
            digest = hashlib.blake2b(identity.encode("utf-8", "surrogateescape"), digest_size=7)
            stamp = int.from_bytes(digest.digest(), "big")
            os.utime(self.path, ns=(stamp, stamp))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the bytes."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            if self._file:
                os.unlink(self._file)


class SampleReader(ClosingReader):
    """A video in a shard. See :class:`VideoReader`; errors name the shard and the member.

    Args:
        reader: of the video's bytes.
        file: the bytes.
        path: of the record.
    """

    def __init__(self, reader: VideoReader, file: MemoryFile, path: str) -> None:
        self.path = path
        self._reader, self._file = reader, file
        self._take_facts()

    def _take_facts(self) -> None:
        reader = self._reader
        self.num_frames, self.fps = reader.num_frames, reader.fps
        self.width, self.height = reader.width, reader.height
        self.times: Times = reader.times

    def read(self, indices: Sequence[int], short_side: int | None = None) -> Frames:
        """The frames ``indices`` as ``(N, H, W, 3)`` RGB; see :meth:`VideoReader.read`."""
        with self._named():
            return self._reader.read(indices, short_side)

    def close(self) -> None:
        """Let go of the bytes."""
        self._reader.close()
        self._file.close()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            with named(self.path):
                yield
        finally:
            self._take_facts()  # decoding may have corrected them


class SampleRegionsReader(SampleReader):
    """The same where the decoder can cut before it scales; see :class:`RegionsReader`."""

    def read_region(self, indices: Sequence[int], region: Region) -> Frames:
        """A part of the frames ``indices``; see :class:`RegionReader`."""
        assert isinstance(self._reader, RegionReader)
        with self._named():
            return self._reader.read_region(indices, region)

    def read_regions(self, wanted: Sequence[tuple[Sequence[int], Region]]) -> list[Frames]:
        """Parts of frames of several clips; see :class:`RegionsReader`."""
        assert isinstance(self._reader, RegionsReader)
        with self._named():
            return self._reader.read_regions(wanted)


def open_sample(
    record: ShardRecord, *, backend: str = "pyav", threads: int = 1, watch: Watch = no_watch
) -> VideoReader:
    """The reader of a record in a shard; see :func:`slowfast.datasets.base.open_record`.

    Raises:
        VideoError: naming shard and member.
    """
    with watch("open"):
        file = MemoryFile(read_sample(record), record.path)
    try:
        with named(record.path):
            reader = open_video(file.path, backend, threads=threads, watch=watch)
        kind = SampleRegionsReader if isinstance(reader, RegionsReader) else SampleReader
        return kind(reader, file, record.path)
    except BaseException:
        file.close()
        raise


@contextmanager
def named(path: str) -> Iterator[None]:
    """Errors of the decoder speak of ``path``."""
    try:
        yield
    except VideoError as error:
        raise type(error)(path, error.cause) from error
