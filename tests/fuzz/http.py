"""Requests and WebSocket messages to a running server, as bytes on a connection."""

import base64
import json
import logging
import os
import re
import socket
import struct

from slowfast.deploy.recognize import open_recognizer
from tests.deploy.recognizing import write_model
from tests.deploy.serve.serving import jpeg, message, running
from tests.fuzz.core import ACCEPTED, CRASH, HANG, REFUSED, WRONG, Target
from tests.fuzz.mutate import mutate
from tests.videos import write_video

PATHS = ("/", "/healthz", "/api/model", "/api/predict", "/ws/live", "/app.js", "/style.css")
TRICKS = (
    "/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/static/../server.py",
    "/\\..\\x", "/%00", "/api/predict/../model", "/" + "a" * 3000, "/?" + "a=1&" * 300, "/%ff%fe",
    "*", "http://evil/", "", "/api/predict?top=-1", "/api/predict?top=9999999999", "/;", "/.git/config",
)  # fmt: skip
METHODS = ("GET", "GET", "POST", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "FOO", "")
HEADERS = (
    "Host: evil.example", "Origin: http://evil.example", "Content-Length: -1", "Content-Length: 5",
    "Content-Length: 99999999999999", "Content-Length: x", "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip", "Content-Encoding: gzip", "Content-Type: image/png", "Expect: 100-continue",
    "Content-Type: multipart/form-data", "Content-Type: video/mp4", "Connection: keep-alive",
    "Range: bytes=0-1", "X: " + "y" * 5000, "Cookie: a", "Authorization: Bearer x", "A" * 300 + ": b",
    "Upgrade: h2c", "\u00e9: \u00e9", "no colon", " folded", "If-None-Match: *",
)  # fmt: skip
TEXTS = ('{"type": "reset"}', '{"type": "finish"}', '{"type": "x"}', "{", "[" * 3000, "", "null",
         '{"type": ["reset"]}', "\x00", '"reset"', '{"type": "reset", "type": 1}')  # fmt: skip
WORDS = (b"\r\n", b"\n", b"\0", b"\r\n\r\n", b" ", b":", b"0\r\n\r\n", b"fffffffff\r\n", b"HTTP/9.9",
         b"\xff", b"Content-Length: 3\r\n", b"%", b"\x88\x00", b"\x81\x7f")  # fmt: skip
HEAD = re.compile(rb"HTTP/1\.[01] (\d{3})[^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n")
STATES = {"reset", "finish", "frames", "ready", "error"}
KIB = 1024


class Requests(Target):
    """An input is what a client sends on one connection, then it waits for the answer."""

    name = "http"
    limit_s = 10.0

    def __init__(self, folder):
        super().__init__(folder)
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
        recognizer = open_recognizer(write_model(folder))
        self.video = self._read(write_video(folder / "a.mp4", 12))
        self._context = running(recognizer, upload_bytes=64 * KIB, video_s=4.0, sessions=2,
                                stall_s=1.0, idle_s=1.0, live_s=3.0)  # fmt: skip
        self.client = self._context.__enter__()
        self.number = 0

    @staticmethod
    def _read(path):
        with open(path, "rb") as file:
            return file.read()

    def close(self):
        self._context.__exit__(None, None, None)

    # ---- inputs -------------------------------------------------------------------------------

    def draw(self, rng):
        return self._draw_live(rng) if rng.random() < 0.3 else self._draw_http(rng)

    def _draw_http(self, rng):
        path = rng.choice(PATHS if rng.random() < 0.7 else TRICKS)
        method = rng.choice(METHODS)
        body = b""
        if path.startswith("/api/predict") or rng.random() < 0.2:
            body = rng.choice((b"", b"x", self.video, self.video[:500], rng.randbytes(500)))
            if rng.random() < 0.4:
                body = mutate(rng, body)
            method = "POST" if rng.random() < 0.9 else method
        host = "Host: HOST" if rng.random() < 0.9 else rng.choice(("", "Host: evil", "Host:"))
        headers = [host, "Connection: close"]
        if body and rng.random() < 0.9:
            headers.append(f"Content-Length: {len(body)}")
        headers += rng.sample(HEADERS, rng.choice((0, 0, 0, 1, 2)))
        version = "HTTP/1.1" if rng.random() < 0.97 else rng.choice(("HTTP/1.0", "HTTP/2", "", "X"))
        head = "\r\n".join([f"{method} {path} {version}", *filter(None, headers)])
        data = head.encode("utf-8", "replace") + b"\r\n\r\n" + body
        return mutate(rng, data, WORDS, most=3) if rng.random() < 0.2 else data

    def _draw_live(self, rng):
        key = base64.b64encode(rng.randbytes(16)).decode()
        head = (
            f"GET /ws/live{rng.choice(('', '?top=2', '?top=x'))} HTTP/1.1\r\nHost: HOST\r\nUpgrade: "
            f"websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            f"Sec-WebSocket-Version: {rng.choice(('13', '13', '13', '13', '8', 'x'))}\r\n\r\n"
        ).encode()
        parts = []
        for number in range(rng.randint(0, 4)):
            draw = rng.random()
            if draw < 0.5:
                picture = jpeg(number)
                if rng.random() < 0.4:
                    picture = mutate(rng, picture)
                time_s = (
                    number / 30 if rng.random() < 0.9 else rng.choice((float("nan"), -1e300, 1e9))
                )
                parts.append(_frame(rng, 2, message(time_s, picture)))
            elif draw < 0.8:
                parts.append(_frame(rng, 1, rng.choice(TEXTS).encode()))
            else:
                parts.append(_frame(rng, rng.choice((0, 2, 3, 8, 9, 10, 15)), rng.randbytes(20)))
        data = b"".join(parts)
        return head + (mutate(rng, data, WORDS) if data and rng.random() < 0.3 else data)

    # ---- outcomes -----------------------------------------------------------------------------

    def trial(self, number, data, report):
        """See :class:`Target`: by what comes back."""
        place = self.client.host.encode()
        try:
            answer = self._exchange(data.replace(b"HOST", place))
        except TimeoutError:
            report.add(number, HANG, cause=f"no answer in {self.limit_s} s", data=data)
            return
        outcome, cause = judge(answer)
        self.number += 1
        if self.number % 25 == 0:
            outcome, cause = self._health(outcome, cause)
        error = "" if outcome == ACCEPTED else cause[:60]
        if outcome == REFUSED:
            report.add(number, outcome, error=error)
        else:
            report.add(number, outcome, cause=cause, data=data, trace=repr(answer[:2000]))

    def _exchange(self, data):
        with socket.create_connection(
            ("127.0.0.1", self.client.port), timeout=self.limit_s
        ) as line:
            try:
                line.sendall(data)
                line.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # it has been refused already
            pieces = []
            try:
                while piece := line.recv(1 << 16):
                    pieces.append(piece)
            except ConnectionError:
                pass
        return b"".join(pieces)

    def _health(self, outcome, cause):
        """Whether the server still works and has let go of what clients left."""
        if not self.client.wait_free(self.limit_s):
            return WRONG, "places stay taken"
        if left := self.client.uploads():
            return WRONG, f"files stay: {[os.path.basename(path) for path in left]}"
        status, _, found = self.client.ask("GET", "/healthz")
        if status != 200 or found["status"] != "ok":
            return CRASH, f"the server says {status} {found}"
        return outcome, cause


