"""Running the server."""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowfast.deploy.recognize import Recognizer
from slowfast.deploy.serve.access import LOOPBACK
from slowfast.deploy.serve.limits import Limits
from slowfast.deploy.serve.service import Service
from slowfast.utils.errors import UserError
from slowfast.utils.optional import require

if TYPE_CHECKING:
    import uvicorn

logger = logging.getLogger(__name__)

EXTRA = "serve"
MODULES = ("fastapi", "uvicorn", "websockets")
CONNECTIONS_PER_SESSION, MORE_CONNECTIONS = 8, 64
SHUTDOWN_S = 5


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach an address.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def allowed_hosts(host: str, more: Sequence[str] = ()) -> list[str]:
    """Names that a server on ``host`` may be addressed by; empty: any."""
    if is_loopback(host):
        return [*LOOPBACK, host, *more]
    return [*LOOPBACK, host, *more] if more else []


def serve(
    recognizer: Recognizer,
    model_path: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    limits: Limits | None = None,
    token: str = "",
    hosts: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Answer clients until the program is told to stop.

    Args:
        recognizer: that all clients share.
        model_path: where it came from, for people.
        host: address to listen at.
        port: 0: any free one.
        limits: of the server.
        token: that clients must know; empty: none.
        hosts: names that the server may be addressed by besides; at other addresses than those of
            this computer alone: any, unless some are given.
        settings: how the model runs, for people.

    Raises:
        UserError: it cannot listen there.
    """
    check_installed()
    service = Service(recognizer, limits or Limits(), model_path, settings or {}, token)
    with listen(host, port) as listener:
        server = build_server(service, host=host, hosts=hosts)
        if not token and not is_loopback(host):
            logger.warning("everybody who can reach %s may use this: consider --token", host)
        place = f"[{host}]" if ":" in host else host
        secret = f"#token={token}" if token else ""
        logger.info("open http://%s:%d/%s", place, listener.getsockname()[1], secret)
        try:
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            logger.info("stopped")


def check_installed() -> None:
    """Raise where the server's libraries are missing.

    Raises:
        ModuleNotFoundError: says how to install them.
    """
    for module in MODULES:
        require(module, extra=EXTRA)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        UserError: it cannot.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"cannot listen at {host}, port {port} ({error}): give another --port (0: any free "
            "one), and an address of this computer as --host"
        ) from error


def build_server(service: Service, *, host: str, hosts: Sequence[str] = ()) -> uvicorn.Server:
    """A server of the service, to be run."""
    import uvicorn

    from slowfast.deploy.serve.app import build_app
    from slowfast.deploy.serve.protocol import patient

    limits = service.limits
    config = uvicorn.Config(
        build_app(service, hosts=allowed_hosts(host, hosts)),
        http=patient(limits.stall_s),
        ws="websockets-sansio",
        ws_max_size=limits.frame_bytes + 1024,
        ws_per_message_deflate=False,
        limit_concurrency=limits.sessions * CONNECTIONS_PER_SESSION + MORE_CONNECTIONS,
        timeout_graceful_shutdown=SHUTDOWN_S,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
    )
    return uvicorn.Server(config)
