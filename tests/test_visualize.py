"""tools/visualize.py on small networks and videos."""

import json
import re
import runpy
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from slowfast.checkpoint.io import write_checkpoint
from slowfast.config import load_cfg
from slowfast.models.build import build_model
from slowfast.reports.gradcam.build import chosen_classes, spread
from slowfast.reports.gradcam.draw import Panel, held, overlay, sheet, side_by_side
from slowfast.utils.errors import UserError
from tests.small import write_config, write_folders
from tests.videos import write_video

REPO = Path(__file__).parents[1]
SLOWFAST = """
MODEL: {MODEL_NAME: SlowFast, ARCH: slowfast, DROPOUT_RATE: 0.5}
RESNET: {DEPTH: 18, WIDTH_PER_GROUP: 8}
SLOWFAST: {ALPHA: 4, BETA_INV: 4}
DATA: {NUM_FRAMES: 8, SAMPLING_RATE: 1, INPUT_CHANNEL_NUM: [3, 3], TRAIN_JITTER_SCALES: [64, 64],
       TRAIN_CROP_SIZE: 64, TEST_CROP_SIZE: 64}
"""
TASKS = """
MODEL: {NUM_CLASSES: [2, 3], TASKS: [verb, noun]}
"""


def visualize(*words):
    runpy.run_path(str(REPO / "tools/visualize.py"))["main"]([str(word) for word in words])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_folders(tmp_path_factory.mktemp("videos"))


def checkpoint(folder, data, changes=""):
    """A config and the checkpoint of a fresh network of it."""
    path = write_config(folder / "net.yaml", data, changes)
    cfg = load_cfg(path)
    torch.manual_seed(0)
    weights = write_checkpoint(
        folder, epoch=0, model=build_model(cfg), optimizer=None, cfg_yaml=cfg.dump()
    )
    return path, weights


def frames_of(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_the_test_split_of_a_single_pathway(data, tmp_path, capsys):
    config, weights = checkpoint(tmp_path, data)
    out = tmp_path / "out"
    visualize("--cfg", config, "--model_path", weights, "--num_videos", 3, "--true_label",
              "--output_dir", out)  # fmt: skip
    found = json.loads((out / "gradcam.json").read_text())
    assert found["layers"] == ["features"]
    assert [Path(clip["video"]).parts[-2:] for clip in found["clips"]] == [
        ("left", "0.mp4"), ("right", "0.mp4"), ("right", "1.mp4"),
    ]  # fmt: skip
    for clip in found["clips"]:
        (task,) = clip["tasks"].values()
        (true,) = task["true"]
        assert task["explained"] == true | {"why": "true"}
        assert true["name"] == Path(clip["video"]).parent.name
        assert [guess["name"] for guess in task["top"]] in (["left", "right"], ["right", "left"])
        assert sum(guess["score"] for guess in task["top"]) == pytest.approx(1, abs=1e-4)
        (heat,) = task["heat"]
        assert heat["shape"] == [4, 16, 16]
        movie, picture = clip["files"]
        shown = frames_of(out / movie)
        assert len(shown) == 4
        assert shown[0].shape[1] == 2 * 192 + 4
        assert Image.open(out / picture).width == 4 * 192 + 3 * 4
    assert str(out / "gradcam.json") in capsys.readouterr().out


def test_a_video_and_two_pathways_without_a_config(data, tmp_path):
    _, weights = checkpoint(tmp_path, data, SLOWFAST)
    video = write_video(tmp_path / "some video.mp4", num_frames=24)
    out = tmp_path / "out"
    visualize("--model_path", weights, "--input_video", video, "--num_clips", 2, "--output_dir",
              out, "--class", "right", "--tensorboard", "PROGRESS", "none")  # fmt: skip
    found = json.loads((out / "gradcam.json").read_text())
    assert [clip["view"] for clip in found["clips"]] == [0, 1]
    assert found["clips"][0]["end_s"] < found["clips"][1]["end_s"]
    task = found["clips"][0]["tasks"]["action"]
    assert task["explained"] == {"class": 1, "name": "right", "why": "given"}
    assert task["true"] == []
    assert [(heat["pathway"], heat["shape"]) for heat in task["heat"]] == [
        (0, [2, 2, 2]), (1, [8, 2, 2]),
    ]  # fmt: skip
    assert found["clips"][0]["files"][0] == "000_some_video_view0.mp4"
    shown = frames_of(out / "000_some_video_view0.mp4")
    assert len(shown) == 8  # of the fast pathway; the slow one shows its frames longer
    assert list(out.glob("events.out.tfevents.*"))


def test_several_tasks_and_layers(data, tmp_path):
    config, weights = checkpoint(tmp_path, data, TASKS)
    video, out = write_video(tmp_path / "a.mp4", num_frames=12), tmp_path / "out"
    visualize("--cfg", config, "--model_path", weights, "--input_video", video, "--class",
              "noun=2", "--target_layer", "features.0", "--target_layer", "features/5",
              "--output_dir", out)  # fmt: skip
    found = json.loads((out / "gradcam.json").read_text())
    assert found["layers"] == ["features.0", "features.5"]
    (clip,) = found["clips"]
    assert clip["tasks"]["noun"]["explained"] == {"class": 2, "name": "class 2", "why": "given"}
    assert clip["tasks"]["verb"]["explained"]["why"] == "predicted"
    assert [heat["shape"] for heat in clip["tasks"]["verb"]["heat"]] == [[4, 32, 32], [4, 16, 16]]
    assert frames_of(out / clip["files"][0])[0].shape[1] == 3 * 192 + 2 * 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target_layer", "feature.3"], r"target layer 'feature\.3' of TinyNet.*features\.3"),
        (["--class", "rihgt"], r"--class rihgt: no such class\..*names like it: right"),
        (["--class", "7"], "--class 7: no such class. Numbers are 0 to 1 of action"),
        (["--input_video", "no.mp4"], "--input_video no.mp4: no such file"),
        (["--colormap", "virids"], "no colour map 'virids': try viridis"),
        (["--num_clips", "0"], "--num_clips and --top_k are at least 1"),
        (["--model_path", "no.pyth"], "no.pyth"),
        (["--model_path", "net.onnx"], "net.onnx is an exported file, without gradients"),
    ],
)
def test_mistakes_are_one_line(data, tmp_path, capsys, words, message):
    config, weights = checkpoint(tmp_path, data)
    with pytest.raises(SystemExit) as stop:
        visualize("--cfg", config, "--model_path", weights, "--output_dir", tmp_path / "o", *words)
    assert stop.value.code == 2
    errors = capsys.readouterr().err
    assert re.search(f"^error: .*{message}", errors, re.MULTILINE), errors
    assert not (tmp_path / "o").exists()


