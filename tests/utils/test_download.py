"""Downloads from a server on this machine: whole or not at all, and once."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from slowfast.utils.download import DownloadError, cached_path, download

CONTENT = bytes(range(256)) * 4096
HASH = hashlib.sha256(CONTENT).hexdigest()[:8]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if "missing" in self.path:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:1000] if "short" in self.path else CONTENT)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked = []
        server.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def files(folder):
    return [path for path in folder.iterdir() if not path.name.endswith(".lock")]


@pytest.mark.parametrize("name", ["net.pth", f"net-{HASH}.pth"])
def test_is_downloaded_once(server, tmp_path, name):
    url = f"{server.url}/{name}"
    path = download(url, tmp_path / "cache")
    assert path == cached_path(url, tmp_path / "cache")
    assert path.read_bytes() == CONTENT
    assert download(url, tmp_path / "cache") == path
    assert server.asked == [f"/{name}"]
    assert files(tmp_path / "cache") == [path]


def test_at_once_by_several_it_is_downloaded_once(server, tmp_path):
    url = f"{server.url}/net.pth"
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda _: download(url, tmp_path), range(8)))
    assert len(paths) == len(server.asked) == 1


def test_files_of_one_name_from_two_places_are_two(server, tmp_path):
    first, second = (download(f"{server.url}/{place}/net.pth", tmp_path) for place in "ab")
    assert first != second


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.pth", "404"),
        ("short.pth", r"broke after 1000 of 1048576 bytes|IncompleteRead"),
        ("net-00000000.pth", f"SHA-256 begins {HASH}, not 00000000"),
    ],
)
def test_nothing_is_left_of_a_failed_download(server, tmp_path, name, message):
    with pytest.raises(DownloadError, match=rf"{name} cannot be downloaded: .*({message})"):
        download(f"{server.url}/{name}", tmp_path)
    assert files(tmp_path) == []


def test_without_a_server(tmp_path):
    with pytest.raises(DownloadError, match=r"127.0.0.1:9/net.pth cannot be downloaded"):
        download("http://127.0.0.1:9/net.pth", tmp_path, timeout_s=5)
