"""The frame table of an MP4 or QuickTime file, read without FFmpeg and without the frames.

FFmpeg opens a file by reading its tables, building an index of every frame and decoding the first
one; numbering the frames then takes a pass over all packets, that is over the whole file. For one
clip of an hour of video that is most of the work. The tables alone (ISO/IEC 14496-12) tell where
each frame lies, when it is shown and where decoding can start: a third of a millisecond for ten
seconds of video, and only the packets that are decoded are ever read.

Only what is plain is read this way: H.264 or HEVC, one set of parameters, no fragments, no frames
hidden by an edit list, times that number the frames. Everything else is left to FFmpeg.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from slowfast.datasets.decode.base import MOST_PIXELS, VideoError

Numbers = NDArray[np.int64]

CODECS = {b"avc1": ("h264", b"avcC"), b"hvc1": ("hevc", b"hvcC"), b"hev1": ("hevc", b"hvcC")}
TOP_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"uuid", b"styp"})
MOOV_LIMIT = 1 << 28  # bytes; 30 hours at 50 frames per second take a quarter of it
VISUAL_ENTRY = 86  # bytes of a video sample entry before the boxes in it
ONE = 1 << 16  # in 16.16 fixed point
REORDER_LIMIT = 16  # frames, of H.264 and HEVC


class UnusualError(ValueError):
    """The file is not plain; FFmpeg may still read it."""


@dataclass(frozen=True)
class FrameTable:
    """The frames of a file's first video track, in decoding order.

    Attributes:
        codec: FFmpeg's name of the decoder.
        extradata: what the decoder must know beforehand.
        colours: primaries, transfer, matrix (H.273 numbers) and range (FFmpeg's: 1 limited,
            2 full), where the container states them.
        stream_index: number of the track in the file.
        width: pixels, before rotation.
        height: pixels, before rotation.
        rotation: degrees counter-clockwise that make the picture upright.
        rate: mean frames per second.
        time_base: seconds per unit of ``pts``.
        pts: ``(N,)`` when each frame is shown.
        key: ``(N,)`` decoding can start here.
        offsets: ``(N,)`` place in the file, bytes.
        sizes: ``(N,)`` bytes.
        delay: frames that the decoder must hold back to put them in order.
    """

    codec: str
    extradata: bytes
    colours: tuple[int, int, int, int] | None
    stream_index: int
    width: int
    height: int
    rotation: int
    rate: Fraction
    time_base: Fraction
    pts: Numbers
    key: NDArray[np.bool_]
    offsets: Numbers
    sizes: Numbers
    delay: int


def read_frame_table(path: str) -> FrameTable | None:
    """The table of ``path``; ``None`` where FFmpeg has to look at the file.

    Raises:
        VideoError: missing, or frames lie beyond its end.
    """
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            moov = _find_moov(file, size)
        table = _parse_moov(moov, size)
    except OSError as error:
        raise VideoError(path, error.strerror or str(error)) from error
    except (UnusualError, struct.error, KeyError, IndexError):
        return None
    lost = int(np.count_nonzero(table.offsets + table.sizes > size))
    if lost:
        frames = len(table.pts)
        raise VideoError(
            path, f"cut short: {lost} of {frames} frames lie beyond the end of the file"
        )
    return table


def _need(condition: object, what: str) -> None:
    if not condition:
        raise UnusualError(what)


# -- boxes ----------------------------------------------------------------------------------------


def _find_moov(file: BinaryIO, file_size: int) -> memoryview:
    place = 0
    while place + 8 <= file_size:
        file.seek(place)
        size, kind = struct.unpack(">I4s", file.read(8))
        _need(kind in TOP_BOXES, f"box {kind!r}")
        header = 8
        if size == 1:
            (size,), header = struct.unpack(">Q", file.read(8)), 16
        size = size or file_size - place
        _need(size >= header, "box size")
        if kind == b"moov":
            _need(size <= min(MOOV_LIMIT, file_size - place), "moov size")
            return memoryview(file.read(size - header))
        place += size
    raise UnusualError("no moov")


def _boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and content of the boxes that ``data`` consists of."""
    place = 0
    while place + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        header = 8
        if size == 1:
            (size,), header = struct.unpack_from(">Q", data, place + 8), 16
        size = size or len(data) - place
        _need(header <= size <= len(data) - place, "box size")
        yield kind, data[place + header : place + size]
        place += size


