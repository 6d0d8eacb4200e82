"""A small model learns from the synthetic data in every layout, and the pipeline picks the layout.

Videos of the MECCANO and EPIC layouts hold clips of all classes one after the other, so what is
learned there hangs on reading the labelled part and no other: read elsewhere, it is lost.
"""

import dataclasses
import logging
import runpy
from pathlib import Path

import pytest

from slowfast.config import load_cfg
from slowfast.datasets.epic_kitchens import EpicKitchens
from slowfast.datasets.meccano import Meccano
from slowfast.datasets.synthetic import LAYOUTS, default_options, make_synthetic
from slowfast.reports.stats import read_stats

REPO = Path(__file__).parents[1]
CONFIGS = {
    "kinetics": "X3D_T",
    "meccano": "X3D_T_MECCANO",
    "epic": "X3D_T_EPIC",
    "epic_video": "X3D_T_EPIC",
    "rawframes": "X3D_T_RAWFRAMES",
}
ACTIONS = ("push_left_red_bar", "lift_blue_bar", "approach_green_plate", "shake_yellow_plate")
CHANCE = 100 / len(ACTIONS)
OVERRIDES = {
    "CPU_PROCESSES": 1,
    "PROGRESS": "none",
    "MODEL.MODEL_NAME": "TinyNet",
    "TINY.WIDTH": 16,
    "MODEL.LABEL_SMOOTHING": 0.0,
    "DATA.NUM_FRAMES": 2,
    "DATA.SAMPLING_RATE": 6,
    "DATA.TRAIN_JITTER_SCALES": "[32, 32]",
    "DATA.TRAIN_CROP_SIZE": 32,
    "DATA.TEST_CROP_SIZE": 32,
    "TEST.NUM_ENSEMBLE_VIEWS": 2,
    "TRAIN.BATCH_SIZE": 16,
    "TRAIN.EVAL_PERIOD": 100,
    "TRAIN.CHECKPOINT_PERIOD": 100,
    "SOLVER.BASE_LR": 0.05,
    "SOLVER.MAX_EPOCH": 30,
}


def tool(name):
    return runpy.run_path(str(REPO / "tools" / name))["main"]


def run_net(layout, data, out, *words):
    """Metrics of the test at the end."""
    config = REPO / "configs/Synthetic" / f"{CONFIGS[layout]}.yaml"
    fixed = [word for pair in OVERRIDES.items() for word in pair]
    places = ["--cfg", config, "DATA.PATH_TO_DATA_DIR", data, "OUTPUT_DIR", out]
    tool("run_net.py")([str(word) for word in (*places, *fixed, *words)])
    return read_stats(out / "stdout.log")["test_final"][-1]


def test_every_layout_is_trained_on():
    assert set(CONFIGS) == set(LAYOUTS)


@pytest.mark.slow
@pytest.mark.parametrize("layout", CONFIGS)
def test_a_small_model_learns(layout, tmp_path, monkeypatch):
    options = default_options(
        layout, num_clips=240, num_frames=12, size=32, difficulty=0.0, actions=ACTIONS,
        split_ratio=(0.75, 0.25, 0.0) if "epic" in layout else (0.75, 0.05, 0.2),
    )  # fmt: skip
    data = make_synthetic(tmp_path / "data", options)
    metrics = run_net(layout, data, tmp_path / "run")
    assert metrics["top1_acc"] > 2.6 * CHANCE
    assert ("unseen_action_accuracy_at_1" in metrics) == ("epic" in layout)
    if layout in ("kinetics", "rawframes"):
        return  # one clip per file or folder
    shift_segments(monkeypatch, EpicKitchens if "epic" in layout else Meccano)
    best = tmp_path / "run/checkpoints/checkpoint_epoch_00030.pyth"
    words = ["TRAIN.ENABLE", "False", "TEST.CHECKPOINT_FILE_PATH", best]
    lost = run_net(layout, data, tmp_path / "shifted", *words)
    assert lost["top1_acc"] < 1.6 * CHANCE


