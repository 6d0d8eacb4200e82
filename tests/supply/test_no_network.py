"""Nothing here opens a connection that nobody asked for."""

import ast
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.small import write_config, write_folders

REPO = Path(__file__).parents[2]
NETWORK = {"aiohttp", "ftplib", "http", "httpx", "requests", "smtplib", "socket", "telnetlib",
           "urllib", "urllib3", "websockets", "xmlrpc"}  # fmt: skip
HARMLESS = {"urllib.parse", "http.client", "http"}
MAY = {
    "slowfast/utils/download.py": "what a config or a command line gives as URL",
    "slowfast/utils/distributed.py": "a free port for the processes of one machine",
    "slowfast/deploy/serve/server.py": "listens",
}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_few_modules_can_open_connections():
    files = [path for folder in ("slowfast", "tools") for path in (REPO / folder).rglob("*.py")]
    found = {
        path.relative_to(REPO).as_posix()
        for path in files
        for name in imports(path)
        if name.partition(".")[0] in NETWORK and name not in HARMLESS
    }
    assert len(files) > 300
    assert found == MAY.keys()


@pytest.fixture
def offline(monkeypatch):
    """Connections and name look-ups fail loudly, but for those between processes of this one."""
    tried = []

    def refuse(self, address):
        if self.family == socket.AF_UNIX or address[0] in {"127.0.0.1", "localhost", "::1"}:
            return connect(self, address)
        tried.append(address)
        raise AssertionError(f"a connection to {address}")

    def no_names(host, *rest, **more):
        if host in {None, "", "localhost", "127.0.0.1", "::1"}:
            return look_up(host, *rest, **more)
        tried.append(host)
        raise AssertionError(f"a look-up of {host}")

    connect, look_up = socket.socket.connect, socket.getaddrinfo
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", no_names)
    yield tried
    assert tried == []


def test_the_fixture_sees_connections(offline):
    with pytest.raises(AssertionError, match="a look-up of example"):
        socket.create_connection(("example.org", 80))
    with pytest.raises(AssertionError, match="a connection to"):
        socket.socket().connect(("192.0.2.1", 80))
    assert len(offline) == 2
    offline.clear()


@pytest.mark.slow
def test_tools_need_no_network(offline, tmp_path):
    """Train, test, export, check data, time: with every connection refused."""

    def tool(name, *words):
        status = 0
        try:
            runpy.run_path(str(REPO / "tools" / name))["main"]([str(word) for word in words])
        except SystemExit as end:
            status = end.code
        assert not status, name

    data = write_folders(tmp_path / "data")
    cfg = write_config(tmp_path / "cfg.yaml", data, "TINY: {WIDTH: 2}\nSOLVER: {MAX_EPOCH: 1}\n")
    run = tmp_path / "run"
    tool("run_net.py", "--cfg", cfg, "OUTPUT_DIR", run)
    checkpoint = run / "checkpoints/checkpoint_epoch_00001.pyth"
    tool("check_data.py", "--cfg", cfg, "--workers", 1, "--output_dir", tmp_path / "check",
         "--allow", "duplicate", "overlap")  # fmt: skip
    tool("export.py", "--model_path", checkpoint, "--format", "openvino",
         "--output", tmp_path / "exported.xml")  # fmt: skip
    tool("benchmark.py", "--cfg", cfg, "OUTPUT_DIR", tmp_path / "benchmark")


def test_importing_openvino_reports_nothing():
    """In a process of its own: the library sends its report when it is imported."""
    program = (
        "import sys\n"
        "from slowfast.utils.optional import require\n"
        "require('openvino', extra='deploy')\n"
        "import openvino.tools.ovc\n"
        "assert not [m for m in sys.modules if m.startswith('openvino_telemetry.')]\n"
    )
    pytest.importorskip("openvino")
    subprocess.run([sys.executable, "-c", program], cwd=REPO, check=True, timeout=120)
