"""The WebSocket: predictions, order, limits."""

import json
import math
import threading

import pytest
import torch
from websockets.exceptions import ConnectionClosed

from slowfast.deploy.export.streaming import (
    build_stream_info,
    export_streaming_onnx,
    export_streaming_openvino,
)
from slowfast.deploy.recognize import open_recognizer
from slowfast.deploy.serve.live import LiveFrame, LiveModel
from slowfast.deploy.serve.results import prediction_entry
from slowfast.deploy.serve.service import fork
from slowfast.engine.weights import load_model
from slowfast.models.streaming import build_streaming
from tests.deploy.serve.serving import decoded, jpeg, message, push_all, running

NUMBERS = {"a": range(30), "b": range(60, 0, -2)}


def recognise(recognizer, numbers, rate=30.0):
    """What the recogniser alone says about the same pictures."""
    own = fork(recognizer)
    found = [own.push(decoded(jpeg(n)), i / rate) for i, n in enumerate(numbers)]
    return [prediction_entry(one, 5, own.class_names) for one in found if one]


def without_times(entries):
    return [{k: v for k, v in entry.items() if k != "inference_ms"} for entry in entries]


def test_predictions_are_the_recognisers(client, recognizer):
    with client.live() as (socket, hello):
        assert hello == {"type": "ready"}
        found = push_all(socket, NUMBERS["a"])
        assert without_times(found) == without_times(recognise(recognizer, NUMBERS["a"]))
        assert len(found) > 5


