"""``tools/prune.py`` on real videos, and what the other tools make of its checkpoints."""

import json
import runpy
from pathlib import Path

import pytest
import torch

from slowfast.checkpoint import read_checkpoint
from slowfast.compression.pruning.channels import PruningError
from slowfast.compression.pruning.run import run
from slowfast.config import load_cfg
from slowfast.engine.run import build_training
from slowfast.engine.weights import load_model
from slowfast.models.profile import build_model_inputs, count_macs
from slowfast.reports.stats import read_stats
from slowfast.utils.widths import read_widths
from tests.small import write_config, write_folders

REPO = Path(__file__).parents[3]


def tool(name):
    return runpy.run_path(str(REPO / "tools" / name))["main"]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    root = write_folders(tmp_path_factory.mktemp("videos"))
    changes = """
MODEL: {MODEL_NAME: X3D, ARCH: x3d}
RESNET: {TRANS_FUNC: x3d_transform}
X3D: {DIM_C5: 32, DEPTH_FACTOR: 1.0, WIDTH_FACTOR: 1.0}
SOLVER: {MAX_EPOCH: 1}
"""
    return write_config(root / "tiny.yaml", root, changes)


@pytest.fixture(scope="module")
def weights(config, tmp_path_factory):
    """A trained checkpoint."""
    out = tmp_path_factory.mktemp("trained")
    training = build_training(load_cfg(config, ["OUTPUT_DIR", str(out)]))
    training.run()
    return out / "checkpoints" / "best.pyth"


def prune(config, weights, out, *words):
    """The report of ``tools/prune.py``."""
    tool("prune.py")(["--cfg", str(config), "--model_path", str(weights), *words,
                      "OUTPUT_DIR", str(out)])  # fmt: skip
    return json.loads((out / "prune.json").read_text())


@pytest.mark.slow
def test_the_whole_way(config, weights, tmp_path, capsys):
    """Sparse training, two cuts with training between, finetuning with a teacher; then the rest."""
    report = prune(
        config, weights, tmp_path / "a", "--target_macs", "0.6", "--method", "taylor",
        "--scope", "global", "--sparse_epochs", "1", "--iterative_steps", "2", "--step_epochs",
        "1", "--finetune_epochs", "1",
    )  # fmt: skip
    rows = report["rows"]
    assert list(rows) == ["before", "cut", "finetuned"]
    share = rows["cut"]["macs_g"] / rows["before"]["macs_g"]
    assert 0.5 < share <= 0.6
    assert rows["before"]["agreement"] == 100
    assert rows["finetuned"]["macs_g"] == rows["cut"]["macs_g"]
    assert {"params_m", "size_mib", "accuracy", "latency"} <= set(rows["cut"])
    assert report["kept_whole"]["head.projection"] == "the classes"
    printed = capsys.readouterr().out
    assert "finetuned.pyth" in printed
    assert "top-1" in printed
    check_other_tools(config, Path(report["files"]["finetuned"]), rows["finetuned"], tmp_path)


def check_other_tools(config, path, row, out):
    """Rebuilt from the file alone; tested, timed, finetuned, resumed and pruned like any other."""
    checkpoint = read_checkpoint(path)  # weights_only
    model, cfg = load_model(path)
    assert json.loads(checkpoint["widths"]) == read_widths(model)
    assert count_macs(model, build_model_inputs(cfg)) / 1e9 == row["macs_g"]
    common = ["--cfg", str(config), "OUTPUT_DIR"]
    tool("run_net.py")(
        [*common, str(out / "test"), "--eval", "TEST.CHECKPOINT_FILE_PATH", str(path)]
    )
    tested = read_stats(out / "test" / "stdout.log")["test_final"][-1]
    assert float(tested["top1_acc"]) == pytest.approx(row["accuracy"])
    figures = out / "figures.json"
    tool("benchmark.py")([*common, str(out), "--model_path", str(path), "--output", str(figures)])
    assert json.loads(figures.read_text())["params_m"] == pytest.approx(row["params_m"])
    start = ["TRAIN.CHECKPOINT_FILE_PATH", str(path), "TEST.ENABLE", "False"]
    for epochs in ("1", "2"):  # the second goes on where the first ended
        tool("run_net.py")([*common, str(out / "more"), *start, "SOLVER.MAX_EPOCH", epochs])
    states = [read_checkpoint(p) for p in sorted((out / "more/checkpoints").glob("*00002.pyth"))]
    assert states[0]["epoch"] == 1
    assert states[0]["widths"] == checkpoint["widths"]
    again = prune(config, path, out / "again", "--prune_ratio", "0.3", "--eval_split", "val")
    assert again["rows"]["cut"]["macs_g"] < again["rows"]["before"]["macs_g"] == row["macs_g"]


