"""Ways of running tiny networks, end to end; how fast they are does not matter here."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from slowfast.deploy.benchmarks.contender import open_contender
from slowfast.deploy.benchmarks.cox3d import CoX3DStep
from slowfast.deploy.benchmarks.footprint import measure_here
from slowfast.deploy.benchmarks.playback import centre_region, play, read_frames, write_sample
from slowfast.deploy.benchmarks.quality import Answers, compare_answers, quality_row
from slowfast.deploy.benchmarks.sources import Settings, Sources
from slowfast.deploy.benchmarks.spec import Spec
from slowfast.models.base import activate
from slowfast.models.streaming import to_streaming
from slowfast.reports.ways import quality_figure, way_tables
from slowfast.utils.errors import UserError
from tests.models.streaming.networks import network
from tests.small import write_config, write_folders

REPO = Path(__file__).parents[3]
MAIN = runpy.run_path(str(REPO / "tools/benchmark.py"))["main"]
X3D = """
MODEL: {ARCH: x3d, MODEL_NAME: X3D}
X3D: {DEPTH_FACTOR: 0.3, WIDTH_FACTOR: 0.5, DIM_C5: 16}
RESNET: {TRANS_FUNC: x3d_transform, ZERO_INIT_FINAL_BN: True}
DATA: {TRAIN_JITTER_SCALES: [32, 32]}
"""


@pytest.fixture(autouse=True)
def few_calls(monkeypatch):
    monkeypatch.setattr("slowfast.deploy.benchmarks.turns.MOST_CALLS", 2)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return write_folders(tmp_path_factory.mktemp("videos"))


@pytest.fixture(scope="module")
def config(tmp_path_factory, videos):
    return str(write_config(tmp_path_factory.mktemp("config") / "x3d.yaml", videos, X3D))


def measured(folder, *words):
    output = folder / "found.json"
    MAIN([*words, "--output", str(output), "BENCHMARK.STEPS", "2", "BENCHMARK.WARMUP", "1"])
    return json.loads(output.read_text())


def test_a_step_of_cox3d_is_that_of_the_stream():
    """Two ways to the same numbers, where gates are of single frames."""
    pytest.importorskip("continual")
    model = network("X3D")
    stream, step = to_streaming(model), CoX3DStep(model)
    assert step.network.receptive_field == stream.receptive_field
    state = stream.init_state(2)
    generator = torch.Generator().manual_seed(0)
    for number in range(int(stream.receptive_field) + 4):
        frame = torch.randn(2, 3, 32, 32, generator=generator)
        expected, state = stream.step(frame, state)
        found = step.push(frame)
        if number >= stream.receptive_field:
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(UserError, match="CoX3D is an X3D"):
        CoX3DStep(network("TinyNet"))


def test_ways_take_turns_and_say_what_they_cost(config, tmp_path):
    found = measured(
        tmp_path,
        *("--cfg", config, "--reference", "--precisions", "f32,bf16,int8", "--no_memory"),
        *("--threads", "1", "--batch", "1,3", "--busy", "1"),
    )
    rows = found["rows"]
    assert found["reference"] == "x3d as PySlowFast"
    assert [(row["threads"], row["batch"]) for row in rows[::3]] == [(1, 1), (1, 3)]
    assert [row["name"] for row in rows[:3]] == [
        "x3d as PySlowFast",
        "x3d eager f32",
        "x3d eager bf16",
    ]
    assert found["not_measured"].keys() == {"x3d eager int8"}
    assert found["answers"] == "8 clips of noise"
    for row in rows:
        assert 0 < row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"]
        assert row["frames_per_s"]["median"] == pytest.approx(4 * row["clips_per_s"]["median"])
        assert row["flops_g"] == 2 * row["macs_g"] > 0
        assert row["ratio"]["q25"] <= row["ratio"]["median"] <= row["ratio"]["q75"]
        assert row["busy"]["neighbours"] == 1
        assert (row["joules"] is None) == found["energy"].startswith(("no energy", "the energy"))
    assert rows[0]["ratio"]["median"] == rows[3]["ratio"]["median"] == 1
    assert "PyTorchVideo's layers" in rows[0]["runtime"]
    assert rows[1]["agreement"] == 100
    assert rows[1]["max_score_difference"] == 0
    assert 0 < rows[2]["max_score_difference"] < 0.1
    text = (tmp_path / "found.md").read_text()
    assert "FLOPs (G)" in text
    assert "busy / quiet, p50" in text
    assert (tmp_path / "found.png").stat().st_size > 1000


def test_streams_beside_clips_and_cox3d(config, tmp_path):
    pytest.importorskip("continual")
    words = ("--cfg", config, "--stream", "--reference", "--cox3d", "--no_memory")
    found = measured(tmp_path, *words, "--video", str(write_sample(tmp_path / "a.mp4", 40)))
    clip, cox3d, stream = found["rows"]
    assert (clip["form"], cox3d["form"], stream["form"]) == ("reference", "cox3d", "stream")
    assert clip["input"] == "3x4x32x32"
    assert stream["input"] == "3x32x32"
    assert stream["macs_g"] < clip["macs_g"]
    assert stream["state_mb"] > 0
    assert stream["cox3d_ratio"]["median"] > 0
    assert stream["from_file"]["frames"] == 40
    assert stream["from_file"]["frames_per_s"]["overall"] > 0
    assert stream["agreement"] == 100  # with itself
    assert found["answers"] == "40 steps of 1 video(s)"
    assert "frames/s from file" in (tmp_path / "found.md").read_text()


def test_accuracy_and_the_choice_of_a_precision(config, videos, tmp_path, capsys):
    words = ("--cfg", config, "--precisions", "f32,bf16", "--no_memory")
    found = measured(tmp_path, *words, "--accuracy", "val", "--choose", "50")
    assert found["answers"] == "4 videos of val"
    assert [row["metric"] for row in found["rows"]] == ["top1_acc"] * 2
    assert found["choice"]["name"] == "x3d eager f32"
    assert "less than 100 clips says too little" in " ".join(found["choice"]["why"])
    with pytest.raises(SystemExit):
        MAIN([*words, "--choose"])
    assert "--choose compares answers on real clips: add --accuracy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ((), "nothing to measure"),
        (("--compare", "nothing.yaml", "a.yaml"), "nothing.yaml"),
        (("--model_path", "nothing.pyth"), "there is no file nothing.pyth"),
        (("--model_path", "a.xml", "--reference"), "write --compare reference:CONFIG.yaml FILE"),
        (("--compare", "a.yaml", "b.yaml", "--threads", "1;2"), "give numbers with commas"),
        (("--compare", "a.yaml"), "cannot be compared with itself"),
    ],
)
def test_mistakes(words, error, capsys):
    with pytest.raises(SystemExit):
        MAIN([*words, "--no_memory"])
    assert error in capsys.readouterr().err


@pytest.mark.slow
def test_every_runtime_and_files_of_their_own(config, tmp_path):
    """What is exported on the way, and a file given, run and answer alike."""
    sources = Sources(Settings(), tmp_path / "files")
    onnx = str(sources.export(config, "onnx"))
    found = measured(
        tmp_path,
        *("--cfg", config, "--runtimes", "eager,onnxruntime,openvino", "--files", onnx),
        *("--precisions", "f32,bf16", "--no_memory"),
    )
    names = [row["name"] for row in found["rows"]]
    assert [name for name in names if name.endswith("f32")] == [
        "x3d eager f32",
        "x3d onnxruntime f32",
        "x3d openvino f32",
        "0_x3d.onnx f32",
    ]
    for row in found["rows"]:
        assert row["size_mib"] > 0
        assert row["max_score_difference"] < (1e-4 if row["precision"] == "f32" else 0.1)
    assert found["machine"].keys() >= {"onnxruntime", "openvino", "load_before"}


@pytest.mark.slow
def test_exported_streams_are_compared_with_clips(config, tmp_path):
    sources = Sources(Settings(), tmp_path / "files")
    xml = str(sources.export_stream(config, "openvino"))
    found = measured(tmp_path, "--compare", f"reference:{config}", xml, config,
                     f"stream:{config}@onnxruntime", "--video", "", "--no_memory")  # fmt: skip
    assert [row["form"] for row in found["rows"]] == ["reference", "stream", "clip", "stream"]
    for row in (found["rows"][1], found["rows"][3]):
        assert row["from_file"]["frames"] == 300
        assert row["delay"] > 0


def test_memory_is_measured_where_the_system_says(config):
    found = measure_here(Spec(config), Settings(settle=False))
    assert found is None or found >= 0  # in this process, which has memory to take from


@pytest.mark.slow
def test_memory_is_that_of_a_process_of_its_own(config, tmp_path):
    (row,) = measured(tmp_path, "--cfg", config, "--runtimes", "eager")["rows"]
    assert row["peak_memory_mib"] is None or 0 < row["peak_memory_mib"] < 500


def test_random_networks_are_alive(config):
    """With batch norms as a training begins with them half of the layers would give zeros."""
    dead, alive = (
        Sources(Settings(settle=settle), Path()).load(config).model for settle in (False, True)
    )
    clip = [torch.randn(1, 3, 4, 32, 32)]
    with torch.no_grad():
        assert not dead.s2.pathway0_res0.branch2(dead.s1(clip)[0]).any()
        features = alive.s2.pathway0_res0.branch2(alive.s1(clip)[0])
    assert 0.3 < float(features.std()) < 3
    assert not alive.training


def test_frames_of_a_video_are_scaled_and_cropped(tmp_path, config):
    contender = open_contender(Spec(config, "stream"), Sources(Settings(), tmp_path))
    info = contender.stream_info
    path = write_sample(tmp_path / "a.mp4", 12)
    frames = list(read_frames(path, info.clip))
    assert len(frames) == 12
    assert {(tuple(frame.shape), frame.dtype) for frame in frames} == {((3, 32, 32), torch.uint8)}

    class Frame:
        height, width = 240, 320

    region = centre_region(Frame, info.clip)  # short side 32, crop 32: all rows, the middle columns
    assert (region.top, region.left, region.height, region.width) == (0, 40, 240, 240)
    found = play(path, contender.stream, info)
    assert found["frames"] == 12
    with pytest.raises(UserError, match="nothing"):
        play(tmp_path / "nothing.mp4", contender.stream, info)


def test_agreement_and_difference_by_hand():
    ours = Answers({"action": np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.7, 0.3]])})
    theirs = Answers({"action": np.array([[0.8, 0.2], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]])})
    assert ours.agreement(theirs) == 75
    assert ours.difference(theirs) == pytest.approx(0.2)
    both = Answers({"verb": ours.scores["action"], "noun": theirs.scores["action"]})
    other = Answers({"verb": theirs.scores["action"], "noun": 1 - theirs.scores["action"]})
    assert both.agreement(other) == 0  # every task counts
    assert other.agreement(other) == 100
    assert Answers(ours.scores, {}, multi_label=True).agreement(theirs) == 75
    assert quality_row(ours, None) == {}
    assert quality_row(Answers(ours.scores, {"top1_acc": 50.0}), theirs) == {
        "metric": "top1_acc",
        "accuracy": 50.0,
        "agreement": 75.0,
        "max_score_difference": pytest.approx(0.2),
    }


def test_the_yardstick_of_answers_is_pytorch_in_f32(config, tmp_path):
    sources = Sources(Settings(), tmp_path)
    rounded, exact = (
        open_contender(Spec(config, precision=precision), sources) for precision in ("bf16", "f32")
    )
    clip = [torch.randn(5, 3, 4, 32, 32)]

    def answer(contender):
        with torch.no_grad():
            scores = activate(contender.model.forward(clip), "softmax").float()
        return Answers({"action": scores.numpy()})

    rows, count = compare_answers([rounded, exact], answer)
    assert count == 5
    assert rows[exact.name]["max_score_difference"] == 0
    assert rows[rounded.name]["max_score_difference"] > 0


def test_tables_leave_out_what_nobody_measured():
    row = {"name": "a", "threads": 0, "batch": 1, "p50_ms": 2.0, "p90_ms": 3.0, "p99_ms": 4.0,
           "ratio": {"median": 1.0, "q25": 1.0, "q75": 1.0}, "runtime": "eager",
           "joules": None}  # fmt: skip
    result = {"rows": [row, row | {"threads": 1}], "reference": "a", "answers": "",
              "not_measured": {"b": "why not"}, "energy": "none", "machine": {}}  # fmt: skip
    speed, cost, missing, _ = way_tables(result)
    assert list(speed.columns) == [
        *("", "threads", "batch", "p50 (ms)", "p90 (ms)", "p99 (ms)", "times as fast"),
    ]
    assert len(speed.rows) == 2
    assert list(cost.columns) == ["", "runtime"]
    assert len(cost.rows) == 1
    assert missing.rows == [["b", "why not"]]
    assert quality_figure([row]) is None
