"""A checkpoint and the files exported from it give the same scores, by every tool."""

import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from slowfast.checkpoint.io import write_checkpoint
from slowfast.compression.pruning.channels import prune_channels
from slowfast.config import load_cfg
from slowfast.datasets.batch import Batch
from slowfast.datasets.pathways import build_batch_transform
from slowfast.deploy.backends import RunOptions
from slowfast.deploy.export.build import build_exports
from slowfast.deploy.export.info import ExportError, info_path, read_info, write_info
from slowfast.deploy.runtime import ExportedModel, LoadedModel, load_runtime, with_costs
from slowfast.engine.weights import ConfigMismatchError, load_model
from slowfast.models.build import build_model
from slowfast.models.profile import build_model_inputs
from slowfast.models.staged import StagedModel
from slowfast.utils.errors import UserError
from tests.videos import write_video

REPO = Path(__file__).parents[2]
FORMATS = {"onnx": ".onnx", "openvino": ".xml", "torch_export": ".pt2"}
LIBRARIES = ("onnx", "onnxscript", "onnxruntime", "openvino")
CFG = """
MODEL: {MODEL_NAME: SlowFast, ARCH: slowfast, NUM_CLASSES: 2, DROPOUT_RATE: 0.5}
RESNET: {DEPTH: 18, WIDTH_PER_GROUP: 8, TRANS_FUNC: basic_transform}
SLOWFAST: {ALPHA: 4, BETA_INV: 4}
DATA:
  NUM_FRAMES: 8
  SAMPLING_RATE: 2
  TRAIN_JITTER_SCALES: [36, 40]
  TRAIN_CROP_SIZE: 32
  TEST_CROP_SIZE: 64
  REVERSE_INPUT_CHANNEL: True
  MEAN: [0.4, 0.45, 0.5]
TRAIN: {DATASET: video_folder}
TEST: {DATASET: video_folder, BATCH_SIZE: 4, NUM_ENSEMBLE_VIEWS: 2, NUM_SPATIAL_CROPS: 3}
DATA_LOADER: {NUM_WORKERS: 0}
BENCHMARK: {WARMUP: 1, STEPS: 2}
NUM_GPUS: 0
PROGRESS: log
"""


def tool(name):
    return runpy.run_path(str(REPO / "tools" / name))["main"]


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("videos")
    for split in ("train", "val", "test"):
        for label, name in enumerate(("left", "right")):
            write_video(root / split / name / "a.mp4", num_frames=20 + 2 * label)
    return root


@pytest.fixture(scope="module")
def config(tmp_path_factory, videos):
    path = tmp_path_factory.mktemp("config") / "small.yaml"
    path.write_text(CFG + f"OUTPUT_DIR: {path.parent}\n")
    return path


@pytest.fixture(scope="module")
def cfg(config, videos):
    return load_cfg(config, ["DATA.PATH_TO_DATA_DIR", str(videos)])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, cfg):
    """Of a network whose scores depend on the clip, and on the position in a large one."""
    torch.manual_seed(0)
    model = build_model(cfg)
    torch.nn.init.normal_(model.head.projection.weight, std=2.0)
    for _ in range(3):  # statistics
        model([torch.randn(4, *shape[1:]) for shape in build_model_inputs(cfg)])
    path = tmp_path_factory.mktemp("run") / "net.pyth"
    return write_checkpoint(path, epoch=0, model=model, optimizer=None, cfg_yaml=cfg.dump())


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, config):
    """Config and checkpoint of a network that is captured in no time."""
    path = tmp_path_factory.mktemp("tiny") / "tiny.yaml"
    path.write_text(
        f"{{_BASE_: {config}, MODEL: {{MODEL_NAME: TinyNet, ARCH: x3d}}, TINY: {{WIDTH: 4}}, "
        "DATA: {INPUT_CHANNEL_NUM: [3]}}\n"
    )
    cfg = load_cfg(path)
    model, target = build_model(cfg), path.with_name("net.pyth")
    return path, write_checkpoint(target, epoch=0, model=model, optimizer=None, cfg_yaml=cfg.dump())


