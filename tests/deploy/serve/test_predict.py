"""POST /api/predict: what it says, and what it refuses."""

import itertools
import json
import socket
import time
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from slowfast.deploy.demo.source import VideoSource
from slowfast.deploy.serve.results import prediction_entry
from slowfast.deploy.serve.service import fork
from slowfast.deploy.serve.uploads import container_format
from tests.deploy.serve.serving import VIDEO, running
from tests.videos import write_video


def recognise(recognizer, path):
    """All predictions about a video, by the recogniser alone."""
    source, own = VideoSource(path), fork(recognizer)
    own.reset(source.fps)
    short_side = own.decode_short_side(source.height, source.width)
    found = [own.push(shot.scaled(short_side), shot.time_s) for shot in source.frames()]
    return [one for one in [*found, own.finish()] if one is not None]


def without_times(entries):
    return [{k: v for k, v in entry.items() if k != "inference_ms"} for entry in entries]


def check_error(found):
    """An error is two sentences, without the insides of the program."""
    assert set(found) == {"error", "fix"}, found
    text = found["error"] + found["fix"]
    assert found["error"].endswith(".")
    assert len(text) < 400
    assert not any(word in text for word in ("Traceback", "/tmp", ".py", "Exception"))


def test_predictions_are_the_recognisers(client, recognizer, video):
    status, found = client.send(video)
    assert status == 200
    expected = recognise(recognizer, video)
    assert len(expected) > 10
    entries = [prediction_entry(one, 5, recognizer.class_names) for one in expected]
    assert without_times(found["predictions"]) == without_times(entries)
    mean = np.mean([one.scores["action"] for one in expected], axis=0)
    assert found["summary"]["action"][0]["class"] == mean.argmax()
    assert found["summary"]["action"][0]["score"] == pytest.approx(mean.max(), abs=1e-5)
    assert found["video"] | {"bytes": 0} == {
        "width": 64, "height": 48, "fps": 30.0, "frames": 40, "seconds": 1.333, "bytes": 0,
    }  # fmt: skip
    assert found["model"]["tasks"] == {"action": 2}
    assert client.uploads() == []


def test_segments_cover_the_predictions(client, video):
    _, found = client.send(video)
    segments, predictions = found["segments"]["action"], found["predictions"]
    assert sum(one["predictions"] for one in segments) == len(predictions)
    assert segments[0]["start_s"] == predictions[0]["start_s"]
    assert segments[-1]["end_s"] == predictions[-1]["time_s"]
    for before, after in itertools.pairwise(segments):
        assert before["end_s"] == after["start_s"]
        assert before["class"] != after["class"]
    for one in predictions:
        (home,) = [s for s in segments if s["start_s"] < one["time_s"] <= s["end_s"]]
        assert home["class"] == one["top"]["action"][0]["class"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.webm", {"codec": "libvpx"}),
        ("a.mkv", {}),
        ("a.avi", {"codec": "mpeg4"}),
        ("a.ts", {}),
        ("short.mp4", {"num_frames": 3}),
        ("turned.mp4", {"rotation": 90}),
    ],
)
def test_containers(client, recognizer, tmp_path, name, options):
    path = write_video(tmp_path / name, **{"num_frames": 20, **options})
    status, found = client.send(path)
    assert status == 200, found
    assert len(found["predictions"]) == len(recognise(recognizer, path)) > 0


def test_as_programs_send(client, video):
    body = Path(video).read_bytes()
    pieces = (body[i : i + 1000] for i in range(0, len(body), 1000))  # chunked, no length
    status, _, found = client.ask("POST", "/api/predict?top=1", pieces)
    assert (status, len(found["summary"]["action"])) == (200, 1)


TEXTS = {
    "playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n",
    "concat": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "sdp": b"v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    "text": b"hello",
    "gif": b"GIF89a" + bytes(300),
    "empty mp4": b"\0\0\0\x20ftypisom" + bytes(300),
    "empty mkv": b"\x1a\x45\xdf\xa3" + bytes(300),
    "empty avi": b"RIFF\0\0\0\0AVI " + bytes(300),
    "noise": np.random.default_rng(0).bytes(5000),
}


@pytest.mark.parametrize("name", TEXTS)
def test_no_video(client, name):
    status, found = client.send(TEXTS[name])
    assert (status, "no video" in found["error"]) == (415, True)
    check_error(found)
    assert client.uploads() == []


