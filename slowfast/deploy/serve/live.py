"""A live stream over a WebSocket: JPEG frames in, predictions out, never behind."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import math
import struct
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from slowfast.deploy.recognize import Frame, Recognition, Recognizer, StreamRecognizer
from slowfast.deploy.serve.limits import Limits, ServeError
from slowfast.deploy.serve.results import prediction_entry
from slowfast.deploy.serve.service import Service

logger = logging.getLogger(__name__)

STAMP = struct.Struct("<d")
RESET, FINISH = "reset", "finish"
MOST_SECONDS = 1e7
LEAST_GAP_S = 1 / 125
"""Seconds: frames that follow faster than any camera's are left out, so that a window holds few."""
WAITING_FRAMES, WAITING_BYTES = 64, 16 * 2**20
CODES = {400: 1007, 408: 4408, 413: 1009, 503: 1013, 500: 1011}
"""HTTP status -> why a WebSocket is closed; else policy (1008)."""


@dataclass(frozen=True)
class LiveFrame:
    """As it was sent. Attributes: its time, seconds; the bytes of the picture."""

    time_s: float
    jpeg: bytes


def parse_frame(message: bytes, limits: Limits) -> LiveFrame:
    """A binary message: the time, 8 bytes, little-endian double, then a JPEG file."""
    if len(message) > limits.frame_bytes + STAMP.size:
        raise ServeError(
            413,
            f"A frame has {len(message)} bytes; at most {limits.frame_bytes} are taken.",
            "Scale frames down to what /api/model says in 'live', or compress them more.",
        )
    if len(message) <= STAMP.size or message[8:10] != b"\xff\xd8":
        raise ServeError(
            400,
            "A binary message is no frame.",
            "Send 8 bytes, the time in seconds as little-endian double, then a JPEG file.",
        )
    (time_s,) = STAMP.unpack_from(message)
    if not math.isfinite(time_s) or abs(time_s) > MOST_SECONDS:
        raise ServeError(
            400, "The time of a frame is no usual number of seconds.", "Count from 0, in seconds."
        )
    return LiveFrame(time_s, message[STAMP.size :])