def exported(checkpoint, formats, folder, cfg=None, **options):
    for library in LIBRARIES if set(formats) - {"torch_export"} else ():
        pytest.importorskip(library)
    return build_exports(cfg, checkpoint, formats, output=folder, **options)


@pytest.fixture(scope="module")
def program(checkpoint, tmp_path_factory):
    (found,) = exported(checkpoint, ["torch_export"], tmp_path_factory.mktemp("exported"))
    return found.path


@pytest.fixture(scope="module")
def files(checkpoint, tmp_path_factory):
    """All formats that run here, of one export."""
    return [e.path for e in exported(checkpoint, [*FORMATS], tmp_path_factory.mktemp("files"))]


def clips_of(cfg, batch=3):
    generator = torch.Generator().manual_seed(3)
    size = (batch, 3, cfg.DATA.NUM_FRAMES, cfg.DATA.TEST_CROP_SIZE, cfg.DATA.TEST_CROP_SIZE)
    frames = torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)
    none = torch.zeros(batch)
    ready = build_batch_transform(cfg, train=False)(Batch([frames], none, none, none, {}))
    return frames, ready.clips


def check(runtime, checkpoint, cfg):
    """Everything a user of a runtime needs, against the model in the checkpoint."""
    model, _ = load_model(checkpoint)
    frames, clips = clips_of(cfg)
    with torch.no_grad():
        scores, logits = model.predict(clips), model(clips)
    if isinstance(model, StagedModel):
        assert (scores - logits.softmax(1)).abs().max() > 1e-3  # several positions
    close = {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(runtime.predict(clips), scores, **close)
    last = [clip.contiguous(memory_format=torch.channels_last_3d) for clip in clips]
    for size in (1, 2, 3):  # together with the three above: more sizes than are compiled for
        for lying in (clips, last):
            few = runtime.predict([clip[:size] for clip in lying])
            torch.testing.assert_close(few, scores[:size], **close)
    torch.testing.assert_close(runtime.score(clips)[1], scores, **close)
    torch.testing.assert_close(runtime.predict_frames(frames), scores, **close)
    assert runtime.tasks == {"action": 2}
    assert runtime.input_shapes == build_model_inputs(cfg, cfg.DATA.TEST_CROP_SIZE)
    cost = with_costs(runtime)
    assert cost.macs > 1e6
    assert cost.parameters == sum(p.numel() for p in model.parameters())
    with pytest.raises(UserError, match="uint8 clips of 8 frames"):
        runtime.predict_frames(frames[:, :, :4])


def test_a_checkpoint(checkpoint, cfg):
    for runtime in (load_runtime(checkpoint), load_runtime(checkpoint, config=cfg, threads=1)):
        assert isinstance(runtime, LoadedModel)
        check(runtime, checkpoint, cfg)
    with torch.no_grad():
        clips = clips_of(cfg)[1]
        features = runtime.forward_features(clips)
        torch.testing.assert_close(runtime.forward_head(features), runtime(clips))
    half = load_runtime(checkpoint, precision="bf16").predict(clips)
    assert 0 < (half - runtime.predict(clips)).abs().max() < 0.2


def test_torch_export(program, checkpoint, cfg):
    runtime = load_runtime(program, config=cfg, threads=1)
    check(runtime, checkpoint, cfg)
    info = runtime.info
    assert (info.channels, info.model_channels) == ("RGB", "BGR")
    assert runtime.classifiers == {}
    with pytest.raises(UserError, match="features need the checkpoint"):
        runtime.forward_features(clips_of(cfg)[1])
    with pytest.raises(UserError, match=r"net\.pt2 takes clips .*'slow': \(3, 2, 64, 64\)"):
        runtime.predict([clip[..., :32] for clip in clips_of(cfg)[1]])


@pytest.mark.slow
def test_every_format(files, checkpoint, cfg):
    assert [path.name for path in files] == ["net.onnx", "net.xml", "net.pt2"]
    for path in files:
        check(load_runtime(path, config=cfg, threads=1), checkpoint, cfg)
    check(load_runtime(files[1].with_suffix(".bin")), checkpoint, cfg)
    with pytest.raises(UserError, match=r"bf16 is chosen when running OpenVINO's \.xml"):
        load_runtime(files[0], precision="bf16")
    with pytest.raises(UserError, match="precision 'int4': one of f32"):
        RunOptions(precision="int4")
    load_runtime(files[1], precision="bf16").predict(clips_of(cfg)[1])


@pytest.mark.slow
def test_clips_are_not_turned_around(files, cfg):
    """OpenVINO takes them as the loader delivers them, others contiguous."""
    clips = [clip.contiguous(memory_format=torch.channels_last_3d) for clip in clips_of(cfg)[1]]
    for path in files:
        runtime, taken = load_runtime(path, config=cfg), []
        answer = runtime.predict([clip.contiguous() for clip in clips])
        run = runtime.run
        runtime.run = lambda arrays, run=run, taken=taken: run(taken.extend(arrays) or arrays)
        torch.testing.assert_close(runtime.predict(clips), answer, rtol=0, atol=1e-6)
        last = [array.transpose(0, 2, 3, 4, 1).flags.c_contiguous for array in taken]
        assert last == [path.suffix == ".xml"] * len(clips)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["logits", "probabilities"])
