"""The addresses that the server answers: the page, predictions of a video, a live stream."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocketDisconnect

from slowfast.deploy.serve.access import IS_READ, Guard, check_token, headers_of
from slowfast.deploy.serve.limits import ServeError
from slowfast.deploy.serve.live import LiveModel, LiveSession, refuse, send
from slowfast.deploy.serve.page import read_page
from slowfast.deploy.serve.results import prediction_entry, segment_entries, summary_entry
from slowfast.deploy.serve.service import Service
from slowfast.deploy.serve.uploads import Upload, check_headers, uploaded
from slowfast.deploy.serve.video import GoneError, Recognised, check_video, recognise_video

logger = logging.getLogger(__name__)

TOP, MOST_TOP = 5, 1000
POLL_S = 0.5
DRAIN_S, DRAIN_BYTES = 3.0, 64 * 2**20
ENDED = ServeError(503, "The server is being stopped.", "Try again when it runs.")
FAILED = ServeError(
    500, "The server failed.", "Try again; whoever runs it finds the cause in its log."
)
FIXES = {
    404: "There are /, /healthz, /api/model, /api/predict and /ws/live.",
    405: "Videos are sent with POST to /api/predict; all other addresses are read with GET.",
}


def build_app(service: Service, *, hosts: Collection[str] = ()) -> FastAPI:
    """The server, to be run by uvicorn.

    Args:
        service: the model and the limits.
        hosts: names that the server may be addressed by; empty: any.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        with TemporaryDirectory(prefix="slowfast-serve-") as folder:
            service.folder = Path(folder)
            try:
                yield
            finally:
                await asyncio.to_thread(service.close)

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Guard, hosts=hosts, refuse=error_response)
    app.add_exception_handler(ServeError, answer_error)
    app.add_exception_handler(HTTPException, answer_error)
    app.add_exception_handler(Exception, answer_error)
    for path, kind, content in read_page():
        app.add_api_route(path, _sender(content, kind), methods=["GET", "HEAD"])
    app.add_api_route("/healthz", _json(service.health), methods=["GET"])
    app.add_api_route("/api/model", _json(service.describe, service), methods=["GET"])
    app.add_api_route("/api/predict", _with(service, predict), methods=["POST"])
    app.add_api_websocket_route("/ws/live", _live(service))
    return app


def error_response(error: ServeError) -> JSONResponse:
    """An error as clients get it."""
    return JSONResponse(error.entry(), error.status, error.headers)


async def answer_error(request: Request, error: Exception) -> Response:
    """What FastAPI calls for an error; the cause of those of ours stays in the log."""
    if isinstance(error, ServeError):
        if error.status != 408:
            await drain(request)
        return error_response(error)
    if isinstance(error, HTTPException):
        fix = FIXES.get(error.status_code, "See docs/serve.md.")
        known = ServeError(error.status_code, f"{error.detail}.", fix, dict(error.headers or {}))
        return error_response(known)
    return error_response(FAILED)


async def drain(request: Request) -> None:
    """Read what else the client sends, for a while: it reads the answer only after."""
    left = DRAIN_BYTES
    with suppress(TimeoutError, ClientDisconnect, RuntimeError):
        async with asyncio.timeout(DRAIN_S):
            while left > 0 and not request.scope.get(IS_READ):
                message = await request.receive()
                left -= len(message.get("body", b""))
                if message["type"] == "http.disconnect":
                    return


async def predict(request: Request, service: Service) -> Response:
    """``POST /api/predict``: a whole video."""
    check_headers(headers_of(request.scope), service.limits)
    top = read_top(request.query_params.get("top", str(TOP)))
    with service.place() as recognizer:
        async with uploaded(request.stream(), service.folder, service.limits) as (path, upload):
            gone = threading.Event()

            def work() -> Recognised:
                check_video(path, upload.format, service.limits)
                return recognise_video(
                    path,
                    recognizer,
                    service.limits,
                    lock=service.lock,
                    is_cancelled=lambda: gone.is_set() or service.closing.is_set(),
                )

            try:
                result = await _while_connected(request, service, work, gone)
            except GoneError:
                raise ENDED from None
    logger.info(
        "%.1f s of video: %d predictions in %.2f s",
        *(result.duration_s, len(result.found), result.total_s),
    )
    # Thousands of predictions take a while to write.
    return await asyncio.to_thread(lambda: JSONResponse(video_entry(result, upload, service, top)))


async def _while_connected(
    request: Request, service: Service, work: Callable[[], Recognised], gone: threading.Event
) -> Recognised:
    """The result of ``work``; ``gone`` is set when the client goes, and ends the work soon."""
    loop = asyncio.get_running_loop()
    future = loop.run_in_executor(service.workers, work)
    try:
        while not future.done():
            await asyncio.wait([future], timeout=POLL_S)
            if not future.done() and await request.is_disconnected():
                break
    finally:
        gone.set()
    return await future


def video_entry(result: Recognised, upload: Upload, service: Service, top: int) -> dict[str, Any]:
    """What a program gets for a video."""
    names, found = service.recognizer.class_names, result.found
    description = service.describe()
    return {
        "video": {
            "width": result.width,
            "height": result.height,
            "fps": round(result.fps, 3),
            "frames": result.num_frames,
            "seconds": round(result.duration_s, 3),
            "bytes": upload.size,
        },
        "summary": summary_entry(found, top, names),
        "segments": segment_entries(found, top, names),
        "predictions": [prediction_entry(one, top, names) for one in found],
        "model": {
            name: value
            for name, value in description.items()
            if name not in ("class_names", "limits", "live")
        },
        "timings": {
            "upload_s": round(upload.seconds, 3),
            "inference_s": round(result.inference_s, 3),
            "total_s": round(result.total_s, 3),
        },
    }


def read_top(text: str) -> int:
    """The number of classes that is asked for."""
    if text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= MOST_TOP:
        return int(text[:6])
    raise ServeError(400, f"top={text[:20]} is no number of classes.", f"Give 1 to {MOST_TOP}.")


def _json(read: Callable[[], Any], service: Service | None = None) -> Any:
    async def answer(request: Request) -> Response:
        if service is not None:
            check_token(request.scope, service.token)
        return JSONResponse(read(), headers={"Cache-Control": "no-store"})

    return answer


def _sender(content: bytes, kind: str) -> Callable[[], Awaitable[Response]]:
    async def answer() -> Response:
        return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

    return answer


def _with(service: Service, handle: Callable[[Request, Service], Awaitable[Response]]) -> Any:
    async def answer(request: Request) -> Response:
        check_token(request.scope, service.token)
        return await handle(request, service)

    return answer


def _live(service: Service) -> Any:
    async def live(socket: WebSocket) -> None:
        await socket.accept()
        try:
            check_token(socket.scope, service.token)
            top = read_top(socket.query_params.get("top", str(TOP)))
            with service.place() as recognizer:
                session = LiveSession(socket, LiveModel(recognizer, service), service, top)
                await send(socket, {"type": "ready"}, service.limits)
                await session.run()
        except ServeError as error:
            await refuse(socket, error, service.limits)
        except WebSocketDisconnect:
            pass
        except Exception:
            logger.exception("a live stream failed")
            await refuse(socket, FAILED, service.limits)

    return live