@pytest.mark.slow
def test_latency_target(config, weights, tmp_path):
    """A clock that tells the MACs: the search ends near its target and writes down its way."""

    def latency(models):
        shapes = build_model_inputs(load_cfg(config))
        times = {name: count_macs(model, shapes) / 1e6 for name, model in models.items()}
        return {name: {"p50_ms": ms, "p90_ms": ms} for name, ms in times.items()}

    model = load_model(weights)[0]
    whole = latency({"it": model})["it"]["p50_ms"]
    words = ["PRUNING.CHECKPOINT_FILE_PATH", str(weights), "PRUNING.TARGET_LATENCY_MS",
             str(whole / 2), "OUTPUT_DIR", str(tmp_path)]  # fmt: skip
    report = run(load_cfg(config, words), latency=latency)
    assert report["rows"]["cut"]["latency"]["p50_ms"] == pytest.approx(whole / 2, rel=0.1)
    points = report["tradeoff"]
    assert [p["ratio"] for p in points] == sorted(p["ratio"] for p in points)
    assert all({"accuracy", "latency", "macs_g"} <= set(point) for point in points)
    assert report["ratio"] in [point["ratio"] for point in points]


def test_the_cut_network_is_the_file(config, weights, tmp_path):
    """Without training: bit-identical outputs, other statistics than before."""
    words = ["PRUNING.CHECKPOINT_FILE_PATH", str(weights), "PRUNING.PRUNING_RATE", "0.5",
             "OUTPUT_DIR", str(tmp_path), "PRUNING.EVAL_SPLIT", "val"]  # fmt: skip
    report = run(load_cfg(config, words))
    model, _ = load_model(report["files"]["pruned"])
    assert json.loads((tmp_path / "widths.json").read_text()) == read_widths(model)
    before = load_model(weights)[0]
    norm = "head.conv_5_bn"
    mine, whole = model.get_submodule(norm), before.get_submodule(norm)
    assert mine.num_features < whole.num_features
    kept = torch.isin(whole.weight, mine.weight)
    assert not torch.allclose(whole.running_mean[kept][: mine.num_features], mine.running_mean)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["PRUNING.PRUNING_RATE", "0"], "--prune_ratio 0 is the share of channels to remove"),
        (["PRUNING.PRUNING_RATE", "0.99"], "--prune_ratio 0.99"),
        (["PRUNING.TARGET_MACS", "2.5"], "TARGET_MACS 2.5 is a share"),
        (["PRUNING.TARGET_MACS", "0.5", "PRUNING.TARGET_PARAMS", "0.5"], "one target at a time"),
        (["PRUNING.STEP_EPOCHS", "2"], "give --iterative_steps 2 or more"),
        (["PRUNING.TARGET_LATENCY_MS", "5"], "a way to measure the latency"),
        (["PRUNING.CHECKPOINT_FILE_PATH", "nowhere.pyth"], "nowhere.pyth: no such file"),
        (["PRUNING.CHECKPOINT_FILE_PATH", ""], "give --model_path"),
        (["PRUNING.PROTECT", "[s9.nothing]"], "no layer has that name"),
        (["PRUNING.PROTECT", "['*']"], "nothing is left to prune"),
    ],
)
def test_nonsense_is_refused(config, weights, tmp_path, words, message):
    given = ["PRUNING.CHECKPOINT_FILE_PATH", str(weights), "PRUNING.PRUNING_RATE", "0.5"]
    with pytest.raises(PruningError, match=message):
        run(load_cfg(config, [*given, *words, "OUTPUT_DIR", str(tmp_path)]))


def test_unknown_method(config, weights, tmp_path, capsys):
    with pytest.raises(SystemExit):
        prune(config, weights, tmp_path, "--prune_ratio", "0.5", "--method", "l1_struct")
    assert "Did you mean 'l1_structured'?" in capsys.readouterr().err


def test_one_goal_only(config, weights, tmp_path, capsys):
    with pytest.raises(SystemExit):
        prune(config, weights, tmp_path, "--prune_ratio", "0.5", "--target_macs", "0.5")
    assert "not allowed with argument" in capsys.readouterr().err
