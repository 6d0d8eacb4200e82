"""A running server, and clients for it."""

import http.client
import io
import json
import struct
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from websockets.sync.client import connect

from slowfast.deploy.serve.limits import Limits
from slowfast.deploy.serve.server import build_server, listen
from slowfast.deploy.serve.service import Service, fork
from tests.videos import picture

VIDEO = {"Content-Type": "video/mp4"}


class Client:
    """Of the server at a port."""

    def __init__(self, port, service):
        self.port, self.service = port, service
        self.host = f"127.0.0.1:{port}"

    def ask(self, method, path, body=None, headers=None, *, raw=False):
        """Status, headers and the JSON (or bytes) of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        return answer.status, answer.headers, content if raw else json.loads(content)

    def send(self, path, **headers):
        """Status and JSON for the video file at ``path``."""
        body = Path(path).read_bytes() if isinstance(path, (str, Path)) else path
        status, _, found = self.ask("POST", "/api/predict", body, {**VIDEO, **headers})
        return status, found

    @contextmanager
    def live(self, query="", **options):
        """A WebSocket, and the first message."""
        with connect(f"ws://{self.host}/ws/live{query}", open_timeout=20, **options) as socket:
            yield socket, json.loads(socket.recv(20))

    def uploads(self):
        """Files that are there now."""
        return list(self.service.folder.iterdir())

    def wait_free(self, seconds=5.0):
        """Until nobody has a place; whether that is so in time."""
        end = time.monotonic() + seconds
        while self.service.used and time.monotonic() < end:
            time.sleep(0.01)
        return not self.service.used


@contextmanager
def running(recognizer, *, token="", hosts=(), **limits):
    """A client of a server that runs in a thread."""
    service = Service(fork(recognizer), Limits(**limits), Path("net.pyth"), {}, token)
    with listen("127.0.0.1", 0) as listener:
        server = build_server(service, host="127.0.0.1", hosts=hosts)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield Client(listener.getsockname()[1], service)
        finally:
            server.should_exit = True
            thread.join(10)
            server.force_exit = True  # of what a test has left open; test_tool.py ends one cleanly
            thread.join(20)


def jpeg(number, size=(64, 48), form="JPEG"):
    """A frame of the test videos, as a file."""
    file = io.BytesIO()
    Image.fromarray(picture(number, *size)).save(file, form, quality=95)
    return file.getvalue()


def message(time_s, data):
    return struct.pack("<d", time_s) + data


def decoded(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def push_all(socket, numbers, *, rate=30.0):
    """Send these frames, each when the one before is answered; the predictions."""
    found = []
    for place, number in enumerate(numbers):
        socket.send(message(place / rate, jpeg(number)))
        answer = json.loads(socket.recv(20))
        assert answer["type"] == "frames", answer
        if answer["prediction"]:
            found.append(answer["prediction"])
    return found
