"""What learners write, what they load, and where they get it from."""

import json
import pickle
import threading
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import pytest
import torch

from slowfast.checkpoint.io import CheckpointError
from slowfast.engine.weights import load_model
from slowfast.learners import (
    KineticsDataset,
    LearnerError,
    X3DLearner,
    zoo,
)
from slowfast.utils.download import DownloadError
from tests.learners.actions import Pairs, assert_same, scores, tiny, weights, write_kinetics

__all__ = ["tiny"]  # a fixture


def test_a_saved_learner_comes_back(tiny, tmp_path):
    learner = X3DLearner(**tiny, lr=0.5, optimizer="sgd", loss="bce", lr_schedule="cosine")
    learner.fit(KineticsDataset(write_kinetics(tmp_path / "data")))
    assert learner.save(tmp_path / "my" / "name") is learner
    saved = sorted(path.name for path in (tmp_path / "my/name").iterdir())
    assert saved == ["model_name.pth", "name.json"]
    for path in ("name", "name/name.json"):
        other = X3DLearner(device="cpu").load(tmp_path / "my" / path)
        assert other.num_classes == 2
        assert other.class_names == ["applauding", "zumba"]
        assert other.arguments() | {"temp_path": ""} == learner.arguments()
        assert_same(weights(learner), weights(other))
    found = json.loads((tmp_path / "my/name/name.json").read_text())
    assert found["inference_params"]["num_classes"] == 2
    assert found["optimizer_info"]["lr_schedule"] == "cosine"
    assert found["framework"] == "pytorch"
    assert found["format"] == "pth"
    assert found["optimized"] is False


def test_what_was_saved_last_is_loaded(tiny, tmp_path):
    learner = X3DLearner(**tiny)
    learner.save(tmp_path / "name")
    first = weights(learner)
    learner.fit(Pairs())
    for _ in range(10):  # _10 sorts before _2
        learner.save(tmp_path / "name")
    assert (tmp_path / "name/model_name_10.pth").exists()
    assert_same(weights(X3DLearner(device="cpu").load(tmp_path / "name/name.json")), first)
    (tmp_path / "name").rename(tmp_path / "moved")
    assert_same(weights(X3DLearner(device="cpu").load(tmp_path / "moved")), weights(learner))


def test_other_tools_take_the_saved_weights(tiny, tmp_path):
    learner = X3DLearner(**tiny)
    learner.save(tmp_path / "name")
    model, config = load_model(tmp_path / "name/model_name.pth")
    assert_same(dict(model.state_dict()), weights(learner))
    assert config.DATA.NUM_FRAMES == 4


def test_descriptions_of_opendr_load_with_all_their_classes(tiny, tmp_path):
    X3DLearner(**tiny).save(tmp_path)
    (description,) = tmp_path.glob("*.json")
    found = json.loads(description.read_text())
    for name in ("num_classes", "image_size", "frames_per_clip"):
        del found["inference_params"][name]
    (tmp_path / found["model_paths"][0]).rename(tmp_path / "model_x3d_tiny.pth")
    description.unlink()
    for name in ("version", "learner", "class_names", "sha256"):
        del found[name]
    found["model_paths"] = "model_x3d_tiny.pth"
    (tmp_path / "x3d_tiny.json").write_text(json.dumps(found))
    assert X3DLearner(device="cpu").load(tmp_path).num_classes == 2


def test_weights_for_other_classes_start_a_finetuning(tiny, tmp_path, caplog):
    X3DLearner(**tiny).save(tmp_path / "two")
    learner = X3DLearner(**{**tiny, "num_classes": 5, "seed": 7})
    learner.load(tmp_path / "two/model_two.pth")
    assert "has 2 classes, the learner 5: its classifier is not taken over" in caplog.text
    assert learner.num_classes == len(scores(learner, Pairs().clips[0])) == 5


def test_a_failed_load_leaves_the_learner_as_it_was(tiny, tmp_path):
    learner = X3DLearner(**tiny)
    before = weights(learner)
    deep = X3DLearner(device="cpu", backbone="xs", num_classes=2)
    deep.save(tmp_path / "deep")
    (tmp_path / "notes.txt").write_text("")
    X3DLearner(**tiny).save(tmp_path / "changed")
    with (tmp_path / "changed/model_changed.pth").open("ab") as file:
        file.write(b"0")
    torch.save({"model_state": {"a": Pairs()}}, tmp_path / "code.pth")
    for path, error, message in [
        ("deep/model_deep.pth", LearnerError, "not hold the weights of an X3D-TINY, e.g. s2"),
        ("changed", LearnerError, "its SHA-256 differs"),
        ("code.pth", CheckpointError, "holds Python objects"),
        ("notes.txt", LearnerError, "neither a .json nor weights"),
        ("nothing", LearnerError, "there is no .*nothing"),
        ("checkpoints", LearnerError, "there is no"),
    ]:
        with pytest.raises(error, match=message):
            learner.load(tmp_path / path)
    assert learner.backbone == "tiny"
    assert_same(weights(learner), before)


# download.


@pytest.fixture
def server(tmp_path):
    """A folder and its address on this machine; and what was asked of it."""
    folder, asked = tmp_path / "served", []
    folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    httpd = HTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield folder, f"http://127.0.0.1:{httpd.server_port}", asked
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_download_and_load(tiny, server, tmp_path):
    folder, url, asked = server
    learner = X3DLearner(**tiny)
    state = {"model_state": learner.model.state_dict(), "epoch": 300, "cfg": "MODEL: {}"}
    torch.save(state, folder / "x3d_xs.pyth")
    place = tmp_path / "weights"
    for _ in range(2):
        assert X3DLearner.download(place, {"xs"}, url=url) == [place / "x3d_xs.pyth"]
    assert [path.name for path in place.iterdir()] == ["x3d_xs.pyth"]
    assert len(asked) == 1  # what is there is not fetched again
    assert X3DLearner.download(tmp_path / "file", "xs", url=folder.as_uri())
    other = X3DLearner(**tiny, seed=9)
    assert other.load(place) is other  # the folder, as documented
    assert_same(weights(learner), weights(other))


def test_a_download_that_fails_leaves_nothing(server, tmp_path):
    folder, url, _ = server
    (folder / "x3d_s.pyth").write_bytes(b"an error page")
    torch.save({"model_state": {"weight": torch.zeros(1)}}, folder / "x3d_m.pyth")
    (folder / "x3d_l.pyth").write_bytes(pickle.dumps(Path, protocol=2))
    place = tmp_path / "weights"
    for name, message in [
        ("xs", "x3d_xs.pyth cannot be downloaded.*404"),
        ("s", "x3d_s.pyth is no checkpoint"),
        ("m", "x3d_m.pyth holds other weights"),
        ("l", "x3d_l.pyth is no checkpoint"),
    ]:
        with pytest.raises(DownloadError, match=message):
            X3DLearner.download(place, {name}, url=url)
    with pytest.raises(DownloadError, match=r"SHA-256 \w+, expected 00"):
        X3DLearner.download(place, {"s"}, url=url, sha256={"s": "00"})
    with pytest.raises(DownloadError, match="cannot be downloaded"):
        X3DLearner.download(place, {"xs"}, url="http://127.0.0.1:9")
    assert list(place.iterdir()) == []
    with pytest.raises(LearnerError, match="no X3D called 'xl'"):
        X3DLearner.download(place, {"xl"})
    with pytest.raises(LearnerError, match="url is 'ftp"):
        X3DLearner.download(place, {"xs"}, url="ftp://example.org")
    assert zoo.URL.startswith("https://")
