"""An uploaded video on its way to a temporary file: never in memory, never more than allowed."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

from slowfast.deploy.serve.limits import Limits, ServeError, no_video, too_large

SNIFFED = 200  # bytes that tell the format: two packets of MPEG-TS begin in them
WRITTEN_AT_ONCE = 2**20
TS_PACKET, TS_SYNC = 188, 0x47
TYPES_OF_CURL = ("", "application/octet-stream", "application/x-www-form-urlencoded")
COMMAND = "curl --data-binary @video.mp4 -H 'Content-Type: video/mp4' .../api/predict"


def container_format(head: bytes) -> str:
    """FFmpeg's name of the format of a video file, by its first bytes; empty: none of those taken.

    Playlists and other texts, which can name further files to read, are none of them.
    """
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mov"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "avi"
    if len(head) > TS_PACKET and head[0] == head[TS_PACKET] == TS_SYNC:
        return "mpegts"
    return ""


def check_headers(headers: Mapping[str, str], limits: Limits) -> None:
    """Raise for what the headers alone tell."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in TYPES_OF_CURL and not kind.startswith("video/"):
        raise ServeError(
            415,
            f"The body is {kind[:60]}; the bytes of the video itself are expected.",
            f"Send them as they are: {COMMAND}",
        )
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > limits.upload_bytes:
        raise too_large(limits.upload_bytes)


class Upload:
    """Takes the pieces of an upload.

    Args:
        file: to write to.
        limits: of the server.

    Attributes:
        size: bytes so far.
        format: see :func:`container_format`.
        seconds: that it took.
    """

    def __init__(self, file: IO[bytes], limits: Limits) -> None:
        self._file, self._limits, self._pieces = file, limits, bytearray()
        self._begin = time.monotonic()
        self.size, self.format, self.seconds = 0, "", 0.0

    async def receive(self, stream: AsyncIterator[bytes]) -> None:
        """All of ``stream``.

        Raises:
            ServeError: too large, too slow, empty, or no video.
        """
        while (piece := await self._next(stream)) is not None:
            self.size += len(piece)
            if self.size > self._limits.upload_bytes:
                raise too_large(self._limits.upload_bytes)
            self._pieces += piece
            if not self.format and len(self._pieces) >= SNIFFED:
                self._sniff()
            if len(self._pieces) >= WRITTEN_AT_ONCE:
                await self._write()
        if not self.size:
            raise ServeError(400, "The request has no body.", f"Send a video: {COMMAND}")
        if not self.format:
            self._sniff()
        await self._write()
        await asyncio.to_thread(self._file.flush)
        self.seconds = time.monotonic() - self._begin

    async def _next(self, stream: AsyncIterator[bytes]) -> bytes | None:
        stall_s, elapsed = self._limits.stall_s, time.monotonic() - self._begin
        too_slow = self.size < (elapsed - stall_s) * self._limits.bytes_per_s
        try:
            if too_slow:
                raise TimeoutError
            return await asyncio.wait_for(anext(stream), stall_s)
        except StopAsyncIteration:
            return None
        except TimeoutError as error:
            raise ServeError(
                408,
                f"The upload was too slow: {self.size} bytes in {elapsed:.0f} s.",
                "Send the video over a faster connection, or a smaller one.",
                {"Connection": "close"},  # the rest would be taken for another request
            ) from error

    def _sniff(self) -> None:
        self.format = container_format(bytes(self._pieces[:SNIFFED]))
        if not self.format:
            raise no_video("its first bytes are not those of a known format")

    async def _write(self) -> None:
        pieces, self._pieces = self._pieces, bytearray()
        await asyncio.to_thread(self._file.write, pieces)


@asynccontextmanager
async def uploaded(
    stream: AsyncIterator[bytes], folder: Path, limits: Limits
) -> AsyncIterator[tuple[Path, Upload]]:
    """The uploaded file, which is gone afterwards, whatever happens.

    Args:
        stream: pieces of the body.
        folder: for the file.
        limits: of the server.
    """
    with tempfile.NamedTemporaryFile(dir=folder, prefix="upload-") as file:
        upload = Upload(file, limits)
        await upload.receive(stream)
        yield Path(file.name), upload
