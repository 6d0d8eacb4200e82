"""Which frames a file holds and where decoding can start, mostly without decoding.

The tables of a plain MP4 file, or else all packets of the file (no decoding: about 1 ms for a
ten-second video), give every frame's timestamp. Sorted, they number the frames in presentation
order, and a decoded frame is known by its timestamp alone. That holds where the container stores
true timestamps; everything else, and everything that looks odd, is numbered by decoding the file
once.
"""

from __future__ import annotations

import operator
import os
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import av
import numpy as np

from slowfast.datasets.decode.base import Times, VideoError, check_pixels
from slowfast.datasets.decode.mp4 import FrameTable, Numbers

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Containers that store a presentation time per packet. AVI, WMV and raw streams do not: FFmpeg
# guesses there, and guesses wrong where MPEG-4 files pack two frames into one packet.
TIMED_FORMATS = frozenset({"mov", "mp4", "matroska", "webm", "mpegts", "flv"})
WORTH_A_SEEK = 4  # frames: skipping fewer costs less by decoding than by seeking
CACHE_ENTRIES = 256  # files, per process
CACHE_FRAMES = 2_000_000  # of all these files together, about 50 bytes each


@dataclass(frozen=True)
class KeyFrame:
    """A place to start decoding: frame number, and its packet's times in stream units."""

    number: int
    pts: int
    dts: int | None


@dataclass(frozen=True)
class FrameIndex:
    """The frames of one video stream in presentation order.

    Attributes:
        times: ``(N,)`` seconds after the first frame.
        fps: mean frames per second.
        width: pixels of the coded picture, before rotation.
        height: pixels, before rotation.
        rotation: degrees counter-clockwise that make the picture upright: 0, 90, 180 or 270.
        pts: ``(N,)`` ascending timestamps in stream units; ``None`` where they identify nothing
            and frames can only be counted from the start.
        positions: ``(N,)`` number of each frame's packet in decoding order.
        keys: places to start, ascending.
        counted: the numbers come from decoding the whole file.
        table: where the packets lie, if FFmpeg is not needed to find them.
    """

    times: Times
    fps: float
    width: int
    height: int
    rotation: int
    pts: Numbers | None
    positions: Numbers
    keys: tuple[KeyFrame, ...]
    counted: bool
    table: FrameTable | None = None

    @cached_property
    def key_numbers(self) -> list[int]:
        """The frames to start from, ascending."""
        return [key.number for key in self.keys]

    @property
    def num_frames(self) -> int:
        """Frames in the file."""
        return len(self.times)

    def number(self, pts: int | None) -> int:
        """The number of the frame with this timestamp, -1 when there is none."""
        if self.pts is None or pts is None:
            return -1
        place = int(np.searchsorted(self.pts, pts))
        return place if place < len(self.pts) and self.pts[place] == pts else -1

    def segments(self, wanted: list[int]) -> list[tuple[KeyFrame | None, list[int]]]:
        """``wanted`` (ascending) cut where seeking saves decoding: (start, frames) pairs.

        A start of ``None`` is the beginning of the file.
        """
        if self.pts is None:
            return [(None, wanted)]
        parts: list[tuple[KeyFrame | None, list[int]]] = []
        for frame in wanted:
            nearest = bisect_right(self.key_numbers, frame) - 1
            key = self.keys[nearest] if nearest >= 0 else None
            ahead = key.number - parts[-1][1][-1] if key and parts else 0
            if not parts or ahead > WORTH_A_SEEK:
                parts.append((key, [frame]))
            else:
                parts[-1][1].append(frame)
        return parts


@dataclass(frozen=True)
class Packets:
    """What demuxing tells about the packets of one stream, in decoding order."""

    pts: list[int | None]
    dts: list[int | None]
    key: list[bool]
    shown: list[bool]  # False: outside the edit list, decoded but never displayed
    first: Packet[VideoStream]