def shift_segments(monkeypatch, family):
    """Let every record of a video show the part of the record before it."""
    records_of = family.records

    def shifted(self, split):
        records = records_of(self, split)
        fields = ("path", "start_s", "end_s", "start_frame", "end_frame")
        places = [{name: getattr(record, name) for name in fields} for record in records]
        return [
            dataclasses.replace(record, **place)
            for record, place in zip(records, places[-1:] + places[:-1], strict=True)
        ]

    monkeypatch.setattr(family, "records", shifted)


LAYOUT_OF = {"kinetics": "kinetics", "meccano": "meccano", "epickitchens": "epic",
             "rawframes": "rawframes"}  # fmt: skip
YAMLS = sorted((REPO / "configs/Synthetic").glob("*.yaml"))


def test_there_is_a_config_of_every_layout():
    datasets = {load_cfg(path).TRAIN.DATASET for path in YAMLS}
    assert datasets == set(LAYOUT_OF)
    assert len(YAMLS) >= 9


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.stem)
def test_the_pipeline_writes_the_layout_of_the_config(path, tmp_path, caplog):
    cfg = load_cfg(path)
    layout = LAYOUT_OF[cfg.TRAIN.DATASET]
    assert cfg.TEST.DATASET == cfg.TRAIN.DATASET
    words = ["--config", str(path), "--dry_run", "--output_dir", str(tmp_path), "--num_clips", "7"]
    with caplog.at_level(logging.INFO):
        tool("pipeline.py")(words)
    data, train, *_ = [line for line in caplog.messages if line.startswith("[")]
    assert f"make_synthetic.py --layout {layout} --output_dir {tmp_path}/data" in data
    assert ("DATA.CACHE_DIR" in train) == (layout == "kinetics")


@pytest.fixture(scope="module")
def little_data(tmp_path_factory):
    """Layout -> a dataset of 96 short clips of all classes, written when first asked for."""
    made = {}

    def make(layout):
        if layout not in made:
            options = default_options(layout, num_clips=96, num_frames=12, size=40)
            made[layout] = make_synthetic(tmp_path_factory.mktemp(layout) / "data", options)
        return made[layout]

    return make


@pytest.mark.slow
@pytest.mark.parametrize("path", YAMLS, ids=lambda path: path.stem)
def test_every_config_trains_and_tests_on_its_layout(path, little_data, tmp_path):
    """As the pipeline runs it, in one process and for one epoch; the model is the config's."""
    data = little_data(LAYOUT_OF[load_cfg(path).TRAIN.DATASET])
    words = {
        "DATA.PATH_TO_DATA_DIR": data, "OUTPUT_DIR": tmp_path, "CPU_PROCESSES": 1,
        "PROGRESS": "none", "TRAIN.BATCH_SIZE": 16, "SOLVER.MAX_EPOCH": 1,
        "TEST.NUM_ENSEMBLE_VIEWS": 2, "DATA.TRAIN_JITTER_SCALES": "[40, 40]",
        "DATA.TRAIN_CROP_SIZE": 32, "DATA.TEST_CROP_SIZE": 32,
    }  # fmt: skip
    tool("run_net.py")(
        ["--cfg", str(path), *(str(word) for pair in words.items() for word in pair)]
    )
    stats = read_stats(tmp_path / "stdout.log")
    assert stats["train_epoch"][-1]["loss"] > 0
    assert "top1_acc" in stats["test_final"][-1]
    assert (tmp_path / "checkpoints/best.pyth").exists()


def test_the_pipeline_names_a_dataset_that_cannot_be_drawn(tmp_path, capsys):
    words = ["--dry_run", "--output_dir", str(tmp_path), "TRAIN.DATASET", "features"]
    with pytest.raises(SystemExit):
        tool("pipeline.py")(words)
    assert "no synthetic data for TRAIN.DATASET 'features'" in capsys.readouterr().err
