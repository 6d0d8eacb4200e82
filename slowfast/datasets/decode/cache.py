"""A bounded cache on disk of decoded, scaled frames, shared by all loader processes.

Frames are kept as raw RGB, at one short side, in blocks of 16 consecutive frames of a video (image
folders: one by one). Only what clips need is ever decoded, so long videos of which segments are
used cost what the segments cost. Measured on a 340x256 H.264 clip, 32x2: 65 ms to decode, 0.7 ms
to read from the cache, 4 ms more where the clip is wanted at another size. (JPEG would take 15 ms
and a seventh of the space: for that, see ``tools/dump_frames.py``.)

What fits, by raw size: 32 frames of 112x112 are 1.2 MB, ten seconds at 340x256 are 78 MB. Use it
for small datasets and short segments, ``tools/prepare_videos.py`` for large ones.

Exactness: frames come back bit for bit where the short side asked for is the one kept; at smaller
ones they are scaled twice (mean difference about one level of 255). Larger ones are decoded, unless
the video itself is no larger than what is kept.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np
import torch

from slowfast.datasets.augment.spatial import resize
from slowfast.datasets.decode.base import (
    ClosingReader,
    FrameCountError,
    Frames,
    Times,
    VideoError,
    VideoReader,
    check_indices,
    scaled_size,
)
from slowfast.datasets.decode.frames import is_frame_path

if TYPE_CHECKING:
    from yacs.config import CfgNode

    from slowfast.datasets.base import ClipRecord

log = logging.getLogger(__name__)

VERSION = 1  # of the format: entries of another one are not found
BLOCK = 16  # frames of a video per entry
KEEP = 0.95  # share of the capacity left after making room
STALE_S = 3600  # unfinished files older than this have lost their writer
_PARTIAL = ".partial-"
_FACTS = 4  # numbers before the times in the entry about a video


@dataclass(frozen=True)
class DiskCache:
    """Files of bytes by name, in 256 folders, never more than ``capacity`` bytes of them.

    Entries appear whole (written aside, then renamed). When it is full, randomly chosen ones go:
    every clip is as likely to come next as any other, so there is nothing to learn from past
    use, and the least recently used are just those a shuffled epoch has still to visit. Readers
    do not mind: an open file outlives its name, a missing one is decoded again.

    Attributes:
        folder: on a local disk, for this cache alone.
        capacity: bytes.
    """

    folder: Path
    capacity: int

    def open(self, name: str, size: int | None = None) -> IO[bytes] | None:
        """The entry, if it is there and has ``size`` bytes."""
        try:
            file = open(self._path(name), "rb", buffering=0)  # noqa: SIM115
        except OSError:
            return None
        if size is not None and os.fstat(file.fileno()).st_size != size:  # e.g. after a power cut
            file.close()
            return None
        return file

    def store(self, name: str, data: np.ndarray) -> None:
        """Keep the bytes of ``data`` under ``name``; without effect where the disk is full."""
        path = self._path(name)
        if data.nbytes > self.capacity // 2:
            return  # would push out too much
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._locked() as count:
                self._reserve(count, data.nbytes)
                handle, partial = tempfile.mkstemp(prefix=_PARTIAL, dir=path.parent)
                os.truncate(handle, data.nbytes)  # counts from now on, whoever counts
            try:
                with os.fdopen(handle, "r+b") as file:
                    file.write(np.ascontiguousarray(data).data)
                with self._locked():  # nobody counts while names change
                    os.replace(partial, path)
            except BaseException:
                Path(partial).unlink(missing_ok=True)
                raise
        except OSError as error:
            _say_not_kept(str(self.folder), str(error.strerror))

    def used(self) -> int:
        """Bytes of all entries, by looking at every one."""
        return sum(size for _, size in self._entries())

    def _path(self, name: str) -> Path:
        return self.folder / name[:2] / name[2:]

    def _reserve(self, count: IO[bytes], size: int) -> None:
        """Count ``size`` bytes more, after making room for them if need be.

        The count may be too high (an entry written twice, a process killed), never too low; it is
        put right whenever it reaches the capacity.
        """
        try:
            used = int(count.read())
        except ValueError:  # the first time
            used = self.used()
        if used + size > self.capacity:
            used = self._make_room(size)
        count.seek(0)
        count.truncate()
        count.write(f"{used + size}".encode())

    @contextlib.contextmanager
    def _locked(self) -> Iterator[IO[bytes]]:
        import fcntl

        with open(self.folder / "used", "a+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # let go of when the file is closed
            file.seek(0)
            yield file

    def _make_room(self, size: int) -> int:
        """Delete random entries until ``size`` more fit; the bytes that remain."""
        entries = list(self._entries())
        used = sum(length for _, length in entries)
        if used + size <= self.capacity:
            return used
        random.Random(time.time_ns()).shuffle(entries)  # the global generator is not ours
        while entries and used + size > self.capacity * KEEP:
            path, length = entries.pop()
            with contextlib.suppress(FileNotFoundError):
                if _is_partial(path) and os.path.getmtime(path) > time.time() - STALE_S:
                    continue  # somebody is writing it
                os.unlink(path)
            used -= length
        return used

    def _entries(self) -> Iterator[tuple[str, int]]:
        """Path and bytes of every entry, also of those being written."""
        for shard in self.folder.glob("??"):
            for entry in os.scandir(shard):
                with contextlib.suppress(FileNotFoundError):
                    yield entry.path, entry.stat().st_size


def _is_partial(path: str) -> bool:
    return os.path.basename(path).startswith(_PARTIAL)


class CachedReader(ClosingReader):
    """A reader that decodes only what the cache does not hold. See :class:`VideoReader`.

    Args:
        path: video file, or pattern of a frame folder.
        open_source: opens the reader behind this one; called when something must be decoded.
        cache: the cache.
        short_side: of the frames kept, pixels; smaller videos are kept at their size.
        tag: tells entries of one decoder from those of another.
    """

    def __init__(
        self,
        path: str,
        open_source: Callable[[], VideoReader],
        cache: DiskCache,
        *,
        short_side: int,
        tag: str = "",
    ) -> None:
        self.path = path
        self._open_source = open_source
        self._cache = cache
        self._side = short_side
        self._images = is_frame_path(path)
        self._block = 1 if self._images else BLOCK
        self._key = "" if self._images else _digest(VERSION, tag, *_identity(path))
        self._reader: VideoReader | None = None
        if self._images or not self._recall():
            self._take_facts(self._source())

    def close(self) -> None:
        """Let go of the file."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def read(self, indices: Sequence[int], short_side: int | None = None) -> Frames:
        """The frames ``indices`` as ``(N, H, W, 3)`` RGB; see :meth:`VideoReader.read`."""
        numbers = check_indices(self.path, indices, self.num_frames)
        native = min(self.width, self.height)
        if native > self._side and (short_side is None or short_side > self._side):
            return self._decode(numbers, short_side)
        frames = self._kept(numbers, self._side if native > self._side else None)
        width, height = scaled_size(self.width, self.height, short_side)
        return resize(torch.from_numpy(frames), (height, width)).numpy()

    def _kept(self, numbers: list[int], side: int | None) -> Frames:
        """Frames at the size they are kept in, from the cache or through it."""
        width, height = scaled_size(self.width, self.height, side)
        frames = np.empty((len(numbers), height, width, 3), np.uint8)
        rows: dict[int, list[int]] = {}  # block -> rows of ``frames``
        for row, number in enumerate(numbers):
            rows.setdefault(number // self._block, []).append(row)
        missing = [block for block in rows if not self._fill(frames, numbers, block, rows[block])]
        if not missing:
            return frames
        wanted = [number for block in sorted(missing) for number in self._span(block)]
        try:
            decoded = self._decode(wanted, side)
        except FrameCountError:
            raise
        except VideoError:  # perhaps of a frame that nobody asked for
            return self._decode(numbers, side)
        place = {number: row for row, number in enumerate(wanted)}
        for block in missing:
            span = self._span(block)
            first = place[span[0]]
            self._cache.store(self._name(block), decoded[first : first + len(span)])
            for row in rows[block]:
                frames[row] = decoded[place[numbers[row]]]
        return frames

    def _fill(self, frames: Frames, numbers: list[int], block: int, rows: list[int]) -> bool:
        """Read the frames of one block; whether the cache has them."""
        bytes_each = frames[0].nbytes
        span = self._span(block)
        name = self._name(block)
        file = self._cache.open(name, bytes_each * len(span)) if name else None
        if file is None:
            return False
        with file:
            for row in rows:
                file.seek((numbers[row] - span[0]) * bytes_each)
                if file.readinto(frames[row].reshape(-1).data) != bytes_each:  # type: ignore[attr-defined]
                    return False
        return True

    def _span(self, block: int) -> range:
        start = block * self._block
        return range(start, min(start + self._block, self.num_frames))

    def _name(self, block: int) -> str:
        """Name of a block's entry; empty for an image that is not there."""
        if not self._images:
            return _digest(self._key, self.num_frames, self._side, block)
        try:
            return _digest(VERSION, *_identity(self.path.format(block)), self._side)
        except VideoError:
            return ""

    # -- what is behind ----------------------------------------------------------------------

    def _source(self) -> VideoReader:
        if self._reader is None:
            self._reader = self._open_source()
        return self._reader

    def _decode(self, numbers: list[int], side: int | None) -> Frames:
        source = self._source()
        try:
            return source.read(numbers, side)
        except FrameCountError:
            self._take_facts(source)  # corrected by now
            raise

    def _take_facts(self, source: VideoReader) -> None:
        self.num_frames, self.fps = source.num_frames, source.fps
        self.width, self.height = source.width, source.height
        self.times: Times = source.times
        if not self._images:
            facts = [self.num_frames, self.fps, self.width, self.height]
            self._cache.store(self._key, np.concatenate([facts, self.times]))

    def _recall(self) -> bool:
        """Take the facts about the video from the cache; whether they are there."""
        file = self._cache.open(self._key)
        if file is None:
            return False
        with file:
            content = file.read()
        numbers = np.frombuffer(content[: len(content) // 8 * 8], np.float64)
        if len(numbers) < _FACTS or len(numbers) != _FACTS + numbers[0]:
            return False
        self.num_frames, self.fps = int(numbers[0]), float(numbers[1])
        self.width, self.height = int(numbers[2]), int(numbers[3])
        self.times = numbers[_FACTS:]
        return True


@dataclass(frozen=True)
class CachedOpener:
    """Opens records through a cache; goes to worker processes as it is.

    Attributes:
        open: the reader of a record.
        cache: see :class:`DiskCache`.
        short_side: see :class:`CachedReader`.
        tag: see :class:`CachedReader`.
    """

    open: Callable[[ClipRecord], VideoReader]
    cache: DiskCache
    short_side: int
    tag: str = ""

    def __call__(self, record: ClipRecord) -> VideoReader:
        """A reader of ``record``."""
        return CachedReader(
            record.path,
            lambda: self.open(record),
            self.cache,
            short_side=self.short_side,
            tag=self.tag,
        )


def build_cached(
    cfg: CfgNode,
    open_record: Callable[[ClipRecord], VideoReader],
    companions: Sequence[CfgNode] = (),
) -> Callable[[ClipRecord], VideoReader]:
    """``open_record`` through the cache of ``DATA.CACHE_DIR``, or itself where that is empty.

    Args:
        cfg: the config.
        open_record: the reader of a record.
        companions: configs of other networks, whose clips come along: frames are kept large enough
            for all of them.

    Raises:
        VideoError: the folder cannot be made.
    """
    if not cfg.DATA.CACHE_DIR:
        return open_record
    folder = Path(cfg.DATA.CACHE_DIR)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VideoError(str(folder), f"DATA.CACHE_DIR: {error.strerror}") from error
    sides = [side for one in (cfg, *companions) for side in build_sides(one)]
    cache = DiskCache(folder.absolute(), int(cfg.DATA.CACHE_GB * 1e9))
    return CachedOpener(open_record, cache, max(sides), cfg.DATA.DECODING_BACKEND)


def build_sides(cfg: CfgNode) -> list[int]:
    """Short sides that clips are cut from, and sizes that they are cut to, pixels."""
    data = cfg.DATA
    crops = (data.TRAIN_CROP_SIZE, data.TEST_CROP_SIZE)
    return list(data.RESIZE) or [*data.TRAIN_JITTER_SCALES, *crops]


def _identity(path: str) -> tuple[str, int, int]:
    """A file as it is now: path, bytes, time of the last change."""
    try:
        status = os.stat(path)
    except OSError as error:
        raise VideoError(path, error.strerror or str(error)) from error
    return os.path.abspath(path), status.st_size, status.st_mtime_ns


@functools.cache  # one line per process and cause
def _say_not_kept(folder: str, cause: str) -> None:
    log.warning("frames are not kept in DATA.CACHE_DIR %s: %s", folder, cause)


def _digest(*parts: object) -> str:
    return hashlib.sha1(repr(parts).encode(), usedforsecurity=False).hexdigest()
