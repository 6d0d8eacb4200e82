"""What TENSORBOARD asks for, read back from the event files."""

import io
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from slowfast.checkpoint.io import write_checkpoint
from slowfast.config import load_cfg
from slowfast.datasets.base import DataError
from slowfast.engine.predictions import Predictions, PredictionsError
from slowfast.models.build import build_model
from slowfast.reports.board.build import build_drawers, build_network_pictures, run_with_board
from slowfast.reports.board.choice import ClassChoice, build_class_choice
from slowfast.reports.board.classes import ConfusionDrawer, HistogramDrawer
from slowfast.reports.board.clips import add_clip, clean, mistakes, open_writer, video_tag
from slowfast.reports.board.network import grid, read_layer
from slowfast.reports.gradcam.layers import LayerError
from slowfast.utils.errors import UserError
from tests.small import write_config, write_folders

REPO = Path(__file__).parents[2]
CLASSES = ["cut", "open", "pour"]
FIGSIZE = (3.0, 2.0)


def read(folder):
    """Images (tag -> list of files) and histograms (tags) of the event files below a folder."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(
        str(folder), size_guidance={"images": 0, "histograms": 0}
    ).Reload()
    tags = events.Tags()
    images = {tag: [image.encoded_image_string for image in events.Images(tag)]
              for tag in tags["images"]}  # fmt: skip
    return images, set(tags["histograms"])


def picture(data):
    return Image.open(io.BytesIO(data))


def predictions(**changes):
    """Nine videos of three classes; two of ``cut`` are taken for ``pour``, one for ``open``."""
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2])
    said = np.array([0, 2, 2, 1, 1, 1, 1, 2, 2])
    scores = np.full((9, 3), 0.1, np.float32)
    scores[np.arange(9), said] = 0.8
    scores[2, 2] = 0.9
    names = [f"/data/{CLASSES[label]}/{i}.mp4" for i, label in enumerate(labels)]
    given = {"scores": {"action": scores}, "labels": {"action": labels}, "names": names}
    return Predictions(**given | {"class_names": {"action": CLASSES}} | changes)


# --- classes


def test_confusion_and_histograms_in_the_event_file(tmp_path):
    choice = ClassChoice(subset=("pour", "cut"), categories={"kitchen": ["open", "pour"]})
    with open_writer(tmp_path) as writer:
        ConfusionDrawer(choice, FIGSIZE)(writer, predictions(), 4)
        HistogramDrawer(choice, 2, FIGSIZE)(writer, predictions(), 4)
    images, _ = read(tmp_path)
    assert set(images) == {
        "Confusion/action", "Confusion/action/kitchen",
        "Predicted/action/cut", "Predicted/action/pour",
        "Predicted/action/kitchen/open", "Predicted/action/kitchen/pour",
    }  # fmt: skip
    assert {picture(files[0]).size for files in images.values()} == {(300, 200)}  # 100 dpi


class Figures:
    """A writer that keeps the figures."""

    def __init__(self):
        self.added = {}

    def add_figure(self, tag, figure, step):
        self.added[tag] = figure


def test_histograms_are_of_what_is_predicted_most_often():
    writer = Figures()
    HistogramDrawer(top_k=2)(writer, predictions(), 1)
    assert set(writer.added) == {f"Predicted/action/{name}" for name in CLASSES}
    (axes,) = writer.added["Predicted/action/cut"].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["pour", "cut"]
    assert [bar.get_width() for bar in axes.patches] == [50.0, 25.0]
    (axes,) = writer.added["Predicted/action/open"].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["open"]  # nothing else was


def test_confusion_of_a_subset_has_its_rows_and_columns():
    writer = Figures()
    ConfusionDrawer(ClassChoice(subset=("cut", "pour")))(writer, predictions(), 1)
    axes = writer.added["Confusion/action"].axes[0]
    assert [text.get_text() for text in axes.texts] == ["1", "2", "2"]


def test_classes_without_videos_and_without_names():
    writer = Figures()
    few = predictions(class_names={}, labels={"action": np.zeros(9, int)})
    HistogramDrawer()(writer, few, 1)
    assert set(writer.added) == {"Predicted/action/class 0"}


def test_several_labels_per_video_are_left_out():
    writer = Figures()
    many = predictions(labels={"action": np.ones((9, 3))})
    HistogramDrawer()(writer, many, 1)
    ConfusionDrawer()(writer, many, 1)
    assert writer.added == {}


# --- mistakes and clips


def test_mistakes_are_sorted_by_how_sure_they_are():
    found = mistakes(predictions(), "action", [0, 1, 2])
    assert [(m.true, m.predicted) for m in found] == [(0, 2), (0, 2), (0, 1)]
    assert found[0].name == "/data/cut/2.mp4"
    assert found[0].score == pytest.approx(0.9)
    assert mistakes(predictions(), "action", [1, 2]) == []


def test_a_clip_is_an_animated_picture(tmp_path):
    frames = np.zeros((5, 20, 30, 3), np.uint8)
    frames[..., 0] = np.arange(5)[:, None, None] * 60
    with open_writer(tmp_path) as writer:
        add_clip(writer, "/a clip: of/mine.", frames, fps=10, step=3)
    ((tag, (data,)),) = read(tmp_path)[0].items()
    assert tag == "a_clip_of/mine."
    shown = picture(data)
    assert (shown.format, shown.n_frames, shown.size) == ("GIF", 5, (30, 20))
    shown.seek(4)
    assert shown.convert("RGB").getpixel((3, 3)) == (240, 0, 0)
    assert shown.info["duration"] == 100


def test_tags():
    assert clean("Incorrectly classified videos./a b") == "Incorrectly_classified_videos./a_b"
    assert video_tag("/data/test/left/3.mp4") == "left/3"
    assert video_tag("3") == "3"


def test_layers_of_a_list():
    assert read_layer("s5/pathway0_res2 0,7;1,1") == read_layer(" s5.pathway0_res2  0,7;1,1 ")
    assert read_layer("s5 0,7;1,1").index == ((0, 7), (1, 1))
    for wrong in ("s5 x", "s5 1,2;3", "s5 1;2;3"):
        with pytest.raises(UserError, match=r"MODEL_VIS\.LAYER_LIST"):
            read_layer(wrong)


def test_grid():
    parts = np.stack([np.full((2, 3), 5.0), np.arange(6.0).reshape(2, 3)])
    found = grid(parts)
    assert found.max() == 255
    assert found[:20, :30].max() == 0  # one that is everywhere the same


# --- a run


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_folders(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="module")
def config(data, tmp_path_factory):
    return write_config(tmp_path_factory.mktemp("config") / "board.yaml", data,
                        "TINY: {WIDTH: 2}\n")  # fmt: skip


def load(config, out, *words):
    """The config of a run in ``out``, its network always of one opinion: ``left``."""
    cfg = load_cfg(config, ["OUTPUT_DIR", str(out), "TENSORBOARD.ENABLE", "True", *words])
    torch.manual_seed(0)
    model = build_model(cfg)
    with torch.no_grad():
        model.head.projection.weight.mul_(0.01)
        model.head.projection.bias.copy_(torch.tensor([2.0, 0.0]))
    path = write_checkpoint(out, epoch=0, model=model, optimizer=None, cfg_yaml=cfg.dump())
    return load_cfg(config, [
        "OUTPUT_DIR", str(out), "TENSORBOARD.ENABLE", "True", *words,
        "TEST.CHECKPOINT_FILE_PATH", str(path),
    ])  # fmt: skip


def test_the_test_of_a_run_draws_classes_and_mistakes(config, tmp_path):
    subset = tmp_path / "subset.txt"
    subset.write_text("right\n")
    words = ["TENSORBOARD.HISTOGRAM.ENABLE", "True", "TENSORBOARD.WRONG_PRED_VIS.ENABLE", "True"]
    words += ["TENSORBOARD.CONFUSION_MATRIX.ENABLE", "True", "TRAIN.ENABLE", "False"]
    words += ["TENSORBOARD.HISTOGRAM.SUBSET_PATH", str(subset)]
    words += ["TENSORBOARD.WRONG_PRED_VIS.TAG", "Wrong", "TEST.SAVE_RESULTS_PATH", "preds"]
    run_with_board(load(config, tmp_path, *words))
    images, _ = read(tmp_path / "runs-video_folder/test")
    assert set(images) == {
        "Confusion/action", "Predicted/action/right",
        "Wrong/action/right/right/0", "Wrong/action/right/right/1",
    }  # fmt: skip
    clip = picture(images["Wrong/action/right/right/0"][0])
    assert clip.n_frames == 4
    assert clip.size[0] == 192  # 32 pixels, enlarged

    again = [*words, "TENSORBOARD.LOG_DIR", "again", "TEST.ENABLE", "False"]
    again += ["TENSORBOARD.PREDICTIONS_PATH", str(tmp_path / "preds.npz")]
    again += ["TENSORBOARD.WRONG_PRED_VIS.NUM_VIDEOS", "1"]
    run_with_board(load(config, tmp_path, *again))
    images, _ = read(tmp_path / "again/test")
    assert len([tag for tag in images if tag.startswith("Wrong/")]) == 1
    assert "Confusion/action" in images

    left = tmp_path / "left.txt"
    left.write_text("left\n")
    none = [*again, "TENSORBOARD.LOG_DIR", "none", "TENSORBOARD.WRONG_PRED_VIS.SUBSET_PATH"]
    run_with_board(load(config, tmp_path, *none, str(left)))
    assert not [t for t in read(tmp_path / "none/test")[0] if t.startswith("Wrong/")]


def test_nothing_is_drawn_unless_asked_for(config, tmp_path):
    run_with_board(load(config, tmp_path, "TRAIN.ENABLE", "False"))
    assert not (tmp_path / "runs-video_folder").exists()
    assert build_drawers(load_cfg(config, ["TENSORBOARD.CONFUSION_MATRIX.ENABLE", "True"])) == []


def test_the_network_at_work(config, tmp_path):
    node = "TENSORBOARD.MODEL_VIS."
    words = []
    for name in ("ENABLE", "MODEL_WEIGHTS", "ACTIVATIONS", "INPUT_VIDEO"):
        words += [node + name, "True"]
    words += [node + "NUM_VIDEOS", "2", node + "LAYER_LIST", "['features/3 0,1;2,2', 'features.0']"]
    words += [node + "TOPK_PREDS", "2", node + "GRAD_CAM.LAYER_LIST", "[features.5]"]
    folder = build_network_pictures(load(config, tmp_path, *words))
    images, histograms = read(folder)
    assert histograms == {"Weights/features.0.weight", "Weights/features.3.weight"}
    videos = ("left/0", "right/1")
    assert set(images) == {
        f"{group}/{video}"
        for group in ("Grad-CAM", "Input", "Activations/features.0", "Activations/features.3")
        for video in videos
    }
    assert picture(images["Grad-CAM/left/0"][0]).n_frames == 4
    one, two = (picture(images[f"{g}/left/0"][0]).size for g in ("Input", "Grad-CAM"))
    assert one[0] == 192
    assert two[0] == 2 * 192 + 4  # frames, and beside them what the network looks at


def test_grad_cam_alone_and_off(config, tmp_path):
    words = ["TENSORBOARD.MODEL_VIS.ENABLE", "True", "TENSORBOARD.MODEL_VIS.NUM_VIDEOS", "1"]
    images, histograms = read(build_network_pictures(load(config, tmp_path / "a", *words)))
    assert (set(images), histograms) == ({"Grad-CAM/left/0"}, set())
    words += ["TENSORBOARD.MODEL_VIS.GRAD_CAM.ENABLE", "False"]
    words += ["TENSORBOARD.MODEL_VIS.INPUT_VIDEO", "True"]
    assert set(read(build_network_pictures(load(config, tmp_path / "b", *words)))[0]) == {
        "Input/left/0"
    }


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ({"MODEL_VIS.GRAD_CAM.LAYER_LIST": "[feature.3]"}, LayerError,
         r"TinyNet has no layer 'feature\.3': try one of features\.3"),
        ({"MODEL_VIS.LAYER_LIST": "[headd]"}, LayerError, "no layer 'headd': try one of head"),
        ({"MODEL_VIS.GRAD_CAM.COLORMAP": "virids"}, UserError, "no colour map 'virids': try viri"),
        ({"HISTOGRAM.ENABLE": True, "HISTOGRAM.SUBSET_PATH": "subset.txt"}, DataError,
         r"HISTOGRAM\.SUBSET_PATH subset\.txt names 'up': no such class; there are left, right"),
        ({"HISTOGRAM.ENABLE": True, "HISTOGRAM.SUBSET_PATH": "no_file"}, DataError,
         "class names no_file cannot be read"),
        ({"CONFUSION_MATRIX.ENABLE": True, "CATEGORIES_PATH": "categories.json"}, DataError,
         "CATEGORIES_PATH, 'sides' names 'middle': no such class"),
        ({"CONFUSION_MATRIX.ENABLE": True, "CONFUSION_MATRIX.FIGSIZE": "[8]"}, DataError,
         "width and height"),
    ],
)  # fmt: skip
def test_mistakes_in_the_config_are_found_before_a_training(
    config, tmp_path, monkeypatch, keys, error, message
):
    monkeypatch.chdir(tmp_path)
    Path("subset.txt").write_text("left\nup\n")
    Path("categories.json").write_text(json.dumps({"sides": ["left", "middle"]}))
    keys = {"ENABLE": True, "MODEL_VIS.ENABLE": True} | keys
    words = [str(word) for name, value in keys.items() for word in (f"TENSORBOARD.{name}", value)]
    cfg = load_cfg(config, ["OUTPUT_DIR", str(tmp_path / "out"), *words])
    with pytest.raises(error, match=message):
        run_with_board(cfg)
    assert not (tmp_path / "out").exists()


def test_names_of_a_file_come_first(config, tmp_path):
    names = tmp_path / "names.json"
    names.write_text(json.dumps({"port": 0, "starboard": 1}))
    subset = tmp_path / "subset.txt"
    subset.write_text("port\n")
    cfg = load_cfg(config, ["TENSORBOARD.CLASS_NAMES_PATH", str(names)])
    choice = build_class_choice(cfg, str(subset), "KEY")
    assert choice.groups(choice.task_names(predictions(
        scores={"action": np.zeros((9, 2), np.float32)}), "action")) == {"": [0]}  # fmt: skip


def test_saved_predictions_of_another_kind(config, tmp_path):
    (tmp_path / "preds.pkl").write_bytes(b"no such file")
    words = ["TENSORBOARD.PREDICTIONS_PATH", str(tmp_path / "preds.pkl"), "TRAIN.ENABLE", "False"]
    with pytest.raises(PredictionsError, match=r"preds\.pkl: cannot be read .*give an \.npz"):
        run_with_board(load(config, tmp_path, *words, "TEST.ENABLE", "False"))


def test_run_net_draws_during_training(config, tmp_path):
    main = runpy.run_path(str(REPO / "tools/run_net.py"))["main"]
    main(["--cfg", str(config), "OUTPUT_DIR", str(tmp_path), "TENSORBOARD.ENABLE", "True",
          "TENSORBOARD.CONFUSION_MATRIX.ENABLE", "True", "SOLVER.MAX_EPOCH", "1",
          "TEST.ENABLE", "False"])  # fmt: skip
    assert set(read(tmp_path / "runs-video_folder")[0]) == {"Confusion/action", "Train/clips"}