def parse_order(text: str) -> str:
    """A text message: ``reset``, another video begins, or ``finish``, this one has ended.

    Raises:
        ServeError: it says something else.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    order = found.get("type") if isinstance(found, dict) else None
    if order in (RESET, FINISH):
        return str(order)
    raise ServeError(
        400, "A text message is not understood.", 'Send {"type": "reset"} or {"type": "finish"}.'
    )


def decode_jpeg(data: bytes, limits: Limits) -> Frame:
    """The picture in a JPEG file, uint8 ``(H, W, 3)``, RGB.

    Raises:
        ServeError: it is none, or has too many pixels (which is seen before it is decoded).
    """
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            limits.check_size(*image.size, limits.frame_pixels, "A frame")
            return np.asarray(image.convert("RGB"))
    except (
        UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError,
    ) as error:  # fmt: skip
        raise ServeError(
            400, "A frame is no JPEG file that can be read.", "Send whole files, as a camera does."
        ) from error


class LiveModel:
    """Frames of one live stream to predictions. In a worker's thread.

    Args:
        recognizer: nobody else's.
        service: of the server.

    Attributes:
        decode_ms: of a frame, milliseconds, the last time.
    """

    def __init__(self, recognizer: Recognizer, service: Service) -> None:
        self.recognizer, self.service = recognizer, service
        self._last, self._decode_s, self.decode_ms = -math.inf, 0.0, 0.0
        # A stream computes every frame, so its prediction costs nothing.
        self._predicts_all = isinstance(recognizer, StreamRecognizer)

    def take(
        self, frames: list[LiveFrame], *, reset: bool = False, finish: bool = False
    ) -> Recognition | None:
        """All frames that have come meanwhile; the newest prediction that is due."""
        if reset:
            self._reset()
        found, self._decode_s = None, 0.0
        for frame in frames:
            newest = frame is frames[-1]
            found = self._push(frame, predict=newest or self._predicts_all) or found
        self.decode_ms = 1e3 * self._decode_s / max(len(frames), 1)
        if finish:
            with self.service.lock:
                found = self.recognizer.finish() or found
            self._reset()
        return found

    def _reset(self) -> None:
        self.recognizer.reset()
        self._last = -math.inf

    def _push(self, frame: LiveFrame, *, predict: bool) -> Recognition | None:
        if frame.time_s < self._last:  # went back in its video
            self._reset()
        if frame.time_s < self._last + LEAST_GAP_S or not self.recognizer.wants(frame.time_s):
            return None
        begin = time.perf_counter()
        picture = decode_jpeg(frame.jpeg, self.service.limits)
        self._decode_s += time.perf_counter() - begin
        self._last = frame.time_s
        with self.service.lock:
            return self.recognizer.push(picture, frame.time_s, predict=predict)


class LiveSession:
    """One WebSocket: takes what comes, works on the newest, tells what it left out.

    Args:
        socket: open.
        model: nobody else's.
        service: of the server.
        top: classes per prediction.
    """

    def __init__(self, socket: WebSocket, model: LiveModel, service: Service, top: int) -> None:
        self.socket, self.model, self.service, self.top = socket, model, service, top
        self._waiting: deque[LiveFrame] = deque()
        self._bytes, self._resets, self._finish, self._is_working = 0, 0, False, False
        self._news = asyncio.Event()
        self.seen, self.dropped = 0, 0

    async def run(self) -> None:
        """Until the client goes, or a limit is reached.

        Raises:
            ServeError: what the client did wrong, or the limit.
        """
        tasks = [asyncio.create_task(work()) for work in (self._receive, self._work)]
        try:
            async with asyncio.timeout(self.service.limits.live_s):
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        except TimeoutError as error:
            raise ServeError(
                408,
                f"The live stream has lasted {self.service.limits.live_s:g} s, the longest it may.",
                "Begin a new one.",
            ) from error
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _receive(self) -> None:
        while True:
            message = await self._next()
            if message["type"] == "websocket.disconnect":
                return
            if (data := message.get("bytes")) is not None:
                self._keep(parse_frame(data, self.service.limits))
            elif parse_order(message.get("text") or "") == FINISH:
                self._finish = True
            else:
                self.dropped += len(self._waiting)
                self._waiting.clear()
                self._bytes, self._resets, self._finish = 0, self._resets + 1, False
            self._news.set()

    async def _next(self) -> Any:
        idle_s = self.service.limits.idle_s
        while True:
            try:
                return await asyncio.wait_for(self.socket.receive(), idle_s)
            except TimeoutError as error:
                if self._is_working or self._waiting:  # it may wait for us
                    continue
                raise ServeError(
                    408, f"No frame came for {idle_s:g} s.", "Connect again when there are frames."
                ) from error

    def _keep(self, frame: LiveFrame) -> None:
        self._waiting.append(frame)
        self._bytes += len(frame.jpeg)
        while len(self._waiting) > WAITING_FRAMES or self._bytes > WAITING_BYTES:
            self._bytes -= len(self._waiting.popleft().jpeg)
            self.dropped += 1

    async def _work(self) -> None:
        loop, workers = asyncio.get_running_loop(), self.service.workers
        while True:
            await self._news.wait()
            self._news.clear()
            self._is_working = True
            frames, resets, finish = list(self._waiting), self._resets, self._finish
            self._waiting.clear()
            self._bytes, self._resets, self._finish = 0, 0, False
            take = partial(self.model.take, frames, reset=resets > 0, finish=finish)
            found = await loop.run_in_executor(workers, take)
            self.seen += len(frames)
            counts = {"seen": self.seen, "dropped": self.dropped}
            if resets:
                await self._send({"type": RESET, "count": resets, **counts})
            if frames or finish:
                kind = FINISH if finish else "frames"
                await self._send({"type": kind, **self._entry(frames, found), **counts})
            self._is_working = False

    def _entry(self, frames: list[LiveFrame], found: Recognition | None) -> dict[str, Any]:
        names = self.model.recognizer.class_names
        return {
            "time_s": frames[-1].time_s if frames else None,
            "decode_ms": round(self.model.decode_ms, 2),
            "prediction": found and prediction_entry(found, self.top, names),
        }

    async def _send(self, entry: dict[str, Any]) -> None:
        await send(self.socket, entry, self.service.limits)


async def send(socket: WebSocket, entry: dict[str, Any], limits: Limits) -> None:
    """A message to the client.

    Raises:
        ServeError: it does not take it.
    """
    try:
        await asyncio.wait_for(socket.send_json(entry), limits.stall_s)
    except TimeoutError as error:
        raise ServeError(
            408, "The client does not read its answers.", "Read them as they come."
        ) from error


async def refuse(socket: WebSocket, error: ServeError, limits: Limits) -> None:
    """Say why, and close."""
    with suppress(ServeError, WebSocketDisconnect, RuntimeError):  # it may have gone
        if socket.client_state is WebSocketState.CONNECTED:
            entry = {"type": "error", "status": error.status, **error.entry()}
            await send(socket, entry, limits)
            await socket.close(CODES.get(error.status, 1008))