def test_frames_as_they_are_in_fixed_batches(tiny, tmp_path, kind):
    """uint8 inside, two at a time; a runtime takes any number of normalised clips all the same."""
    config, checkpoint = tiny
    options = {"kind": kind, "normalize_inside": True, "batch": 2, "channels": "BGR"}
    for found in exported(checkpoint, [*FORMATS], tmp_path / "out", **options):
        assert found.info.normalized_inside
        check(load_runtime(found.path), checkpoint, load_cfg(config))


def test_what_is_no_model_file(tmp_path, checkpoint):
    for name, message in {
        "a.onnx": "no exported model",
        "a.pte": "does not run here: give a checkpoint",
        "a.pyth": r"a\.pyth",
        "a.txt": r"a\.txt",
    }.items():
        with pytest.raises((UserError, FileNotFoundError), match=message):
            load_runtime(tmp_path / name)
    with pytest.raises(UserError, match=r"exported models that run here end in \.onnx, \.xml"):
        ExportedModel(checkpoint)


def test_a_file_of_another_network_or_for_other_clips(program, config):
    with pytest.raises(ConfigMismatchError, match=r"SLOWFAST\.ALPHA: 4 in the checkpoint, 2 now"):
        load_runtime(program, config=load_cfg(config, ["SLOWFAST.ALPHA", "2"]))
    with pytest.raises(ExportError, match=r"set DATA\.TEST_CROP_SIZE 64, or export again"):
        load_runtime(program, config=load_cfg(config, ["DATA.TEST_CROP_SIZE", "32"]))


def test_a_damaged_file(program, tmp_path):
    path = tmp_path / "net.pt2"
    path.write_bytes(program.read_bytes()[:1000])
    with pytest.raises(ExportError, match=r"without its description"):
        load_runtime(path)
    write_info(path, read_info(program))
    with pytest.raises(ExportError, match=r"net\.pt2 is no file of torch\.export"):
        load_runtime(path)


def scores_of(folder):
    return np.load(next(folder.glob("*.npz")))["scores_action"]


def evaluate(config, videos, weights, folder, *words):
    """Scores of ``run_net.py --eval``."""
    words = ["DATA.PATH_TO_DATA_DIR", videos, "TEST.CHECKPOINT_FILE_PATH", weights, *words]
    words += ["OUTPUT_DIR", folder, "TEST.SAVE_RESULTS_PATH", "preds.pkl"]
    tool("run_net.py")(["--cfg", *map(str, [config, "--eval", *words])])
    return scores_of(folder)


def test_run_net_scores_a_file_as_the_checkpoint(config, videos, checkpoint, program, tmp_path):
    of_checkpoint = evaluate(config, videos, checkpoint, tmp_path / "a")
    assert len(of_checkpoint) == 2
    of_file = evaluate(config, videos, program, tmp_path / "b")
    np.testing.assert_allclose(of_file, of_checkpoint, rtol=1e-4, atol=1e-5)


