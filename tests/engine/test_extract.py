"""Features of whole videos: the rows a features dataset pairs with clips, and training on them."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from slowfast.config import load_cfg
from slowfast.datasets.base import ClipRecord
from slowfast.datasets.build import build_dataset
from slowfast.datasets.loader import collate
from slowfast.datasets.pathways import build_batch_transform
from slowfast.engine import extract_build as build
from slowfast.engine.extract import SETTINGS_FILE, ExtractionError, extract_features
from slowfast.engine.run import run
from slowfast.models import build_model
from tests.videos import write_video

REPO = Path(__file__).parents[2]
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
COMMON = """
DATA:
  NUM_FRAMES: 6
  SAMPLING_RATE: 1
  INPUT_CHANNEL_NUM: [3]
  RESIZE: [40, 56]
  RANDOM_FLIP: False
TEST: {BATCH_SIZE: 2, ENABLE: False}
DATA_LOADER: {NUM_WORKERS: 0}
NUM_GPUS: 0
PROGRESS: none
"""
MODELS = {
    "TinyNet": "MODEL: {MODEL_NAME: TinyNet, ARCH: tiny, NUM_CLASSES: 5}\nTINY: {WIDTH: 2}",
    "SlowFast": (
        "MODEL: {MODEL_NAME: SlowFast, ARCH: slowfast, NUM_CLASSES: 5}\n"
        "RESNET: {DEPTH: 18, WIDTH_PER_GROUP: 8}\nSLOWFAST: {ALPHA: 3}"
    ),
    "ResNetLSTM": (
        "MODEL: {MODEL_NAME: ResNetLSTM, ARCH: resnet_lstm, NUM_CLASSES: 5}\n"
        "RESNET: {DEPTH: 18}\nLSTM: {HIDDEN_SIZE: 8}"
    ),
    "IMFE": (
        "MODEL: {MODEL_NAME: IMFE, ARCH: imfe}\n"
        "RESNET: {DEPTH: 18}\nIMFE: {WIDTHS: [8, 8, 8, 8], RADIUS: 2}"
    ),
}
FRAMES = {"a": 20, "b": 31, "c": 31}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    for name, count in FRAMES.items():
        write_video(root / "videos" / f"{name}.mp4", num_frames=count)
    return root


def config(tmp_path, name, *opts):
    """A config and the checkpoint of a model with fresh weights."""
    path = tmp_path / f"{name}.yaml"
    common = COMMON.replace("[3]", "[3, 3]") if name == "SlowFast" else COMMON
    path.write_text(common + MODELS[name])
    cfg = load_cfg(path, [str(word) for word in opts])
    torch.manual_seed(0)
    model = build_model(cfg)
    torch.save({"model_state": model.state_dict()}, tmp_path / f"{name}.pyth")
    words = [*opts, "TEST.CHECKPOINT_FILE_PATH", tmp_path / f"{name}.pyth"]
    return load_cfg(path, [str(word) for word in words])


def extract(cfg, sources, out, **options):
    extractor, checkpoint = build.build_extractor(cfg)
    settings = build.build_settings(cfg, checkpoint, "features")
    options = {"progress": "none", **options}
    return extract_features(extractor, sources, out, settings=settings, **options)


@pytest.mark.parametrize("name", MODELS)
def test_rows_are_features_of_the_clips_of_the_dataset(videos, tmp_path, name):
    """What the student is shown is exactly what the teacher's row was computed from."""
    cfg = config(tmp_path, name, "DATA.PATH_TO_DATA_DIR", videos, "TRAIN.DATASET", "features",
                 "FEATURES.FRAMES_DIR", "videos", "FEATURES.FEATURES_DIR", tmp_path / "out",
                 "FEATURES.NUM_VAL", 2)  # fmt: skip
    result = extract(cfg, build.list_videos(videos / "videos"), tmp_path / "out")
    assert result.rows == {"a": 3, "b": 5, "c": 5}
    extractor, _ = build.build_extractor(cfg)
    dataset = build_dataset(cfg, "val")
    assert len(dataset) == 10
    transform = build_batch_transform(cfg, train=False)
    for index in (0, 4, 7):
        item = dataset[(0, index)]
        batch = transform(collate([item]))
        with torch.no_grad():
            expected = extractor.model.eval().forward_features(batch.clips)
        torch.testing.assert_close(batch.labels, expected, **CLOSE)