def test_damaged_video(client, video):
    body = bytearray(Path(video).read_bytes())
    status, found = client.send(bytes(body[: len(body) // 2]))
    assert status == 415
    check_error(found)


def test_no_body(client):
    status, found = client.send(b"")
    assert status == 400
    check_error(found)


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "image/png", "text/html"])
def test_other_types(client, video, kind):
    status, found = client.send(video, **{"Content-Type": kind})
    assert (status, "curl" in found["fix"]) == (415, True)


@pytest.mark.parametrize("top", ["0", "-1", "1e3", "9999", "", "²"])
def test_top_is_checked(client, video, top):
    status, _, found = client.ask("POST", f"/api/predict?top={quote(top)}", b"x", VIDEO)
    assert status == 400
    check_error(found)


def test_too_large(client):
    for headers in ({}, {"Transfer-Encoding": "chunked"}):
        body = iter([bytes(2**16)] * 20) if headers else bytes(20 * 2**16)
        body = iter([b"\0\0\0\x20ftyp", *body]) if headers else b"\0\0\0\x20ftyp" + body
        status, _, found = client.ask("POST", "/api/predict", body, VIDEO)
        assert (status, found["error"]) == (413, "The video is larger than 1 MB.")
    assert client.uploads() == []


@pytest.mark.parametrize("name", ["long.mp4", "long.mkv", "long.avi"])
def test_too_long(client, tmp_path, name):
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    path = write_video(tmp_path / name, num_frames=150, codec=codec)
    status, found = client.send(path)
    assert (status, found["error"]) == (413, "The video lasts 5.0 s; at most 4 s are taken.")


def test_too_many_pixels(recognizer, video):
    with running(recognizer, video_pixels=1000) as client:
        status, found = client.send(video)
    assert (status, "64x48 pixels" in found["error"]) == (413, True)


def test_no_usual_picture(client, tmp_path):
    path = write_video(tmp_path / "wide.mp4", num_frames=5, size=(640, 16))
    status, found = client.send(path)
    assert (status, "640x16" in found["error"]) == (400, True)


def test_busy(client, video):
    with client.live(), client.live():
        body = Path(video).read_bytes()
        status, headers, found = client.ask("POST", "/api/predict", body, VIDEO)
        assert (status, headers["Retry-After"]) == (503, "5")
        check_error(found)
        assert client.ask("GET", "/healthz")[2]["sessions"] == 2
        with client.live() as (_, hello):
            assert (hello["type"], hello["status"]) == ("error", 503)
    assert client.wait_free()
    assert client.send(video)[0] == 200


def half_request(client, length=10_000, sent=b"\0\0\0\x20ftypisom"):
    """A connection on which an upload has begun."""
    connection = socket.create_connection(("127.0.0.1", client.port), timeout=10)
    head = f"POST /api/predict HTTP/1.1\r\nHost: {client.host}\r\nContent-Length: {length}\r\n\r\n"
    connection.sendall(head.encode() + sent)
    return connection


def test_a_client_that_goes_leaves_nothing(client):
    with half_request(client):
        end = time.monotonic() + 5
        while not client.uploads() and time.monotonic() < end:
            time.sleep(0.01)
        assert len(client.uploads()) == 1
    assert client.wait_free()
    assert client.uploads() == []


def test_slow_clients(recognizer):
    with running(recognizer, stall_s=0.3) as client:
        with half_request(client) as slow:
            answer = b"".join(iter(lambda: slow.recv(10_000), b"")).decode()
        assert "408" in answer.splitlines()[0]
        check_error(json.loads(answer.partition("\r\n\r\n")[2]))
        assert client.wait_free()
        for begun in (b"", b"GET / HTTP/1.1\r\nHost: "):
            with socket.create_connection(("127.0.0.1", client.port), timeout=5) as silent:
                silent.sendall(begun)
                assert silent.recv(10) == b""  # closed


def test_formats_by_their_first_bytes(tmp_path):
    for name, expected in {
        "a.mp4": "mov", "a.mov": "mov", "a.mkv": "matroska", "a.avi": "avi", "a.ts": "mpegts",
    }.items():  # fmt: skip
        codec = "mpeg4" if expected == "avi" else "libx264"
        path = write_video(tmp_path / name, num_frames=2, codec=codec)
        assert container_format(Path(path).read_bytes()[:200]) == expected