def video_stream(container: InputContainer, path: str) -> VideoStream:
    """The first video stream that is not a cover picture.

    PySlowFast and OpenCV take the same one.

    Raises:
        VideoError: there is none, or FFmpeg has no decoder for it.
    """
    cover = av.stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & cover]
    if not streams:
        kinds = sorted({stream.type for stream in container.streams}) or "nothing"
        raise VideoError(path, f"no video stream (the file holds {kinds})")
    if streams[0].codec_context is None:
        raise VideoError(path, "no decoder for its video stream; re-encode it, e.g. to H.264")
    check_pixels(path, streams[0].codec_context.width, streams[0].codec_context.height)
    return streams[0]


def scan_packets(container: InputContainer, stream: VideoStream, path: str) -> Packets:
    """Demux ``stream`` to its end without decoding.

    Raises:
        VideoError: no packets, or the file ends before its last frame.
    """
    _check_length(container, stream, path)
    pts, dts, key, shown = [], [], [], []
    first, corrupt = None, False
    for packet in container.demux(stream):
        if packet.size == 0:  # a dropped frame, or the end
            continue
        first = first or packet
        corrupt = packet.is_corrupt
        pts.append(packet.pts)
        dts.append(packet.dts)
        key.append(packet.is_keyframe)
        shown.append(not packet.is_discard)
    if first is None:
        raise VideoError(path, "the video stream holds no frames (empty or cut short)")
    if corrupt:
        raise VideoError(path, f"cut short: its packet {len(pts)} is incomplete")
    return Packets(pts, dts, key, shown, first)


def _check_length(container: InputContainer, stream: VideoStream, path: str) -> None:
    """Raise when the container's own table points beyond the end of the file."""
    if "mp4" not in container.format.name or not os.path.isfile(path):
        return  # other tables are optional or approximate
    entries = stream.index_entries
    size = os.path.getsize(path)
    if len(entries) and entries[-1].pos + entries[-1].size > size:
        lost = sum(entry.pos + entry.size > size for entry in entries)
        cause = f"cut short: {lost} of {len(entries)} frames lie beyond the end of the file"
        raise VideoError(path, cause)


def trustworthy(packets: Packets, stream: VideoStream, format_name: str) -> bool:
    """Whether the packets' timestamps number the decoded frames, as far as one can tell."""
    shown = [pts for pts, visible in zip(packets.pts, packets.shown, strict=True) if visible]
    reorders = bool(stream.codec_context.has_b_frames)
    if not shown or None in shown or len(set(shown)) < len(shown) or not packets.key[0]:
        return False
    if reorders and not _is_timed(format_name):
        return False
    if reorders and packets.pts == packets.dts and len(shown) > 1:
        return False  # frames are reordered but no presentation times were stored
    leading = packets.pts[0] is None or min(p for p in shown if p is not None) < packets.pts[0]
    return not leading  # frames before the first keyframe may not decode


def index_from_packets(
    packets: Packets, stream: VideoStream, picture: VideoFrame, counted: list[int | None] | None
) -> FrameIndex:
    """The index of a stream.

    Args:
        packets: see :func:`scan_packets`.
        stream: the stream.
        picture: any of its decoded frames, for size and rotation.
        counted: timestamps of all decoded frames in the order they came out, or ``None`` to take
            them from the packets.
    """
    stamps = _shown(packets) if counted is None else counted
    known = [stamp for stamp in stamps if stamp is not None]
    rising = len(known) == len(stamps) and all(map(operator.lt, known, known[1:]))
    pts = np.array(known, np.int64) if rising else None
    fps = _fps(stream, pts)
    base = float(stream.time_base or 0)
    times = (pts - pts[0]) * base if pts is not None and base else np.arange(len(stamps)) / fps
    usable = pts if counted is None or _is_timed(stream.container.format.name) else None
    positions, keys = _places(packets, usable, len(stamps))
    return FrameIndex(
        times=times,
        fps=fps,
        width=picture.width,
        height=picture.height,
        rotation=round(picture.rotation / 90) * 90 % 360,
        pts=usable,
        positions=positions,
        keys=keys,
        counted=counted is not None,
    )


