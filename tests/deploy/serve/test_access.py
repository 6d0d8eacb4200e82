"""Who may use the server, and what it shows of itself."""

import json
import re

import pytest
from websockets.exceptions import InvalidStatus

from slowfast.deploy.serve.access import LOOPBACK
from slowfast.deploy.serve.page import FOLDER
from slowfast.deploy.serve.server import allowed_hosts, listen
from slowfast.utils.errors import UserError
from tests.deploy.serve.serving import running

SCRIPTS = {f"/{name}.js" for name in ("api", "app", "colours", "live", "scores", "timeline")}
FILES = {"/", "/style.css", *SCRIPTS}


def test_the_page_is_there_and_needs_nobody_else(client):
    assert {"/" if f.name == "index.html" else f"/{f.name}" for f in FOLDER.iterdir()} == FILES
    for path in FILES:
        status, headers, content = client.ask("GET", path, raw=True)
        assert (status, headers["X-Content-Type-Options"]) == (200, "nosniff")
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        text = content.decode()
        links = set(re.findall(r"(?:https?:)?//[\w.]+\.\w+[^'\"\s]*", text))
        assert not {link for link in links if "w3.org/2000/svg" not in link}
        for name in re.findall(
            r"""(?:href|src|from)=?\s*["'](?:\./)?([\w-]+\.(?:js|css))["']""", text
        ):
            assert f"/{name}" in FILES


def test_ids_that_scripts_use_are_on_the_page():
    page = (FOLDER / "index.html").read_text()
    used = {
        name
        for file in FOLDER.glob("*.js")
        for name in re.findall(r'byId\("([\w-]+)"\)', file.read_text())
    }
    assert len(used) > 20
    assert used <= set(re.findall(r'id="([\w-]+)"', page))


@pytest.mark.parametrize(
    "path",
    ["/static/app.js", "/../app.py", "/%2e%2e/app.py", "/..%2f..%2fetc/passwd", "//etc", "/a\\b"],
)
def test_other_paths_are_not_there(client, path):
    status, _, found = client.ask("GET", path)
    assert (status, set(found)) == (404, {"error", "fix"})


def test_other_methods(client):
    for method, path in (("GET", "/api/predict"), ("POST", "/"), ("DELETE", "/api/model")):
        status, headers, found = client.ask(method, path)
        assert (status, set(found)) == (405, {"error", "fix"})
        assert headers["Allow"]


def test_foreign_pages_are_turned_away(client, video):
    own = {"Origin": f"http://{client.host}"}
    assert client.ask("GET", "/api/model", headers=own)[0] == 200
    with client.live(additional_headers=own) as (_, hello):
        assert hello["type"] == "ready"
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "", "file://"):
        foreign = {"Origin": origin}
        assert client.ask("GET", "/api/model", headers=foreign)[0] == 403
        assert client.ask("POST", "/api/predict", b"x", foreign)[0] == 403
        refused = client.live(additional_headers=foreign)
        with pytest.raises(InvalidStatus, match="403"), refused:
            pass


def test_foreign_names_are_turned_away(client, recognizer):
    """So that no name of another site can be made to point here."""
    for host in ("evil.example", f"evil.example:{client.port}", "localhost.evil.example", ""):
        assert client.ask("GET", "/api/model", headers={"Host": host})[0] in (400, 403)
    assert client.ask("GET", "/healthz", headers={"Host": f"localhost:{client.port}"})[0] == 200
    with running(recognizer, hosts=["video.example"]) as other:
        for host in ("video.example", "Video.Example:443"):
            assert other.ask("GET", "/healthz", headers={"Host": host})[0] == 200
    assert allowed_hosts("0.0.0.0") == []
    assert allowed_hosts("0.0.0.0", ["a.example"]) == [*LOOPBACK, "0.0.0.0", "a.example"]


def test_token(recognizer, video):
    with running(recognizer, token="secret") as client:
        assert client.ask("GET", "/", raw=True)[0] == client.ask("GET", "/healthz")[0] == 200
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}):
            assert client.ask("GET", "/api/model", headers=headers)[0] == 401
            assert client.ask("POST", "/api/predict", b"x", headers)[0] == 401
        right = {"Authorization": "Bearer secret"}
        assert client.ask("GET", "/api/model", headers=right)[0] == 200
        with client.live() as (_, hello):
            assert (hello["status"], client.service.used) == (401, 0)
        with client.live("?token=secret") as (_, hello):
            assert hello["type"] == "ready"
    with pytest.raises(UserError, match="letters"), running(recognizer, token="sécret"):
        pass


def test_description(client, recognizer):
    _, _, found = client.ask("GET", "/api/model")
    assert found["file"] == "net.pyth"
    assert found["class_names"] == recognizer.class_names
    assert found["limits"]["upload_bytes"] == 2**20
    assert found["mode"] == "window"
    assert found["live"] == {"fps": 30, "short_side": 36}
    assert found["window_s"] == pytest.approx(8 / 30, abs=1e-3)
    assert client.ask("GET", "/healthz")[2]["status"] == "ok"


def test_failures_stay_inside(client, video, monkeypatch, caplog):
    def fail(*_, **__):
        raise RuntimeError("secret insides")

    monkeypatch.setattr("slowfast.deploy.serve.app.check_video", fail)
    status, found = client.send(video)
    assert (status, "secret" in json.dumps(found)) == (500, False)
    assert client.uploads() == []


def test_a_port_that_is_taken(client):
    with pytest.raises(UserError, match=f"port {client.port}.*--port"):
        listen("127.0.0.1", client.port)
    with pytest.raises(UserError, match="--host"):
        listen("203.0.113.9", 0)
