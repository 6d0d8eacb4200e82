"""Where compressed frames come from, and the decoder that takes them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

import av

from slowfast.datasets.decode.base import MOST_PIXELS, ClosingReader, VideoError
from slowfast.datasets.decode.index import FrameIndex, KeyFrame, video_stream
from slowfast.datasets.decode.mp4 import FrameTable

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

# Decoders that leave out frames nothing refers to when asked, with unchanged pixels elsewhere.
SKIPS_UNREFERENCED = frozenset({"h264", "hevc", "mpeg4"})
ROWS = 64
NO_VIDEO_FILES = frozenset(
    {"hls", "dash", "concat", "imf", "sdp", "rtsp", "rtp", "sap", "webm_dash_manifest", "lavfi"}
)
"""Formats that name further files or addresses to read, whatever the file itself is called."""
IMAGES = {
    b"\x89PNG": "PNG", b"\xff\xd8\xff": "JPEG", b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF",
    b"#EXTM3U": "playlist", b"ffconcat": "playlist", b"v=0\r": "playlist", b"v=0\n": "playlist",
}  # fmt: skip
"""First bytes of what is no video -> what it is."""


class Source(Protocol):
    """The packets of a video stream and its decoder.

    Attributes:
        context: the decoder, with the state of what was decoded last.
        stream_index: number of the stream in the file.
    """

    context: VideoCodecContext
    stream_index: int

    def packets(self, index: FrameIndex | None, start: KeyFrame | None) -> Iterator[Packet[Any]]:
        """Packets in decoding order from ``start``, or an earlier keyframe, or the first one."""
        ...

    def rest(self) -> None:
        """All packets that were decoded have come out as frames; forget them."""
        ...

    def close(self) -> None: ...


def skips_unreferenced(source: Source) -> bool:
    """Whether the decoder leaves out frames that nothing refers to, when asked."""
    return source.context.name in SKIPS_UNREFERENCED


class TableSource(ClosingReader):
    """Reads packets where the file's own table says they are.

    Args:
        path: video file.
        table: of this file.
        threads: decoding threads, 0 = FFmpeg decides.
    """

    def __init__(self, path: str, table: FrameTable, threads: int) -> None:
        self.path, self.table = path, table
        self.stream_index = table.stream_index
        self._decoder = (table.codec, table.extradata, table.colours, threads)
        try:
            self._file = open(path, "rb")  # noqa: SIM115
            self.context = DECODERS.take(self._decoder)
        except (OSError, av.FFmpegError) as error:
            raise VideoError(path, f"cannot be opened: {explain(error)}") from error
        self._rested = False

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()
        if self._rested:
            DECODERS.give(self._decoder, self.context)
            self._rested = False

    def packets(self, index: FrameIndex | None, start: KeyFrame | None) -> Iterator[Packet[Any]]:
        """See :class:`Source`."""
        table, first = self.table, 0
        if index is not None and start is not None:
            first = int(index.positions[start.number])
        self._rested = False
        self.context.reorder_depth = table.delay  # lost by flushing
        read, seek, place = self._file.read, self._file.seek, -1
        for stamp, is_key, offset, size in _rows(table, first):
            if offset != place:
                seek(offset)
            data = read(size)
            if len(data) != size:
                raise VideoError(self.path, "cut short while it was being read")
            place = offset + size
            packet: Packet[Any] = av.Packet(data)
            packet.pts = stamp
            if is_key:
                packet.is_keyframe = True
            yield packet

    def rest(self) -> None:
        """See :class:`Source`."""
        self.context.flush_buffers()
        self._rested = True


def _rows(table: FrameTable, first: int) -> Iterator[tuple[int, bool, int, int]]:
    """``(pts, key, offset, size)`` from a frame on; some at a time, for there may be thousands."""
    columns = (table.pts, table.key, table.offsets, table.sizes)
    for place in range(first, len(table.pts), ROWS):
        yield from zip(*(c[place : place + ROWS].tolist() for c in columns), strict=True)


Decoder = tuple[str, bytes, tuple[int, int, int, int] | None, int]
"""FFmpeg's name, extradata, colours (see :class:`FrameTable`), threads."""