def _frame(rng, kind, data):
    """A masked WebSocket frame."""
    mask = rng.randbytes(4)
    size = len(data)
    head = bytes([(0x80 if rng.random() < 0.95 else 0) | kind])
    head += (
        bytes([0x80 | size]) if size < 126 else bytes([0xFE]) + struct.pack(">H", min(size, 65535))
    )
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))


def judge(answer):
    """Outcome and reason of what a connection gave back, which may be several answers."""
    if not answer:
        return REFUSED, "connection closed"
    match = HEAD.match(answer)
    if match is None:
        return CRASH, f"no HTTP answer: {answer[:100]!r}"
    status, body = int(match[1]), answer[match.end() :]
    if status == 101:
        return judge_live(body)
    if status == 100:
        return judge(body)
    if status >= 500 and status != 503:
        return CRASH, f"status {status}: {body[:200]!r}"
    return judge_http(status, match[2], body)


def judge_http(status, headers, body):
    """Of an answer with this status."""
    if any(word in body for word in (b"Traceback", b"/dev/shm", b'.py"', b"root:x:")):
        return WRONG, f"the answer tells too much: {body[:200]!r}"
    if status < 400:
        return ACCEPTED, str(status)
    if b"text/plain" in headers:  # uvicorn's, of what is no HTTP
        return (REFUSED, f"{status} plain") if len(body) < 100 else (CRASH, f"{body[:100]!r}")
    try:
        found = json.loads(body) if body else {"error": "", "fix": ""}  # of HEAD
    except ValueError:
        return CRASH, f"{status} without reason: {body[:100]!r}"
    if set(found) != {"error", "fix"} or len(str(found)) > 600:
        return CRASH, f"{status} {str(found)[:200]}"
    return REFUSED, f"{status} {found['error'][:30]}"


def judge_live(data):
    """Of a WebSocket: messages of ours, or an orderly end."""
    place = 0
    while place + 2 <= len(data):
        kind, size = data[place] & 15, data[place + 1] & 127
        place += 2
        if size == 126:
            (size,) = struct.unpack_from(">H", data, place)
            place += 2
        content, place = data[place : place + size], place + size
        if kind == 8:
            code = struct.unpack(">H", content[:2])[0] if len(content) >= 2 else 1005
            return (CRASH, "closed with 1011") if code == 1011 else (REFUSED, f"closed with {code}")
        if kind == 1:
            found = json.loads(content)
            if found.get("type") not in STATES or found.get("status") == 500:
                return CRASH, f"{found}"
    return ACCEPTED, "stream"