def index_from_table(table: FrameTable) -> FrameIndex:
    """The index of a plain MP4 file."""
    order = np.argsort(table.pts)  # places in decoding order, by frame number
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    keys: list[KeyFrame] = []
    for place in np.flatnonzero(table.key).tolist():
        if not keys or number[place] > keys[-1].number:
            keys.append(KeyFrame(int(number[place]), int(table.pts[place]), None))
    pts = table.pts[order]
    return FrameIndex(
        times=pts.astype(np.float64) * float(table.time_base),
        fps=float(table.rate),
        width=table.width,
        height=table.height,
        rotation=table.rotation,
        pts=pts,
        positions=order,
        keys=tuple(keys),
        counted=False,
        table=table,
    )


def _places(
    packets: Packets, pts: Numbers | None, num_frames: int
) -> tuple[Numbers, tuple[KeyFrame, ...]]:
    """Where each frame's packet stands in decoding order, and the frames to start from."""
    positions = np.full(num_frames, len(packets.pts), np.int64)  # unknown: at the end
    keys: list[KeyFrame] = []
    numbers = {} if pts is None else {stamp: number for number, stamp in enumerate(pts.tolist())}
    for place, stamp in enumerate(packets.pts):
        number = numbers.get(stamp)
        if number is None or stamp is None:
            continue
        positions[number] = place
        if packets.key[place] and (not keys or number > keys[-1].number):
            keys.append(KeyFrame(number, stamp, packets.dts[place]))
    return positions, tuple(keys)


def _shown(packets: Packets) -> list[int | None]:
    """Timestamps of the frames to display, ascending."""
    pairs = zip(packets.pts, packets.shown, strict=True)
    return [*sorted(pts for pts, visible in pairs if visible and pts is not None)]


def _is_timed(format_name: str) -> bool:
    return not TIMED_FORMATS.isdisjoint(format_name.split(","))


def _fps(stream: VideoStream, pts: Numbers | None) -> float:
    """Mean frames per second as the container states it, else from the timestamps, else 30."""
    rate = stream.average_rate or stream.guessed_rate
    if rate:
        return float(rate)
    if pts is not None and len(pts) > 1 and stream.time_base:
        return (len(pts) - 1) / float((pts[-1] - pts[0]) * stream.time_base)
    return 30.0


class IndexCache:
    """The last indices of this process, by path, size and modification time.

    Args:
        entries: files, at most.
        frames: of all files together, at most; the last file is kept in any case.
    """

    def __init__(self, entries: int = CACHE_ENTRIES, frames: int = CACHE_FRAMES) -> None:
        self.entries, self.frames = entries, frames
        self._items: OrderedDict[tuple[str, int, int], FrameIndex] = OrderedDict()
        self._held = 0

    def get(self, path: str) -> FrameIndex | None:
        """The index of ``path`` if the file is still the same."""
        key = _identity(path)
        if key not in self._items:
            return None
        self._items.move_to_end(key)
        return self._items[key]

    def put(self, path: str, index: FrameIndex) -> None:
        """Keep ``index``; the ones unused longest go."""
        key = _identity(path)
        if key in self._items:
            self._held -= self._items.pop(key).num_frames
        self._items[key] = index
        self._held += index.num_frames
        while len(self._items) > self.entries or (self._held > self.frames and len(self) > 1):
            self._held -= self._items.popitem(last=False)[1].num_frames

    def clear(self) -> None:
        """Forget all files."""
        self._items.clear()
        self._held = 0

    def __len__(self) -> int:
        return len(self._items)


def _identity(path: str) -> tuple[str, int, int]:
    try:
        status = os.stat(path)
    except OSError as error:
        raise VideoError(path, error.strerror or str(error)) from error
    return os.path.abspath(path), status.st_size, status.st_mtime_ns


CACHE = IndexCache()