def test_sessions_do_not_mix(client, recognizer):
    """Two at once, one of each other's frames always between their own."""
    found = {}
    with client.live() as (one, _), client.live() as (other, _):
        threads = [
            threading.Thread(target=lambda n=n, s=s: found.update({n: push_all(s, NUMBERS[n])}))
            for n, s in (("a", one), ("b", other))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    for name, numbers in NUMBERS.items():
        assert without_times(found[name]) == without_times(recognise(recognizer, numbers))
    assert found["a"] != found["b"]


def test_streams_do_not_mix_either(checkpoint):
    """Recognisers that keep a state share weights, not that."""
    recognizer = open_recognizer(checkpoint, mode="stream")
    expected = {name: recognise(recognizer, numbers) for name, numbers in NUMBERS.items()}
    one, other = fork(recognizer), fork(recognizer)
    found = {"a": [], "b": []}
    for place, (first, second) in enumerate(zip(*NUMBERS.values(), strict=True)):
        for name, own, number in (("a", one, first), ("b", other, second)):
            found[name].append(own.push(decoded(jpeg(number)), place / 30))
    for name in NUMBERS:
        entries = [prediction_entry(f, 5, recognizer.class_names) for f in found[name] if f]
        assert without_times(entries) == without_times(expected[name])
    assert one.runner.model is other.runner.model


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_exported_streams_do_not_mix(checkpoint, tmp_path, suffix):
    for library in ("onnx", "onnxscript", "onnxruntime", "openvino"):
        pytest.importorskip(library)
    model, config = load_model(checkpoint)
    stream = build_streaming(config, model)
    info = build_stream_info(config, model, stream, kind="probabilities")
    path = export_streaming_onnx(stream, tmp_path / "net.onnx", info)
    if suffix == ".xml":
        path = export_streaming_openvino(stream, tmp_path / "net.xml", info, onnx_path=path)
    recognizer = open_recognizer(path)
    expected = without_times(recognise(recognizer, NUMBERS["a"]))
    one, other = fork(recognizer), fork(recognizer)
    found = []
    for place, (number, foreign) in enumerate(zip(*NUMBERS.values(), strict=True)):
        found.append(one.push(decoded(jpeg(number)), place / 30))
        other.push(decoded(jpeg(foreign)), place / 30)
    entries = [prediction_entry(f, 5, recognizer.class_names) for f in found if f]
    assert without_times(entries) == expected
    assert len(expected) > 5


def test_reset_and_going_back_begin_anew(client, recognizer):
    expected = without_times(recognise(recognizer, NUMBERS["b"]))
    with client.live() as (socket, _):
        push_all(socket, NUMBERS["a"])
        socket.send('{"type": "reset"}')
        answer = json.loads(socket.recv(20))
        assert (answer["type"], answer["count"]) == ("reset", 1)
        assert without_times(push_all(socket, NUMBERS["b"])) == expected
        assert without_times(push_all(socket, NUMBERS["b"])) == expected  # from 0 s again


def test_a_short_video_is_predicted_when_it_ends(client, recognizer):
    with client.live("?top=1") as (socket, _):
        assert push_all(socket, range(3)) == []
        socket.send('{"type": "finish"}')
        answer = json.loads(socket.recv(20))
    own = fork(recognizer)
    for i in range(3):
        own.push(decoded(jpeg(i)), i / 30)
    (expected,) = without_times([prediction_entry(own.finish(), 1, own.class_names)])
    assert answer["type"] == "finish"
    assert without_times([answer["prediction"]]) == [expected]


def test_a_flood_keeps_the_newest(client):
    with client.live() as (socket, _):
        total, data = 400, jpeg(0)
        for i in range(total):
            socket.send(message(i / 30, data))
        answer = {"seen": 0, "dropped": 0}
        while answer["seen"] + answer["dropped"] < total:
            answer = json.loads(socket.recv(20))
        assert answer["time_s"] == (total - 1) / 30


def test_only_the_newest_of_waiting_frames_is_predicted(client, recognizer):
    model = LiveModel(fork(recognizer), client.service)
    calls = []
    predict = model.recognizer.runtime.predict_frames
    model.recognizer.runtime.predict_frames = lambda clip: calls.append(1) or predict(clip)
    try:
        found = model.take([LiveFrame(i / 30, jpeg(i)) for i in range(30)])
    finally:
        del model.recognizer.runtime.predict_frames
    assert found.time_s == 29 / 30
    assert len(calls) == 1


BAD = {
    "text": ("hello", 400),
    "json": ("[" * 5000, 400),
    "order": ('{"type": "shutdown"}', 400),
    "empty": (b"", 400),
    "stamp only": (bytes(8), 400),
    "no jpeg": (message(0, jpeg(0, form="PNG")), 400),
    "cut off": (message(0, jpeg(0)[:200]), 400),
    "only the magic": (message(0, b"\xff\xd8" + bytes(50)), 400),
    "nan": (message(math.nan, jpeg(0)), 400),
    "infinite": (message(-math.inf, jpeg(0)), 400),
    "far": (message(1e300, jpeg(0)), 400),
    "strip": (message(0, jpeg(0, (1000, 4))), 400),
    "many pixels": (message(0, jpeg(0, (2100, 1600))), 413),
    "many bytes": (message(0, b"\xff\xd8" + bytes(2**21)), 413),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_messages_end_the_session(client, name):
    data, status = BAD[name]
    with client.live() as (socket, _):
        socket.send(data)
        answer = json.loads(socket.recv(20))
        assert (answer["type"], answer["status"]) == ("error", status)
        assert answer["error"]
        assert answer["fix"]
        with pytest.raises(ConnectionClosed):
            socket.recv(20)
    assert client.wait_free()


def send_and_wait(socket, data):
    socket.send(data)
    return socket.recv(20)


def test_messages_beyond_all_limits_are_not_even_read(client):
    refused = pytest.raises(ConnectionClosed)
    with client.live() as (socket, _), refused as closed:
        send_and_wait(socket, bytes(2**22))
    # The connection can be gone before the reason has arrived: more was still being sent.
    assert closed.value.rcvd is None or closed.value.rcvd.code == 1009
    assert client.wait_free()


def test_idle_and_long_streams_end(recognizer):
    for limits, word in (({"idle_s": 0.2}, "No frame came"), ({"live_s": 0.2}, "has lasted")):
        with running(recognizer, **limits) as client:
            with client.live() as (socket, _):
                answer = json.loads(socket.recv(20))
                assert (answer["status"], word in answer["error"]) == (408, True)
                with pytest.raises(ConnectionClosed) as closed:
                    socket.recv(20)
            assert closed.value.rcvd.code == 4408
            assert client.wait_free()


def test_a_fork_shares_weights(recognizer):
    other = fork(recognizer)
    assert other.runtime is recognizer.runtime
    other.push(torch.zeros(48, 64, 3, dtype=torch.uint8).numpy(), 0.0)
    assert recognizer.finish() is None  # has seen nothing