def _inside(data: memoryview) -> dict[bytes, memoryview]:
    """The boxes in ``data`` by kind; of several alike, the first."""
    found: dict[bytes, memoryview] = {}
    for kind, content in _boxes(data):
        found.setdefault(kind, content)
    return found


def _table(data: memoryview, columns: int, *, dtype: str = ">u4", at: int = 4) -> Numbers:
    """``(rows, columns)`` of a box that holds a count and so many rows of numbers."""
    (count,) = struct.unpack_from(">I", data, at)
    _need(count * columns * np.dtype(dtype).itemsize <= len(data) - at - 4, "table size")
    flat = np.frombuffer(data, dtype, count * columns, at + 4)
    return flat.reshape(count, columns).astype(np.int64)


# -- the video track ------------------------------------------------------------------------------


def _parse_moov(moov: memoryview, file_size: int) -> FrameTable:
    movie = _inside(moov)
    _need(b"mvex" not in movie and b"cmov" not in movie, "fragments")
    header = movie[b"mvhd"]
    long = header[0] == 1
    (movie_scale,) = struct.unpack_from(">I", header, 20 if long else 12)
    _need(_rotation(header, 48 if long else 36) == 0, "movie matrix")
    tracks = [content for kind, content in _boxes(moov) if kind == b"trak"]
    for number, content in enumerate(tracks):
        media = _inside(_inside(content)[b"mdia"])
        if bytes(media[b"hdlr"][8:12]) == b"vide":
            return _parse_track(_inside(content), media, movie_scale, number, file_size)
    raise UnusualError("no video track")


def _parse_track(
    track: dict[bytes, memoryview],
    media: dict[bytes, memoryview],
    movie_scale: int,
    number: int,
    file_size: int,
) -> FrameTable:
    head, media_head = track[b"tkhd"], media[b"mdhd"]
    rotation = _rotation(head, 52 if head[0] == 1 else 40)
    (scale,) = struct.unpack_from(">I", media_head, 20 if media_head[0] == 1 else 12)
    _need(0 < scale < 1 << 31 and movie_scale, "time scale")  # FFmpeg takes it as signed
    information = _inside(media[b"minf"])
    _check_references(information)
    tables = _inside(information[b"stbl"])
    sizes = _sizes(tables, file_size)
    deltas, shown = _times(tables, len(sizes))
    first = int(shown.min())
    _check_edits(track.get(b"edts"), (scale, movie_scale), first, int(shown.max()))
    key = _keys(tables.get(b"stss"), len(sizes))
    _need(key[0] and shown[0] == first, "frames before the first keyframe")
    width, height, codec, extradata, colours = _sample_entry(tables[b"stsd"])
    return FrameTable(
        codec=codec,
        extradata=extradata,
        colours=colours,
        stream_index=number,
        width=width,
        height=height,
        rotation=rotation,
        rate=Fraction(scale * len(sizes), int(deltas.sum())),
        time_base=Fraction(1, scale),
        pts=shown - first,
        key=key,
        offsets=_offsets(tables, sizes),
        sizes=sizes,
        delay=_delay(shown),
    )


def _rotation(header: memoryview, at: int) -> int:
    """Degrees counter-clockwise of a matrix that only turns by right angles."""
    a, b, _, c, d, _, _, _, w = struct.unpack_from(">9i", header, at)
    _need(w == 1 << 30 and a == d and b == -c and {abs(a), abs(b)} == {0, ONE}, "matrix")
    return -round(math.degrees(math.atan2(b, a))) % 360


def _check_references(information: dict[bytes, memoryview]) -> None:
    """Frames must lie in this file."""
    references = _inside(_inside(information[b"dinf"])[b"dref"][8:])
    flags = [int.from_bytes(content[1:4]) for content in references.values()]
    _need(flags == [1], "data in another file")