class Decoders:
    """The decoder used last, for the next file that needs the same.

    Files of one encoder often differ in nothing but their frames; a decoder that need not be set
    up anew saves a millisecond per clip.
    """

    def __init__(self) -> None:
        self._kept: dict[Decoder, VideoCodecContext] = {}

    def take(self, decoder: Decoder) -> VideoCodecContext:
        """A decoder without memory of other frames."""
        return self._kept.pop(decoder, None) or _open_decoder(decoder)

    def give(self, decoder: Decoder, context: VideoCodecContext) -> None:
        """Keep a decoder that nobody uses any more; the one kept before goes."""
        if decoder[-1] == 1:  # threads would not survive a fork
            self._kept = {decoder: context}


DECODERS = Decoders()


def _open_decoder(decoder: Decoder) -> VideoCodecContext:
    codec, extradata, colours, threads = decoder
    context: Any = av.CodecContext.create(codec, "r")
    context.extradata = extradata
    context.options = {"max_pixels": str(MOST_PIXELS)}
    if colours:  # what the stream itself says goes before
        context.color_primaries, context.color_trc = colours[:2]
        context.colorspace, context.color_range = colours[2:]
    _set_threads(context, threads)
    opened: VideoCodecContext = context
    return opened


class ContainerSource(ClosingReader):
    """Reads packets through FFmpeg's demuxer.

    Args:
        path: video file.
        threads: decoding threads, 0 = FFmpeg decides.

    Raises:
        VideoError: cannot be opened, no video, or no decoder for it.
    """

    def __init__(self, path: str, threads: int) -> None:
        self.path, self._threads = path, threads
        self._open()

    def _open(self) -> None:
        try:
            self.container: InputContainer = av.open(self.path, options=open_options())
        except (av.FFmpegError, OSError, ValueError) as error:
            cause = f"cannot be opened: {explain(error)}"
            raise VideoError(self.path, _what_it_is(self.path) or cause) from error
        self.stream: VideoStream = video_stream(self.container, self.path)
        self.context: VideoCodecContext = self.stream.codec_context
        self.context.options = {"max_pixels": str(MOST_PIXELS)}
        _set_threads(self.context, self._threads)
        self.stream_index = self.stream.index
        self._fresh = True  # nothing read yet

    def close(self) -> None:
        """Let go of the file."""
        self.container.close()

    def touch(self) -> None:
        """Something else is about to read from the container."""
        self._fresh = False

    def packets(self, index: FrameIndex | None, start: KeyFrame | None) -> Iterator[Packet[Any]]:
        """See :class:`Source`."""
        stamps = (start.pts, start.dts) if index and start and start.number else ()
        for stamp in stamps:
            if stamp is None or not self._seek(stamp):
                continue
            packets = self._demux()
            for packet in packets:
                number = index.number(packet.pts) if index else -1
                if packet.is_keyframe and number >= 0:
                    if start and number <= start.number:
                        return itertools.chain([packet], packets)
                    break  # went too far
        if not self._fresh:
            self.container.close()
            self._open()
        return self._demux()

    def rest(self) -> None:
        """See :class:`Source`."""
        self.context.flush_buffers()

    def _demux(self) -> Iterator[Packet[VideoStream]]:
        self._fresh = False
        return (packet for packet in self.container.demux(self.stream) if packet.size)

    def _seek(self, stamp: int) -> bool:
        try:
            self.container.seek(stamp, stream=self.stream)
        except av.FFmpegError:
            return False
        return True


@functools.cache
def open_options() -> dict[str, str]:
    """FFmpeg's options for files of strangers: nothing but the file itself is read."""
    names = []
    for name in av.formats_available:
        try:
            form = av.ContainerFormat(name, "r").name
        except ValueError:  # is only written
            continue
        if name not in NO_VIDEO_FILES and not name.endswith("_pipe") and name != "image2":
            names.append(form)
    formats = ",".join(sorted({part for form in names for part in form.split(",")}))
    return {"protocol_whitelist": "file", "format_whitelist": formats}


def _what_it_is(path: str) -> str:
    """Says that a file is an image or a playlist; empty: it is neither."""
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError:
        return ""
    kind = next((kind for first, kind in IMAGES.items() if head.startswith(first)), "")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        kind = "WEBP"
    return f"is a {kind} file, not a video; give the video itself" if kind else ""


def _set_threads(context: VideoCodecContext, threads: int) -> None:
    context.thread_type = "NONE" if threads == 1 else "AUTO"
    context.thread_count = threads


def explain(error: BaseException) -> str:
    """FFmpeg's words without the number and the path that PyAV adds."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