@pytest.mark.parametrize("name", ["ResNetLSTM", "IMFE"])
def test_frames_that_windows_share_are_computed_once(videos, tmp_path, name):
    cfg = config(tmp_path, name, "FEATURES.INTERVAL", 2)
    extractor, _ = build.build_extractor(cfg)
    part = extractor.model.backbone if name == "ResNetLSTM" else extractor.model.feature_encoder
    calls = []
    part.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    extractor.model.eval()
    (source, *_) = build.list_videos(videos / "videos")
    rows = {}
    for shared in (True, False):
        object.__setattr__(extractor, "share_frames", shared)
        extractor.save(source.record, tmp_path / "rows.npy")
        rows[shared] = np.load(tmp_path / "rows.npy")
    assert sum(calls) == 19 + 6 * 9  # all frames but the last; six in each of nine windows
    assert rows[True].shape == (9, 16 if name == "ResNetLSTM" else 512)
    np.testing.assert_allclose(rows[True], rows[False], rtol=1e-5, atol=1e-5)


def test_every_frame_is_decoded_once_and_some_at_a_time(videos, tmp_path, monkeypatch):
    extractor, _ = build.build_extractor(config(tmp_path, "TinyNet", "FEATURES.INTERVAL", 2))
    extractor.model.eval()
    (source, *_) = build.list_videos(videos / "videos")
    read = []
    reader = extractor.reader(source.record)
    original = reader.read
    monkeypatch.setattr(reader, "read", lambda n, s=None: (read.append(list(n)), original(n, s))[1])
    list(extractor.features(reader, extractor.windows(source.record, reader)))
    assert sorted(number for numbers in read for number in numbers) == list(range(19))
    assert max(map(len, read)) <= 8  # two windows of six frames, two apart


def test_a_stopped_run_goes_on(videos, tmp_path, monkeypatch):
    cfg, out = config(tmp_path, "TinyNet"), tmp_path / "out"
    sources = build.list_videos(videos / "videos")
    extractor, _ = build.build_extractor(cfg)
    kind = type(extractor)
    original = kind.features

    def stopped(self, reader, windows):
        for number, features in enumerate(original(self, reader, windows)):
            if len(windows) == 5 and number:
                raise KeyboardInterrupt
            yield features

    monkeypatch.setattr(kind, "features", stopped)
    with pytest.raises(KeyboardInterrupt):
        extract(cfg, sources, out)
    assert {path.name for path in out.iterdir()} == {"a.npy", SETTINGS_FILE}
    monkeypatch.undo()
    before = (out / "a.npy").stat().st_mtime_ns
    result = extract(cfg, sources, out)
    assert (result.reused, set(result.rows)) == (["a"], {"b", "c"})
    assert (out / "a.npy").stat().st_mtime_ns == before
    assert len(extract(cfg, sources, out).reused) == 3
    assert set(extract(cfg, sources, out, overwrite=True).rows) == {"a", "b", "c"}


def test_features_of_other_settings_are_not_mixed(videos, tmp_path):
    out, sources = tmp_path / "out", build.list_videos(videos / "videos")
    extract(config(tmp_path, "TinyNet"), sources, out)
    other = config(tmp_path, "TinyNet", "FEATURES.INTERVAL", 3)
    with pytest.raises(ExtractionError, match=r"other settings \(.*interval 6 there, 3 now"):
        extract(other, sources, out)
    assert extract(other, sources, out, overwrite=True).rows["a"] == 6


def test_names_of_records(tmp_path):
    records = [ClipRecord(str(tmp_path / p), 0, p) for p in ("x/a.mp4", "y/a.mp4")]
    assert [source.name for source in build.name_records(records)] == ["x/a", "y/a"]
    parts = [ClipRecord("v.mp4", 0, "l:1", name="v_0"), ClipRecord("v.mp4", 0, "l:2", name="v_1")]
    assert [source.name for source in build.name_records(parts)] == ["v_0", "v_1"]
    with pytest.raises(ExtractionError, match=r"l:1 and l:1 would both be written to v_0.npy"):
        build.name_records(parts[:1] * 2)


def run_tool(*words):
    main = runpy.run_path(str(REPO / "tools/extract_features.py"))["main"]
    with pytest.raises(SystemExit) as stop:
        main([str(word) for word in words])
    return stop.value.code


