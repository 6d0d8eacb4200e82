"""Who may talk to the server: by host, by origin, by token."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from slowfast.deploy.serve.limits import ServeError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

IS_READ = "slowfast.is_read"
"""In the scope of a request whose body has come to its end."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
USUAL_PORTS = {"http": ":80", "ws": ":80", "https": ":443", "wss": ":443"}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data: blob:; media-src 'self' blob:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self)",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Turns away what comes from foreign pages, and adds the headers of all answers.

    A page of another site can make its visitors' browsers send requests to any address, one on
    their own machine too. Browsers tell where a request comes from (``Origin``), and which name
    the address was found by (``Host``): a foreign one is refused, as is a foreign name that was
    made to point here.

    Args:
        app: that is guarded.
        hosts: names that the server may be addressed by; empty: any.
        refuse: answers a request with an error.
    """

    def __init__(
        self,
        app: App,
        *,
        hosts: Collection[str],
        refuse: Callable[[ServeError], App],
    ) -> None:
        self.app, self.hosts, self.refuse = app, {host.lower() for host in hosts}, refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or not."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return

        async def receive_noting() -> MutableMapping[str, Any]:
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                scope[IS_READ] = True
            return message

        async def send_all(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                more = [(name.lower().encode(), text.encode()) for name, text in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *more]}
            await send(message)

        error = self.find_error(headers_of(scope))
        if error is None:
            await self.app(scope, receive_noting, send_all)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # before it is open: HTTP 403
        else:
            await self.refuse(error)(scope, receive, send_all)

    def find_error(self, headers: Mapping[str, str]) -> ServeError | None:
        """What is wrong with where a request comes from."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if self.hosts and host_name(host) not in self.hosts:
            return ServeError(
                403,
                "The server does not go by the name in this address.",
                "Open it as the program says at its start, or start it with --allow_host NAME.",
            )
        if origin is not None and not is_same_host(origin, host):
            return ServeError(
                403,
                "Pages of other sites may not use this server.",
                "Open the server's own page; behind a proxy, let that pass the Host header on.",
            )
        return None


def headers_of(scope: Scope) -> dict[str, str]:
    """The headers of a request, names in lower case."""
    return {name.decode("latin-1"): text.decode("latin-1") for name, text in scope["headers"]}


def host_name(host: str) -> str:
    """The name in a ``Host`` header.

    Example:
        >>> host_name("LocalHost:8000"), host_name("[::1]:8000"), host_name("")
        ('localhost', '::1', '')
    """
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def is_same_host(origin: str, host: str) -> bool:
    """Whether a page's origin is the host that it talks to.

    Example:
        >>> is_same_host("http://localhost:8000", "localhost:8000")
        True
        >>> is_same_host("https://example.org", "example.org:443"), is_same_host("null", "a")
        (True, False)
        >>> is_same_host("http://localhost:3000", "localhost:8000")
        False
    """
    scheme, _, netloc = origin.lower().partition("://")
    if scheme not in USUAL_PORTS or not netloc:
        return False
    usual = USUAL_PORTS[scheme]
    return netloc.removesuffix(usual) == host.lower().removesuffix(usual)


def check_token(scope: Scope, token: str) -> None:
    """Raise unless a request brings the token: as ``Authorization: Bearer``, or in its address.

    Args:
        scope: of the request.
        token: that is asked for; empty: none.
    """
    if not token:
        return
    given = headers_of(scope).get("authorization", "").removeprefix("Bearer ").strip()
    if not given and scope["type"] == "websocket":  # pages cannot send headers with those
        query = parse_qs(scope["query_string"].decode("latin-1"))
        given = query.get("token", [""])[0]
    if not hmac.compare_digest(given.encode("utf-8", "replace"), token.encode()):
        raise ServeError(
            401,
            "The token is missing or wrong.",
            "Open the address that the program printed at its start, which ends in #token=..., "
            "or send the header 'Authorization: Bearer TOKEN'.",
            {"WWW-Authenticate": "Bearer"},
        )