def test_run_net_says_what_is_wrong_with_a_file(config, videos, program, tmp_path, capsys):
    with pytest.raises(SystemExit):
        evaluate(config, videos, program, tmp_path, "DATA.TEST_CROP_SIZE", "36")
    assert "error: " in (said := capsys.readouterr().err)
    assert "set DATA.TEST_CROP_SIZE 64" in said


@pytest.mark.slow
def test_run_net_scores_every_format(config, videos, checkpoint, files, tmp_path):
    expected = evaluate(config, videos, checkpoint, tmp_path / "a")
    for path in files:
        found = evaluate(config, videos, path, tmp_path / path.suffix)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_benchmark_takes_every_format(config, checkpoint, files, tmp_path):
    found = []
    for path in (checkpoint, *files):
        output = tmp_path / f"{path.name}.bench"
        tool("benchmark.py")(
            ["--cfg", str(config), "--model_path", str(path), "--output", str(output)]
        )
        found.append(json.loads(output.read_text()))
    for result in found[1:]:
        assert result["params_m"] == found[0]["params_m"]
        assert result["macs_g"] == found[0]["macs_g"]
        assert 0 < result["latency"]["p50_ms"] <= result["latency"]["p90_ms"]
        assert result["size_mib"] > 0
    assert [result["machine"]["runtime"] for result in found[1:]] == [*FORMATS]


def test_export_tool(tiny, videos, tmp_path, capsys):
    """Beside the checkpoint or where asked for; class names come from the data."""
    (config, checkpoint), main = tiny, tool("export.py")
    words = ["--format", "torch_export", "--softmax"]
    data = ["DATA.PATH_TO_DATA_DIR", str(videos)]
    main(["--cfg", str(config), "--model_path", str(checkpoint), *words, *data])
    path = checkpoint.with_suffix(".pt2")
    info = read_info(path)
    assert (info.kind, info.class_names) == ("probabilities", {"action": ["left", "right"]})
    assert (info.stride, info.crop, info.short_side) == (2, [64, 64], 64)
    assert str(path) in (said := capsys.readouterr().out)
    assert "best class agrees in 100% of 4 clips" in said
    main(["--model_path", str(checkpoint), "--output", str(tmp_path / "m.pt2"), *words[:2], *data,
          "DATA.TEST_CROP_SIZE", "32"])  # fmt: skip
    assert read_info(tmp_path / "m.pt2").crop == [32, 32]
    assert not (tmp_path / "net.pt2").exists()
    for file in (path, info_path(path)):
        file.unlink()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "onxx"], "unknown export format 'onxx'"),
        (["--score", "cosines"], "TinyNet has no cosine head"),
        (["--format", "torch_export", "--tolerance", "-1"], "computes something else"),
        (["DATA.CLASS_NAMES_PATH", "no_such.txt"], r"no_such\.txt"),
        (["--cfg", "TINY.YAML", "TINY.WIDTH", "3"], r"TINY\.WIDTH"),
    ],
)
def test_export_tool_says_what_is_wrong(tiny, capsys, words, message):
    config, checkpoint = tiny
    words = [str(config) if word == "TINY.YAML" else word for word in words]
    before = sorted(checkpoint.parent.iterdir())
    with pytest.raises(SystemExit) as stop:
        tool("export.py")(["--model_path", str(checkpoint), *words])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert re.search(f"error: .*{message}", said, re.DOTALL)
    assert sorted(checkpoint.parent.iterdir()) == before


@pytest.mark.slow
def test_a_pruned_network_is_exported_from_its_file_alone(tiny, tmp_path):
    for library in LIBRARIES:
        pytest.importorskip(library)
    (model, cfg), path = load_model(tiny[1]), tmp_path / "pruned.pyth"
    before = sum(p.numel() for p in model.parameters())
    model = prune_channels(model, build_model_inputs(cfg), ratio=0.5)
    write_checkpoint(path, epoch=0, model=model, optimizer=None, cfg_yaml=cfg.dump())
    tool("export.py")(["--model_path", str(path), "--format", "onnx,openvino", "torch_export"])
    for suffix in FORMATS.values():
        runtime = load_runtime(path.with_suffix(suffix))
        assert runtime.is_pruned
        assert runtime.info.parameters < before
        check(runtime, path, cfg)