def test_tool_names_bad_videos_and_goes_on(videos, tmp_path, capsys):
    config(tmp_path, "TinyNet")
    folder = tmp_path / "videos"
    write_video(folder / "good.mp4", num_frames=20)
    write_video(folder / "short.mp4", num_frames=4)
    (folder / "bad.mp4").write_bytes(b"no video")
    words = ["--cfg", tmp_path / "TinyNet.yaml", "--model_path", tmp_path / "TinyNet.pyth"]
    words += ["--output_dir", tmp_path / "out"]
    assert run_tool(*words, "--videos_dir", folder, "--output", "logits") == 1
    said = capsys.readouterr().out
    assert "3 rows of 1 videos written" in said
    assert "no features of bad:" in said
    assert "4 frames are too few for one window" in said
    assert np.load(tmp_path / "out" / "good.npy", mmap_mode="r").shape == (3, 5)
    assert run_tool(*words, "--videos_dir", tmp_path / "none") == 2
    assert "no video files and no folders in it" in capsys.readouterr().err


def test_tool_on_a_split(videos, tmp_path, capsys):
    rows = [f"{videos}/videos/{name}.mp4 0\n" for name in ("a", "b")]
    (tmp_path / "val.csv").write_text("".join(rows))
    config(tmp_path, "TinyNet")
    words = ["--cfg", tmp_path / "TinyNet.yaml", "--model_path", tmp_path / "TinyNet.pyth"]
    words += ["--output_dir", tmp_path / "out", "--split", "val"]
    assert run_tool(*words, "DATA.PATH_TO_DATA_DIR", tmp_path) == 0
    assert np.load(tmp_path / "out" / "b.npy").shape == (5, 4)
    assert run_tool(*words, "TRAIN.DATASET", "features") == 2
    assert "with --videos_dir" in capsys.readouterr().err


@pytest.mark.parametrize("loss", ["mse", "cosine"])
@pytest.mark.parametrize("student", ["TinyNet", pytest.param("IMFE", marks=pytest.mark.slow)])
def test_a_student_trains_on_extracted_features(videos, tmp_path, student, loss):
    """Teacher -> tools/extract_features.py -> run_net, and a test on held-out videos."""
    config(tmp_path, "ResNetLSTM")
    teacher = ["--cfg", tmp_path / "ResNetLSTM.yaml", "--model_path", tmp_path / "ResNetLSTM.pyth"]
    out = tmp_path / "features"
    assert run_tool(*teacher, "--videos_dir", videos / "videos", "--output_dir", out) == 0
    cfg = config(
        tmp_path, student,
        "DATA.PATH_TO_DATA_DIR", videos, "TRAIN.DATASET", "features", "TEST.DATASET", "features",
        "FEATURES.FRAMES_DIR", "videos", "FEATURES.FEATURES_DIR", out, "FEATURES.NUM_VAL", 1,
        "MODEL.LOSS_FUNC", loss, "MODEL.NUM_CLASSES", 16, "MODEL.DROPOUT_RATE", 0.0,
        "IMFE.CLASSIFIER", True, "TRAIN.BATCH_SIZE", 4, "TRAIN.EVAL_PERIOD", 1,
        "SOLVER.MAX_EPOCH", 5, "SOLVER.OPTIMIZING_METHOD", "adamw", "SOLVER.BASE_LR", 0.01,
        "TEST.ENABLE", True, "TEST.NUM_ENSEMBLE_VIEWS", 1, "TEST.NUM_SPATIAL_CROPS", 1,
        "OUTPUT_DIR", tmp_path / "run",
    )  # fmt: skip
    with_test = cfg.clone()
    with_test.defrost()
    with_test.TEST.CHECKPOINT_FILE_PATH = ""
    with_test.freeze()
    found = run(with_test)
    assert {"loss", "mse", "cosine", "r2", "val_loss", "val_best_loss"} <= set(found)
    assert found[loss] == pytest.approx(found["loss"] if loss == "mse" else 1 - found["loss"])
    log = (tmp_path / "run" / "json_stats.log").read_text().splitlines()
    epochs = [json.loads(line) for line in log]
    losses = [stats["loss"] for stats in epochs if stats["_type"] == "train_epoch"]
    assert len(losses) == 5
    assert losses[-1] < 0.9 * losses[0]
