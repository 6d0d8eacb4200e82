import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
pytest.importorskip("websockets")

from slowfast.deploy.recognize import open_recognizer
from tests.deploy.recognizing import write_model
from tests.deploy.serve.serving import running
from tests.videos import write_video


@pytest.fixture(scope="package")
def checkpoint(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="package")
def recognizer(checkpoint):
    """Windows of 8 frames, a prediction every other frame of 30 per second."""
    return open_recognizer(checkpoint)


@pytest.fixture(scope="package")
def client(recognizer):
    """Of a server with usual limits, but for small uploads."""
    with running(recognizer, upload_bytes=2**20, video_s=4.0, sessions=2, stall_s=5.0) as found:
        yield found


@pytest.fixture(scope="package")
def video(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("videos") / "a.mp4", num_frames=40)