def test_neither_config_nor_checkpoint(capsys):
    with pytest.raises(SystemExit):
        visualize("--num_videos", "1")
    assert "give the checkpoint as --model_path, or a config as --cfg" in capsys.readouterr().err


# --- parts


def test_classes():
    tasks, names = {"verb": 2, "noun": 3}, {"verb": ["take", "cut"], "noun": ["cup", "cut", "x"]}
    assert chosen_classes(["take"], tasks, names) == {"verb": 0}
    assert chosen_classes(["cut"], tasks, names) == {"verb": 1, "noun": 1}
    assert chosen_classes(["verb=take", "noun=2"], tasks, names) == {"verb": 0, "noun": 2}
    with pytest.raises(UserError, match=r"--class 1: of which task\? Give verb=1"):
        chosen_classes(["1"], tasks, names)
    assert chosen_classes(["1"], {"action": 4}, {}) == {"action": 1}
    assert chosen_classes(["a=b"], {"action": 2}, {"action": ["c", "a=b"]}) == {"action": 1}


def test_spread():
    assert spread(10, 3) == [0, 4, 9]
    assert spread(2, 8) == spread(2, 0) == [0, 1]


def test_overlay_leaves_cold_places_alone_and_colours_hot_ones():
    frames = np.full((1, 2, 2, 3), 100, np.uint8)
    heat = np.array([[[0.0, 1.0], [0.5, 0.0]]])
    shown = overlay(frames, heat, "viridis")
    assert (shown[0, 0, 0] == 100).all()
    yellow = np.array([253, 231, 37])
    np.testing.assert_allclose(shown[0, 0, 1], 0.35 * 100 + 0.65 * yellow, atol=1.5)


def test_panels_with_fewer_frames_show_them_longer():
    assert [held(t, 8, 2) for t in range(8)] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert held(0, 1, 1) == 0
    slow, fast = (np.arange(n, dtype=np.uint8)[:, None, None, None] for n in (2, 8))
    panels = [Panel("slow", slow.repeat(200, 1).repeat(200, 2).repeat(3, 3)),
              Panel("fast", fast.repeat(200, 1).repeat(200, 2).repeat(3, 3))]  # fmt: skip
    moving = side_by_side(panels, 2, ["head"])
    assert moving.shape[0] == 8
    assert [int(frame[-1, 0, 0]) for frame in moving] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert [int(frame[-1, -1, 0]) for frame in moving] == list(range(8))
    still = sheet(panels, ["head"], columns=4)
    assert still.shape[1] == 4 * 200 + 3 * 4
