"""The scripts behind docs: their commands are ones the tools take, their tables what was found."""

import argparse
import json
import runpy
from pathlib import Path

import pytest

from slowfast.config import add_cfg_arguments, load_cfg, parse_args

REPO = Path(__file__).parents[1]
SCRIPT = runpy.run_path(str(REPO / "scripts" / "compression_evidence.py"))


@pytest.fixture
def stages(tmp_path, monkeypatch):
    evidence = SCRIPT["Evidence"](tmp_path, quick=False)
    monkeypatch.setattr(evidence, "run", lambda: None)
    monkeypatch.setattr(evidence, "read", lambda name, file: {"rows": [{"p50_ms": 5.0}]})
    for part in ("train", "halve", "distil", "quantise", "latency", "compare"):
        getattr(evidence, part)()
    return evidence.stages


def test_stages_follow_what_they_need(stages):
    names = [stage.name for stage in stages]
    assert len(set(names)) == len(names) > 25
    for number, stage in enumerate(stages):
        assert set(stage.needs) <= set(names[:number])


def test_the_tools_take_the_commands(stages):
    tools = {}
    for stage in stages:
        _, path, *words = stage.command
        if path not in tools:
            tools[path] = runpy.run_path(path)
        if "parser" not in tools[path] or "--cfg" not in words:
            continue
        args = parse_args(words, tools[path]["parser"]())
        load_cfg(args.cfg, args.opts)


DEPLOYMENT = runpy.run_path(str(REPO / "scripts" / "deployment_evidence.py"))


@pytest.fixture
def deployment(tmp_path):
    trained = tmp_path / "trained"
    for name in DEPLOYMENT["TRAINED"]:
        (trained / name / "checkpoints").mkdir(parents=True)
        (trained / name / "checkpoints" / "best.pyth").touch()
    for data in (trained / "data", tmp_path / "out" / "data_real"):
        (data / "test").mkdir(parents=True)
        (data / "test" / "a.mp4").touch()
    evidence = DEPLOYMENT["Evidence"](tmp_path / "out", trained, quick=False, int8=True, real=True)
    evidence.plan()
    return evidence


def test_deployment_runs_are_ones_that_the_tool_takes(deployment):
    names = [stage.name for stage in deployment.stages]
    assert {claim.stage for claim in DEPLOYMENT["CLAIMS"]} <= set(names)
    training = argparse.ArgumentParser()
    add_cfg_arguments(training)
    counts = {}
    for name in ("benchmark", "quantize", "run_net"):
        tool = str(REPO / "tools" / f"{name}.py")
        parser = training if name == "run_net" else runpy.run_path(tool)["parser"]()
        runs = [s.command for s in deployment.stages if tool in s.command]
        for command in runs:
            args = parse_args(command[command.index(tool) + 1 :], parser)
            load_cfg(args.cfg, args.opts)
        counts[name] = len(runs)
    assert counts == {"benchmark": 18, "run_net": 6, "quantize": 6}


def test_deployment_table(deployment):
    """A ratio that is enough, one that is not, one that is fast but inexact, one unmeasured."""

    def write(stage, way, precision, **numbers):
        folder = deployment.out / stage
        folder.mkdir(parents=True, exist_ok=True)
        row = {"name": f"N {way}", "precision": precision, "p50_ms": 10.0} | numbers
        found = {"rows": [row], "machine": {"cores": 2}}
        (folder / "benchmark.json").write_text(json.dumps(found))

    def spread(median):
        return {"median": median, "q25": median - 0.1, "q75": median + 0.1}

    write("x3d_s", "openvino f32", "f32", ratio=spread(4.4), max_score_difference=1e-5)
    write("x3d_m", "openvino f32", "f32", ratio=spread(4.4), max_score_difference=0.01)
    write("slowfast", "openvino bf16", "bf16", ratio=spread(6.0))
    write("stream", "stream openvino f32", "f32", ratio=spread(18), macs_g=0.153, state_mb=None)
    lines = {line["claim"]: line for line in deployment.lines()}
    assert {name: line["holds"] for name, line in lines.items()} == {
        "X3D-S, f32 within 1e-3": True,
        "X3D-M, f32 within 1e-3": False,
        "SlowFast 8x8, bf16": False,
        "stream X3D-S, f32, against the clip": True,
        "stream X3D-S, f32, against CoX3D": False,
        "stream X3D-S, GMAC per frame": True,
        "stream X3D-S, state (MB)": False,
        "stream X3D-S, frames/s from file": False,
    }
    text = deployment.markdown(deployment.lines())
    assert "4.4 (4.3 to 4.5)" in text
    assert "at most 0.16" in text
    assert "cores 2" in text
