"""What docs/learners.md says is so."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from slowfast.learners import CoX3DLearner, X3DLearner, zoo
from slowfast.learners.backbones import BACKBONES
from tests.learners.actions import write_kinetics
from tests.videos import write_video

REPO = Path(__file__).parents[1]
PAGE = (REPO / "docs/learners.md").read_text("utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SMALL = 'device="cpu", image_size=32, batch_size=2, iters=1'


@pytest.mark.slow
def test_the_examples_run(tmp_path, monkeypatch):
    """One after the other, on smaller and fewer clips."""
    monkeypatch.chdir(tmp_path)
    write_kinetics(tmp_path / "datasets/kinetics400")
    for name in ("video", "other"):
        write_video(tmp_path / f"{name}.mp4", 20)
    (tmp_path / "zoo").mkdir()
    state = {"model_state": X3DLearner(device="cpu").model.state_dict()}
    for name in ("xs", "s"):
        torch.save(state, tmp_path / f"zoo/x3d_{name}.pyth")
    monkeypatch.setattr(zoo, "URL", (tmp_path / "zoo").as_uri())
    names = {}
    for example in EXAMPLES:
        exec(example.replace('device="cpu"', SMALL), names)
        if "learner.eval" in example:
            assert set(names["results"]) == {"accuracy", "loss"}
    assert len(EXAMPLES) == 8
    assert len(names["result"]) == 2
    assert {path.name for path in (tmp_path / "saved_models/trained_model").iterdir()} == {
        "trained_model.json", "model_trained_model.pth",
        "trained_model_1.json", "model_trained_model_1.pth",
    }  # fmt: skip
    assert (tmp_path / "logs/json_stats.log").is_file()
    assert list((tmp_path / "logs").glob("events.*"))


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


ROWS = {row[0].replace("`", ""): row[1:] for row in map(cells, re.findall(r"^\| `.*$", PAGE, re.M))}


def test_the_arguments_are_complete():
    defaults = {entry.name: repr(entry.default) for entry in fields(CoX3DLearner) if entry.init}
    shown = {name: row[0].strip("`") for names, row in ROWS.items() for name in names.split(", ")}
    assert {name: default for name, default in shown.items() if name not in BACKBONES} == defaults


@pytest.mark.parametrize("name", BACKBONES)
def test_the_backbones_are_as_shown(name):
    sizes = BACKBONES[name]
    learner = CoX3DLearner(backbone=name, device="cpu", num_classes=2)
    expected = (
        *(sizes.frames, sizes.stride, sizes.image_size),
        *(learner.receptive_field, learner.delay),
    )
    assert ROWS[name] == list(map(str, expected))


def test_links_exist():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", PAGE) if "://" not in link]
    assert [link for link in links if not (REPO / "docs" / link).exists()] == []
