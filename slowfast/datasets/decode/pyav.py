"""PyAV: seek to the keyframe, decode to the last wanted frame, convert only the wanted ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import av
import numpy as np

from slowfast.datasets.decode.base import (
    ClosingReader,
    FrameCountError,
    Frames,
    Region,
    Times,
    VideoError,
    check_indices,
    scaled_size,
)
from slowfast.datasets.decode.convert import (
    FrameSink,
    FrameSinks,
    RegionScaler,
    Scaler,
    WholeScaler,
)
from slowfast.datasets.decode.index import (
    CACHE,
    FrameIndex,
    KeyFrame,
    Packets,
    index_from_packets,
    index_from_table,
    scan_packets,
    trustworthy,
)
from slowfast.datasets.decode.mp4 import read_frame_table
from slowfast.datasets.decode.sources import (
    ContainerSource,
    Source,
    TableSource,
    explain,
    skips_unreferenced,
)
from slowfast.utils.stopwatch import Watch, no_watch

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame

MOST_FPS = 1e6  # beyond any camera's


class PyAVReader(ClosingReader):
    """Exact frames through FFmpeg's libraries. See :class:`VideoReader`.

    Plain MP4 files are read by their own tables (:mod:`slowfast.datasets.decode.mp4`); when
    anything comes out of them otherwise than announced, and for all other files, FFmpeg's demuxer
    is asked.

    Colours follow the stream's matrix and range. Scaling is swscale's bilinear filter, PyAV's
    default: it averages over the source area when it reduces, so less aliasing than
    ``F.interpolate``, which PySlowFast uses on the full-size frames.

    Args:
        path: video file.
        threads: decoding threads, 0 = FFmpeg decides.
        watch: is told what the time goes into: open, seek, decode, scale.

    Raises:
        VideoError: missing, unreadable, without video, or cut short.
    """

    def __init__(self, path: str, *, threads: int = 1, watch: Watch = no_watch) -> None:
        self.path = str(path)
        self._threads, self._watch = threads, watch
        self._source: Source | None = None
        with watch("open"):
            try:
                self._use(CACHE.get(self.path) or self._build_index())
                self._open(self._index)
            except BaseException:
                self.close()
                raise

    @property
    def stream_index(self) -> int:
        """Number of the video stream in the file."""
        return self._opened().stream_index

    @property
    def context(self) -> VideoCodecContext:
        """The decoder."""
        return self._opened().context

    def needed_packets(self, numbers: list[int]) -> list[list[tuple[Packet[Any], str]]]:
        """What is decoded for some frames (ascending): per start, packets and what is skipped.

        The second of a pair is the decoder's ``skip_frame`` for this packet.
        """
        return [
            [
                (packet, self.context.skip_frame)
                for packet in self._up_to(self._opened().packets(self._index, start), frames)
            ]
            for start, frames in self._index.segments(numbers)
        ]

    def close(self) -> None:
        """Let go of the file."""
        if self._source is not None:
            self._source.close()
            self._source = None

    def read(self, indices: Sequence[int], short_side: int | None = None) -> Frames:
        """The frames ``indices`` as ``(N, H, W, 3)`` RGB; see :meth:`VideoReader.read`."""
        size = scaled_size(self.width, self.height, short_side)
        scaler = WholeScaler(*(size[::-1] if self._turns % 2 else size))
        return self._read([(indices, scaler)])[0]

    def read_region(self, indices: Sequence[int], region: Region) -> Frames:
        """A part of the frames ``indices``; see :class:`RegionReader`."""
        return self.read_regions([(indices, region)])[0]

    def read_regions(self, wanted: Sequence[tuple[Sequence[int], Region]]) -> list[Frames]:
        """Parts of frames, of several clips in one decoding pass; see :class:`RegionsReader`."""
        size = (self.height, self.width)
        return self._read(
            [
                (indices, RegionScaler(region.turned(self._turns, *size)))
                for indices, region in wanted
            ]
        )

    def _read(self, wanted: Sequence[tuple[Sequence[int], Scaler]]) -> list[Frames]:
        checked = [
            (check_indices(self.path, indices, self.num_frames), scaler)
            for indices, scaler in wanted
        ]
        with self._watch("decode"):
            try:
                return self._collect(checked)
            except VideoError as error:
                if self._index.table is None:
                    raise
                self._leave_table(error)
            return self._collect(checked)

    def _collect(self, wanted: list[tuple[list[int], Scaler]]) -> list[Frames]:
        sinks = FrameSinks([FrameSink(self.path, *one) for one in wanted])
        for start, frames in self._index.segments(sorted(sinks.missing)):
            self._decode_segment(sinks, start, frames)
        if sinks.missing:
            self._decode_from_start(sinks)
        return [
            np.ascontiguousarray(np.rot90(sink.frames, self._turns, axes=(1, 2)))
            for sink in sinks.sinks
        ]

    def _use(self, index: FrameIndex) -> None:
        if not 0 < index.fps <= MOST_FPS:
            cause = f"its header says {index.fps:g} frames per second; re-encode it with its rate"
            raise VideoError(self.path, cause)
        self._index = index
        self.num_frames = index.num_frames
        self.fps = index.fps
        self.times: Times = index.times
        self._turns = index.rotation // 90  # anticlockwise, until the picture is upright
        size = (index.width, index.height)
        self.width, self.height = size[::-1] if self._turns % 2 else size

    # -- opening ---------------------------------------------------------------------------

    def _open(self, index: FrameIndex) -> None:
        """Open the file the way its index wants it; nothing to do where it is open."""
        if self._source is None:
            self._source = (
                TableSource(self.path, index.table, self._threads)
                if index.table
                else ContainerSource(self.path, self._threads)
            )

    def _opened(self) -> Source:
        if self._source is None:
            raise VideoError(self.path, "the reader is closed")
        return self._source

    def _build_index(self) -> FrameIndex:
        table = read_frame_table(self.path)
        return self._scan() if table is None else self._keep(index_from_table(table))

    def _scan(self) -> FrameIndex:
        """The index by a pass over all packets."""
        source = self._source = ContainerSource(self.path, self._threads)
        try:
            packets = self._scan_packets(source)
        except av.FFmpegError as error:
            raise VideoError(self.path, f"damaged container: {explain(error)}") from error
        picture = self._first_picture(packets)
        trusted = trustworthy(packets, source.stream, source.container.format.name)
        if picture is None or not trusted:
            return self._count_frames(packets)
        if packets.shown[0] and picture.pts != packets.pts[0]:
            return self._count_frames(packets)
        return self._keep(index_from_packets(packets, source.stream, picture, None))

    def _scan_packets(self, source: ContainerSource) -> Packets:
        source.touch()
        return scan_packets(source.container, source.stream, self.path)

    def _first_picture(self, packets: Packets) -> VideoFrame | None:
        """The frame of the first packet, also when the edit list hides it."""
        packet: Packet[Any] = packets.first
        if packet.is_discard:
            packet = av.Packet(bytes(memoryview(packet)))  # the copy is not marked
        source = self._opened()
        context = source.context
        try:
            frames = [*context.decode(packet), *context.decode(None)]
        except av.FFmpegError:
            return None  # counting the frames will tell
        source.rest()
        return frames[0] if frames else None

    def _count_frames(self, packets: Packets | None = None) -> FrameIndex:
        """Number the frames by decoding all of them (kept for later opens of the same file)."""
        source = self._opened()
        assert isinstance(source, ContainerSource)
        if packets is None:
            source.packets(None, None)
            packets = self._scan_packets(source)
        stamps: list[int | None] = []
        picture: VideoFrame | None = None
        for frame in self._frames(source.packets(None, None)):
            picture = picture or frame
            stamps.append(frame.pts)
        if picture is None:
            raise VideoError(self.path, "no frame of the video stream can be decoded")
        return self._keep(index_from_packets(packets, source.stream, picture, stamps))

    def _keep(self, index: FrameIndex) -> FrameIndex:
        CACHE.put(self.path, index)
        return index

    def _leave_table(self, error: VideoError) -> None:
        """Something came out of the file that its table does not say: let FFmpeg look at it.

        Raises:
            FrameCountError: it finds other frames than the table has.
        """
        before = (self.num_frames, self.width, self.height, self._turns)
        self.close()
        self._use(self._scan())
        now = (self.num_frames, self.width, self.height, self._turns)
        if now != before:
            promised, found = ("{} frames of {}x{}".format(*facts[:3]) for facts in (before, now))
            raise FrameCountError(self.path, f"{error.cause}; {promised} promised, {found} found")

    # -- decoding --------------------------------------------------------------------------

    def _decode_segment(self, sink: FrameSinks, start: KeyFrame | None, frames: list[int]) -> None:
        """Decode from ``start`` until all of ``frames`` have come out.

        What does not come out stays in ``sink.missing``.
        """
        stamps = self._index.pts
        if stamps is None:
            self._count_to(sink)
            return
        numbers = dict(zip(stamps[frames].tolist(), frames, strict=True))
        with self._watch("seek"):
            packets = self._opened().packets(self._index, start)
        latest = -(1 << 63)
        for frame in self._frames(self._up_to(packets, frames)):
            stamp = frame.pts
            if stamp is None:
                continue
            if stamp < latest:
                self._check_order(stamp, latest)
            latest = max(latest, stamp)
            number = numbers.get(stamp)
            if number is not None:
                self._put(sink, number, frame)

    def _put(self, sink: FrameSinks, number: int, frame: VideoFrame) -> None:
        index = self._index
        as_announced = (frame.width, frame.height, frame.rotation) == (index.width, index.height, 0)
        if index.table and not as_announced:
            shape = f"{frame.width}x{frame.height}, turned by {frame.rotation} degrees"
            raise VideoError(self.path, f"frame {number} is {shape}")
        with self._watch("scale"):
            sink.put(number, self._as_first(frame))

    def _as_first(self, frame: VideoFrame) -> VideoFrame:
        """The frame in the size of the first one, where the resolution changes on the way."""
        size = (self._index.width, self._index.height)
        return frame if (frame.width, frame.height) == size else frame.reformat(*size)

    def _check_order(self, stamp: int, latest: int) -> None:
        """A frame with an earlier time came out after one with a later time."""
        number, other = self._index.number(stamp), self._index.number(latest)
        if number >= 0 and other >= 0:
            self._recount(f"frame {number} comes out after frame {other}")

    def _count_to(self, sink: FrameSinks) -> None:
        """Decode from the start, counting, until nothing is missing."""
        for number, frame in enumerate(self._frames(self._opened().packets(self._index, None))):
            with self._watch("scale"):
                sink.put(number, self._as_first(frame))
            if not sink.missing:
                return

    def _decode_from_start(self, sink: FrameSinks) -> None:
        """Second try without seeking; then find out how many frames there really are."""
        self._decode_segment(sink, None, sorted(sink.missing))
        if not sink.missing:
            return
        frame = min(sink.missing)
        if self._index.counted:
            cause = f"frame {frame} of {self.num_frames} could not be decoded"
            raise VideoError(self.path, cause)
        self._recount(f"frame {frame} does not come out of the decoder")

    def _recount(self, symptom: str) -> NoReturn:
        if self._index.table:
            raise VideoError(self.path, symptom)
        promised = self.num_frames
        self._use(self._count_frames())
        raise FrameCountError(
            self.path, f"{symptom}; {promised} frames promised, {self.num_frames} decode"
        )

    def _up_to(self, packets: Iterator[Packet[Any]], frames: list[int]) -> Iterator[Packet[Any]]:
        """The packets needed for ``frames``; the decoder leaves out what nothing refers to."""
        stamps = self._index.pts
        assert stamps is not None
        wanted = set(stamps[frames].tolist())
        source = self._opened()
        context, skips, skipping = source.context, skips_unreferenced(source), False
        for packet in packets:
            stamp = packet.pts
            needed = stamp in wanted
            if (skips and not needed and stamp is not None) != skipping:
                skipping = not skipping
                context.skip_frame = "NONREF" if skipping else "DEFAULT"
            yield packet
            if needed:
                wanted.discard(stamp)
                if not wanted:
                    return

    def _frames(self, packets: Iterator[Packet[Any]]) -> Iterator[VideoFrame]:
        """Decoded frames in presentation order, to the last one that the decoder holds back."""
        context = self._opened().context
        context.skip_frame = "DEFAULT"
        packet: Packet[Any] | None = None
        try:
            for packet in packets:
                yield from context.decode(packet)
            yield from context.decode(None)
        except av.FFmpegError as error:
            raise VideoError(self.path, f"{_place(packet)}: {explain(error)}") from error
        self._opened().rest()


def _place(packet: Packet[Any] | None) -> str:
    if packet is None or packet.pts is None or not packet.time_base:
        return "cannot be decoded"
    return f"cannot be decoded at {float(packet.pts * packet.time_base):.3f} s"
