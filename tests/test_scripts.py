"""The script behind docs/compression.md: its commands are ones the tools take."""

import runpy
from pathlib import Path

import pytest

from slowfast.config import load_cfg, parse_args

REPO = Path(__file__).parents[1]
SCRIPT = runpy.run_path(str(REPO / "scripts" / "compression_evidence.py"))


@pytest.fixture
def stages(tmp_path, monkeypatch):
    evidence = SCRIPT["Evidence"](tmp_path, quick=False)
    found = {"rows": {"before": {"latency": {"p50_ms": 5.0}}}}
    monkeypatch.setattr(evidence, "read", lambda name, file: found)
    for part in ("train", "halve", "latency", "distil", "quantise"):
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
