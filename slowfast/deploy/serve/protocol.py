"""uvicorn's HTTP, without its patience for silent clients."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


def patient(seconds: float) -> type[asyncio.Protocol]:
    """HTTP for clients that take at most so long to send the head of a request.

    uvicorn itself waits for ever, so that silent clients could use up all connections.
    """

    class PatientProtocol(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.trailing_data[0]:
                self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            if self._timer:
                self._timer.cancel()

        def _watch(self) -> None:
            if self._timer is None:
                self._timer = self.loop.call_later(seconds, self._look)

        def _look(self) -> None:
            self._timer = None
            is_answering = self.cycle is not None and not self.cycle.response_complete
            has_begun = self.cycle is None or bool(self.conn.trailing_data[0])
            is_http = self.transport.get_protocol() is self  # else it became a WebSocket
            if is_http and has_begun and not is_answering:
                self.transport.close()

    return PatientProtocol
