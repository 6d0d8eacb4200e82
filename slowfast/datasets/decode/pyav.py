"""PyAV: seek to the keyframe, decode to the last wanted frame, convert only the wanted ones."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from slowfast.datasets.decode.base import (
    ClosingReader,
    FrameCountError,
    Frames,
    Times,
    VideoError,
    check_indices,
    scaled_size,
)
from slowfast.datasets.decode.index import (
    CACHE,
    FrameIndex,
    KeyFrame,
    Packets,
    index_from_packets,
    scan_packets,
    trustworthy,
    video_stream,
)

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Decoders that leave out frames nothing refers to when asked, with unchanged pixels elsewhere.
SKIPS_UNREFERENCED = frozenset({"h264", "hevc", "mpeg4"})


class PyAVReader(ClosingReader):
    """Exact frames through FFmpeg's libraries. See :class:`VideoReader`.

    Colours follow the stream's matrix and range. Scaling is swscale's bilinear filter, PyAV's
    default: it averages over the source area when it reduces, so less aliasing than
    ``F.interpolate``, which PySlowFast uses on the full-size frames.

    Args:
        path: video file.
        threads: decoding threads, 0 = FFmpeg decides.

    Raises:
        VideoError: missing, unreadable, without video, or cut short.
    """

    def __init__(self, path: str, *, threads: int = 1) -> None:
        self.path = str(path)
        self._threads = threads
        cached = CACHE.get(self.path)
        self._open()
        try:
            self._use(cached or self._build_index())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._container.close()

    def read(self, indices: Sequence[int], short_side: int | None = None) -> Frames:
        """The frames ``indices`` as ``(N, H, W, 3)`` RGB; see :meth:`VideoReader.read`."""
        numbers = check_indices(self.path, indices, self.num_frames)
        sink = _Sink(self.path, numbers, self._stored_size(short_side))
        for start, frames in self._index.segments(sorted(set(numbers))):
            self._decode_segment(sink, start, frames)
        if sink.missing:
            self._decode_from_start(sink)
        return np.ascontiguousarray(np.rot90(sink.frames, self._index.rotation // 90, axes=(1, 2)))

    def _use(self, index: FrameIndex) -> None:
        self._index = index
        self.num_frames = index.num_frames
        self.fps = index.fps
        self.times: Times = index.times
        upright = index.rotation % 180 == 0
        self.width, self.height = (
            (index.width, index.height) if upright else (index.height, index.width)
        )

    def _stored_size(self, short_side: int | None) -> tuple[int, int]:
        """Target width and height of the picture as it is stored, before rotation."""
        size = scaled_size(self.width, self.height, short_side)
        return size if self._index.rotation % 180 == 0 else (size[1], size[0])

    # -- opening ---------------------------------------------------------------------------

    def _open(self) -> None:
        try:
            self._container: InputContainer = av.open(self.path)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise VideoError(self.path, f"cannot be opened: {_cause(error)}") from error
        self._stream: VideoStream = video_stream(self._container, self.path)
        self._stream.thread_type = "NONE" if self._threads == 1 else "AUTO"
        self._stream.thread_count = self._threads
        self._skips = self._stream.codec_context.name in SKIPS_UNREFERENCED
        self.stream_index = self._stream.index
        self._fresh = True  # nothing read yet

    def _build_index(self) -> FrameIndex:
        try:
            self._fresh = False
            packets = scan_packets(self._container, self._stream, self.path)
        except av.FFmpegError as error:
            raise VideoError(self.path, f"damaged container: {_cause(error)}") from error
        picture = self._first_picture(packets)
        trusted = trustworthy(packets, self._stream, self._container.format.name)
        if picture is None or not trusted:
            return self._count_frames(packets)
        if packets.shown[0] and picture.pts != packets.pts[0]:
            return self._count_frames(packets)
        return self._keep(index_from_packets(packets, self._stream, picture, None))

    def _first_picture(self, packets: Packets) -> VideoFrame | None:
        """The frame of the first packet, also when the edit list hides it."""
        packet: Packet[Any] = packets.first
        if packet.is_discard:
            packet = av.Packet(bytes(memoryview(packet)))  # the copy is not marked
        context = self._stream.codec_context
        try:
            frames = [*context.decode(packet), *context.decode(None)]
        except av.FFmpegError:
            return None  # counting the frames will tell
        context.flush_buffers()
        return frames[0] if frames else None

    def _count_frames(self, packets: Packets | None = None) -> FrameIndex:
        """Number the frames by decoding all of them (kept for later opens of the same file)."""
        if packets is None:
            self._packets_from(None)
            packets = scan_packets(self._container, self._stream, self.path)
        stamps: list[int | None] = []
        picture: VideoFrame | None = None
        for frame in self._frames(self._packets_from(None)):
            picture = picture or frame
            stamps.append(frame.pts)
        if picture is None:
            raise VideoError(self.path, "no frame of the video stream can be decoded")
        return self._keep(index_from_packets(packets, self._stream, picture, stamps))

    def _keep(self, index: FrameIndex) -> FrameIndex:
        CACHE.put(self.path, index)
        return index

    # -- decoding --------------------------------------------------------------------------

    def _decode_segment(self, sink: _Sink, start: KeyFrame | None, frames: list[int]) -> None:
        """Decode from ``start`` until all of ``frames`` have come out.

        What does not come out stays in ``sink.missing``.
        """
        if self._index.pts is None:
            self._count_to(sink)
            return
        packets = self._packets_from(start)
        latest = -1
        for frame in self._frames(self._up_to(packets, frames)):
            number = self._index.number(frame.pts)
            if 0 <= number < latest:
                self._recount(f"frame {number} comes out after frame {latest}")
            latest = max(latest, number)
            sink.put(number, frame)

    def _count_to(self, sink: _Sink) -> None:
        """Decode from the start, counting, until nothing is missing."""
        for number, frame in enumerate(self._frames(self._packets_from(None))):
            sink.put(number, frame)
            if not sink.missing:
                return

    def _decode_from_start(self, sink: _Sink) -> None:
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
        promised = self.num_frames
        self._use(self._count_frames())
        raise FrameCountError(
            self.path, f"{symptom}; {promised} frames promised, {self.num_frames} decode"
        )

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        self._fresh = False
        return (packet for packet in self._container.demux(self._stream) if packet.size)

    def _packets_from(self, start: KeyFrame | None) -> Iterator[Packet[VideoStream]]:
        """Packets in decoding order from ``start``, or an earlier keyframe, or the first one."""
        stamps = (start.pts, start.dts) if start and start.number else ()
        for stamp in stamps:
            if stamp is None or not self._seek(stamp):
                continue
            packets = self._packets()
            for packet in packets:
                number = self._index.number(packet.pts)
                if packet.is_keyframe and number >= 0:
                    if start and number <= start.number:
                        return itertools.chain([packet], packets)
                    break  # went too far
        if not self._fresh:
            self._container.close()
            self._open()
        return self._packets()

    def _seek(self, stamp: int) -> bool:
        try:
            self._container.seek(stamp, stream=self._stream)
        except av.FFmpegError:
            return False
        return True

    def _up_to(
        self, packets: Iterator[Packet[VideoStream]], frames: list[int]
    ) -> Iterator[Packet[VideoStream]]:
        """The packets needed for ``frames``; the decoder leaves out what nothing refers to."""
        wanted, positions = set(frames), self._index.positions
        last = positions[frames].max()
        context = self._stream.codec_context
        for packet in packets:
            number = self._index.number(packet.pts)
            unwanted = number >= 0 and number not in wanted
            context.skip_frame = "NONREF" if self._skips and unwanted else "DEFAULT"
            yield packet
            if number >= 0 and positions[number] >= last:
                return

    def _frames(self, packets: Iterator[Packet[VideoStream]]) -> Iterator[VideoFrame]:
        """Decoded frames in presentation order, to the last one that the decoder holds back."""
        context = self._stream.codec_context
        context.skip_frame = "DEFAULT"
        packet: Packet[VideoStream] | None = None
        try:
            for packet in packets:
                yield from context.decode(packet)
            yield from context.decode(None)
        except av.FFmpegError as error:
            raise VideoError(self.path, f"{_place(packet)}: {_cause(error)}") from error
        context.flush_buffers()


class _Sink:
    """Collects wanted frames, converting each the moment it is decoded."""

    def __init__(self, path: str, numbers: list[int], size: tuple[int, int]) -> None:
        self.path = path
        self.width, self.height = size
        self.frames = np.empty((len(numbers), self.height, self.width, 3), np.uint8)
        self.missing = set(numbers)
        self._rows: dict[int, list[int]] = {}
        for row, number in enumerate(numbers):
            self._rows.setdefault(number, []).append(row)
        self._scaler, self._packer = VideoReformatter(), VideoReformatter()

    def put(self, number: int, frame: VideoFrame) -> None:
        """Convert and store ``frame`` if it is one of those still missing."""
        if number not in self.missing:
            return
        if frame.is_corrupt:
            raise VideoError(self.path, f"frame {number} is damaged")
        if (frame.width, frame.height) != (self.width, self.height):
            # by way of planar RGB: twice as fast as straight to rgb24, chroma no less exact
            frame = self._scaler.reformat(frame, self.width, self.height, "gbrp", threads=1)
        rgb = self._packer.reformat(frame, format="rgb24", threads=1)
        plane = rgb.planes[0]  # its lines may be padded
        lines = np.frombuffer(memoryview(plane), np.uint8).reshape(self.height, plane.line_size)
        picture = lines[:, : self.width * 3].reshape(self.height, self.width, 3)
        self.frames[self._rows[number]] = picture
        self.missing.discard(number)


def _place(packet: Packet[VideoStream] | None) -> str:
    if packet is None or packet.pts is None:
        return "cannot be decoded"
    return f"cannot be decoded at {float(packet.pts * packet.time_base):.3f} s"


def _cause(error: BaseException) -> str:
    """FFmpeg's words without the number and the path that PyAV adds."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
