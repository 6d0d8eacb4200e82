"""Every entry point runs end to end on small videos, and says plainly what is wrong."""

import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.small import write_config
from tests.videos import write_video

REPO = Path(__file__).parents[1]
TOOLS = sorted(path.name for path in (REPO / "tools").glob("*.py"))
CLASSES = ("left", "right")


def tool(name):
    """The ``main`` of a tool."""
    return runpy.run_path(str(REPO / "tools" / name))["main"]


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Programs find the package also where it is not installed."""
    monkeypatch.setenv("PYTHONPATH", str(REPO))


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """``<split>/<class>/<number>.mp4``."""
    root = tmp_path_factory.mktemp("videos")
    for split, count in {"train": 4, "val": 2, "test": 2}.items():
        for label, name in enumerate(CLASSES):
            for i in range(count):
                write_video(root / split / name / f"{i}.mp4", num_frames=20 + 2 * label)
    return root


@pytest.fixture(scope="module")
def config(tmp_path_factory, videos):
    changes = """
MODEL: {ARCH: x3d}
TINY: {WIDTH: 2}
TEST: {NUM_SPATIAL_CROPS: 3}
BENCHMARK: {STEPS: 2}
PROGRESS: log
"""
    return write_config(tmp_path_factory.mktemp("config") / "tiny.yaml", videos, changes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, config):
    """The output folder of a finished training with test."""
    out = tmp_path_factory.mktemp("run")
    tool("run_net.py")(["--cfg", str(config), "OUTPUT_DIR", str(out)])
    return out


def final_test(out):
    from slowfast.reports.stats import read_stats

    return read_stats(out / "stdout.log")["test_final"][-1]


def test_run_net_trains_and_tests(trained):
    names = {path.name for path in (trained / "checkpoints").iterdir()}
    assert {"checkpoint_epoch_00001.pyth", "checkpoint_epoch_00002.pyth", "best.pyth"} <= names
    assert 0 <= float(final_test(trained)["top1_acc"]) <= 100


def test_eval_only_tests(trained, config, tmp_path):
    checkpoint = trained / "checkpoints/checkpoint_epoch_00002.pyth"
    words = ["--cfg", config, "OUTPUT_DIR", tmp_path, "--eval"]
    words += ["TEST.CHECKPOINT_FILE_PATH", checkpoint]
    tool("run_net.py")([str(word) for word in words])
    assert not (tmp_path / "checkpoints").exists()
    assert final_test(tmp_path)["top1_acc"] == final_test(trained)["top1_acc"]


@pytest.mark.slow
def test_run_net_under_torchrun_writes_one_log(config, tmp_path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*launcher, "--nproc_per_node", "2", str(REPO / "tools/run_net.py")]
    words = ["--cfg", str(config), "OUTPUT_DIR", str(tmp_path), "SOLVER.MAX_EPOCH", "1"]
    subprocess.run([*command, *words], check=True, cwd=REPO, capture_output=True, timeout=200)
    assert final_test(tmp_path)["num_videos"] == 4
    log = (tmp_path / "stdout.log").read_text()
    assert log.count('"_type": "train_epoch"') == 1


def run_tool(name, *arguments):
    """A tool as a program: exit status and what it wrote to stderr."""
    command = [sys.executable, str(REPO / "tools" / name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPO, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["SOLVER.BASE_LRS", "1"], r"unknown config key SOLVER\.BASE_LRS.*SOLVER\.BASE_LR\?"),
        (["--cfg", "no_such.yaml"], r"no_such\.yaml"),
        (["--eval", "TEST.CHECKPOINT_FILE_PATH", "no_such.pyth"], r"no_such\.pyth"),
        (["DATA.PATH_TO_DATA_DIR", "/no/such/folder"], r"/no/such/folder"),
        (["TRAIN.DATASET", "kinetcis"], r"kinetcis.*kinetics"),
    ],
)
@pytest.mark.slow
def test_run_net_says_what_is_wrong_in_one_line(config, tmp_path, words, message):
    status, errors = run_tool("run_net.py", "--cfg", config, "OUTPUT_DIR", tmp_path, *words)
    assert status == 2, errors
    assert "Traceback" not in errors
    assert re.search(f"^error: .*{message}", errors, re.MULTILINE), errors


@pytest.mark.slow
def test_traceback_on_request(config):
    status, errors = run_tool("run_net.py", "--cfg", config, "--traceback", "SOLVER.LR", "1")
    assert status == 1
    assert "Traceback" in errors


@pytest.mark.parametrize("name", TOOLS)
@pytest.mark.slow
def test_help(name):
    status, errors = run_tool(name, "--help")
    assert (status, errors) == (0, "")


def test_there_are_tools():
    assert {"benchmark.py", "model_table.py", "pipeline.py", "run_net.py"} <= set(TOOLS)


def test_benchmark_of_a_model(trained, config, tmp_path):
    result = tmp_path / "benchmark.json"
    best = trained / "checkpoints/best.pyth"
    tool("benchmark.py")(["--cfg", str(config), "--model_path", str(best), "--output", str(result)])
    found = json.loads(result.read_text())
    assert found["params_m"] > 0
    assert found["flops_g"] == 2 * found["macs_g"]
    assert 0 < found["latency"]["p50_ms"] <= found["latency"]["p90_ms"]
    assert found["throughput"]["median"] > 0


def test_benchmark_compares_models(config, tmp_path, capsys):
    """Of two networks the one with many times the MACs is slower."""
    wide = tmp_path / "wide.yaml"
    wide.write_text(f"_BASE_: {config}\nTINY: {{WIDTH: 256}}\n")
    words = ["--output", str(tmp_path / "found.json"), "--no_memory", "BENCHMARK.STEPS", "5"]
    tool("benchmark.py")(["--cfg", str(config), "--compare", str(wide), *words])
    first, second = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert (first["name"], second["name"]) == ("tiny eager f32", "wide eager f32")
    assert second["macs_g"] > 10 * first["macs_g"]
    assert second["ratio"]["median"] < 1
    assert first["input"] == "3x4x32x32"
    with pytest.raises(SystemExit):
        tool("benchmark.py")(["--cfg", str(config), "--compare", str(config)])
    assert "cannot be compared with itself" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["--train_step", "--loader", "--loop"])
def test_benchmark_of_training(config, tmp_path, what):
    result = tmp_path / "benchmark.json"
    tool("benchmark.py")(["--cfg", str(config), what, "--output", str(result)])
    assert json.loads(result.read_text())["machine"]["threads"] >= 1


def test_benchmark_of_test_views(config, videos, tmp_path):
    result = tmp_path / "benchmark.json"
    video = videos / "test/left/0.mp4"
    tool("benchmark.py")(
        ["--cfg", str(config), "--test_views", str(video), "--output", str(result)]
    )
    assert json.loads(result.read_text())["speedup"]["median"] > 1


def test_model_table_updates_a_file(config, tmp_path, capsys):
    tool("model_table.py")([str(config)])
    table = capsys.readouterr().out.strip()
    assert "params (M)" in table
    page = tmp_path / "page.md"
    page.write_text("a\n<!-- models -->\nold\n<!-- /models -->\nb\n")
    tool("model_table.py")([str(config), "--update", str(page)])
    assert page.read_text() == f"a\n<!-- models -->\n{table}\n<!-- /models -->\nb\n"


@pytest.mark.slow
def test_pipeline_on_own_data_runs_once(config, videos, tmp_path, capsys):
    own = config.with_name("own.yaml")
    own.write_text(
        f"_BASE_: {config}\nPIPELINE:\n  PRUNE: --prune_ratio 0.3 --finetune_epochs 1\n"
        "  QUANTIZE: --backend onnxruntime --calibration_clips 4\n"
        "  FORMATS: [onnx]\n  RUNTIME: onnx\n"
    )
    out = tmp_path / "out"
    argv = ["--config", str(own), "--data_dir", str(videos), "--output_dir", str(out)]
    main = tool("pipeline.py")
    main(argv)
    wanted = "prune/finetuned.pyth quantize/int8.onnx export/finetuned.onnx report/report.html"
    for path in (*wanted.split(), "stream/finetuned_stream.onnx", "live/benchmark.json"):
        assert (out / path).exists(), path
    assert "finetuned" in (out / "report" / "report.md").read_text()
    capsys.readouterr()
    main(argv)
    seen = capsys.readouterr().out
    assert seen.count("up to date") == 11
    main([*argv, "SOLVER.MAX_EPOCH", "1", "--dry_run"])
    assert capsys.readouterr().out.count("run_net.py") == 3


@pytest.mark.slow
def test_pipeline_writes_the_synthetic_dataset_and_uses_it(config, tmp_path, capsys):
    words = "--num_clips 122 TRAIN.DATASET kinetics TEST.DATASET kinetics MODEL.NUM_CLASSES 61"
    words += " SOLVER.MAX_EPOCH 1 DATA.TRAIN_JITTER_SCALES [36,40]"
    argv = ["--config", str(config), "--output_dir", str(tmp_path), *words.split()]
    tool("pipeline.py")([*argv, "--stages", "data", "train", "test", "report"])
    assert (tmp_path / "data/train.csv").exists()
    assert str(tmp_path / "report" / "report.html") in capsys.readouterr().out


def test_pipeline_dry_run_without_arguments_shows_all_stages(tmp_path, capsys):
    tool("pipeline.py")(["--dry_run", "--output_dir", str(tmp_path / "out")])
    seen = capsys.readouterr().out
    assert [line.split("] ")[1].split(":")[0] for line in seen.splitlines()] == [
        *("data", "train", "test", "prune", "distill", "quantize"),
        *("export", "parity", "stream", "live", "benchmark", "report"),
    ]
    assert not (tmp_path / "out").exists()


def test_pipeline_names_a_wrong_data_dir(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        tool("pipeline.py")(["--data_dir", str(tmp_path / "nowhere"), "--dry_run"])
    assert stop.value.code == 2
    assert "nowhere is not a folder" in capsys.readouterr().err