def _check_edits(edits: memoryview | None, scales: tuple[int, int], first: int, last: int) -> None:
    """The edit list must show every frame, from the first one on; it may do so later.

    Args:
        edits: the box, if there is one.
        scales: units per second of the track and of the movie.
        first: smallest time of a frame.
        last: largest.
    """
    if edits is None:
        return
    box = _inside(edits)[b"elst"]
    layout = struct.Struct(">Qqhh" if box[0] else ">Iihh")
    (count,) = struct.unpack_from(">I", box, 4)
    _need(0 < count <= 2, "several edits")
    entries = [layout.unpack_from(box, 8 + layout.size * place) for place in range(count)]
    waits = entries[0][1] == -1  # shows nothing at first
    _need(len(entries) == 1 + waits, "several edits")
    length, start, rate, fraction = entries[-1]
    _need(start == first and (rate, fraction) == (1, 0), "edit")
    _need(start + length * scales[0] // scales[1] > last, "frames hidden at the end")


def _sizes(tables: dict[bytes, memoryview], file_size: int) -> Numbers:
    size, count = struct.unpack_from(">II", tables[b"stsz"], 4)
    _need(0 < count <= file_size, "number of frames")
    sizes = np.full(count, size, np.int64) if size else _table(tables[b"stsz"], 1, at=8)[:, 0]
    _need(sizes.min() > 0, "frames without data")
    return sizes


def _times(tables: dict[bytes, memoryview], count: int) -> tuple[Numbers, Numbers]:
    """Duration of every frame, and when it is shown."""
    deltas = _spread(_table(tables[b"stts"], 2), count)
    _need(deltas.min() > 0 and deltas.max() < 1 << 28, "durations")
    shown = np.cumsum(deltas) - deltas
    if b"ctts" in tables:
        shift = _spread(_table(tables[b"ctts"], 2, dtype=">i4"), count)
        _need(np.abs(shift).max() < 1 << 28, "composition times")
        shown = shown + shift
        ordered = np.sort(shown)
        _need((ordered[1:] > ordered[:-1]).all(), "frames at the same time")
    return deltas, shown


def _spread(runs: Numbers, count: int) -> Numbers:
    """Values of ``(length, value)`` runs, one per frame."""
    _need(runs[:, 0].min(initial=0) >= 0 and runs[:, 0].sum() == count, "run lengths")
    return np.repeat(runs[:, 1], runs[:, 0])


def _keys(box: memoryview | None, count: int) -> NDArray[np.bool_]:
    if box is None:
        return np.ones(count, np.bool_)
    key = np.zeros(count, np.bool_)
    places = _table(box, 1)[:, 0] - 1
    _need(len(places) and places.min() >= 0 and places.max() < count, "keyframes")
    key[places] = True
    return key


def _offsets(tables: dict[bytes, memoryview], sizes: Numbers) -> Numbers:
    """Where every frame starts: frames lie side by side in chunks."""
    long = b"co64" in tables
    chunks = _table(tables[b"co64" if long else b"stco"], 1, dtype=">u8" if long else ">u4")[:, 0]
    runs = _table(tables[b"stsc"], 3)  # first chunk (from 1), frames per chunk, sample entry
    _need((runs[:, 2] == 1).all() and runs[0, 0] == 1, "sample entries")
    lengths = np.diff(runs[:, 0], append=len(chunks) + 1)
    _need(lengths.min() > 0, "chunk runs")
    frames = np.repeat(runs[:, 1], lengths)  # per chunk
    _need(frames.min() > 0 and frames.sum() == len(sizes), "frames per chunk")
    before = np.cumsum(sizes) - sizes
    starts = np.cumsum(frames) - frames  # first frame of each chunk
    _need(chunks.min() >= 0, "chunks before the file")  # of 64 bits
    return np.repeat(chunks - before[starts], frames) + before


def _sample_entry(
    box: memoryview,
) -> tuple[int, int, str, bytes, tuple[int, int, int, int] | None]:
    """Width, height, decoder, its extradata, colours."""
    (count,) = struct.unpack_from(">I", box, 4)
    entry = box[8:]
    size, kind = struct.unpack_from(">I4s", entry)
    _need(count == 1 and kind in CODECS and size <= len(entry), "sample entry")
    width, height = struct.unpack_from(">HH", entry, 32)
    inside = _inside(entry[VISUAL_ENTRY:size])
    _need(
        0 < width * height <= MOST_PIXELS and b"clap" not in inside and b"sinf" not in inside,
        "picture",
    )
    codec, parameters = CODECS[kind]
    return width, height, codec, bytes(inside[parameters]), _colours(inside.get(b"colr"))


def _colours(box: memoryview | None) -> tuple[int, int, int, int] | None:
    if box is None:
        return None
    _need(bytes(box[:4]) == b"nclx" and len(box) >= 11, "colours")
    primaries, transfer, matrix, flags = struct.unpack_from(">HHHB", box, 4)
    return primaries, transfer, matrix, 2 if flags & 0x80 else 1


def _delay(shown: Numbers) -> int:
    """The most frames that come before a frame in decoding order and after it on the screen."""
    later = np.zeros(len(shown), np.int64)
    for distance in range(1, min(REORDER_LIMIT, len(shown) - 1) + 1):
        later[distance:] += shown[:-distance] > shown[distance:]
    return int(later.max())
