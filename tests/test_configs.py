"""Every YAML we ship loads and builds its model; on the meta device this costs nothing."""

from pathlib import Path

import pytest
import torch
import yaml

from slowfast.config import get_cfg, load_cfg
from slowfast.engine.losses import REGRESSIONS
from slowfast.models import build_model
from slowfast.models.build import build_num_classes

ROOT = Path(__file__).parents[1] / "configs"
CONFIGS = sorted(ROOT.rglob("*.yaml"))
COUNTS = {
    "ActivityNet": 2,
    "Custom": 2,
    "EPIC-KITCHENS": 5,
    "Kinetics": 13,
    "MECCANO": 6,
    "Pipeline": 1,
    "Synthetic": 14,
}  # raise with every YAML: a glob that finds too little stays green


@pytest.mark.parametrize("folder", COUNTS)
def test_the_glob_finds_them(folder):
    assert len(list((ROOT / folder).rglob("*.yaml"))) >= COUNTS[folder]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_config_builds(path):
    cfg = load_cfg(path)
    with torch.device("meta"):
        model = build_model(cfg)
    classes = build_num_classes(cfg)
    expected = classes if isinstance(classes, dict) else {"action": classes}
    if cfg.MODEL.LOSS_FUNC in REGRESSIONS and not cfg.IMFE.CLASSIFIER:
        expected = {}  # its output is a feature
    found = {task: layer.out_features for task, layer in model.classifiers.items()}
    assert found == expected


@pytest.mark.parametrize("folder", COUNTS)
def test_only_what_differs_from_the_defaults(folder):
    """Apart from what says which network and data it is, even where that is the default."""
    always = {
        "MODEL.ARCH", "MODEL.MODEL_NAME", "TRAIN.DATASET", "DATA.NUM_FRAMES",
        "DATA.SAMPLING_RATE", "SOLVER.LR_POLICY", "SLOWFAST.ALPHA",
        "TRAIN.EVAL_PERIOD", "TRAIN.CHECKPOINT_PERIOD", "NONLOCAL.GROUP", "SOLVER.MAX_EPOCH",
    }  # fmt: skip
    defaults = get_cfg()
    for path in sorted((ROOT / folder).glob("*.yaml")):
        given = yaml.safe_load(path.read_text())
        if "_BASE_" in given:
            continue  # a default may undo what the base says
        for section, keys in given.items():
            for key, value in keys.items() if isinstance(keys, dict) else [("", keys)]:
                name = f"{section}.{key}".rstrip(".")
                default = defaults[section][key] if key else defaults[section]
                assert name in always or float_or_same(value) != default, (path.name, name)


def float_or_same(value):
    """YAML reads 5e-5 as text."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_says_what_it_is(path):
    """A YAML is a row of a paper: source, accuracy or none, and cost stand at its top."""
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    if path.parent.name in COUNTS:
        assert any("Source:" in line for line in head)
        assert "M parameters" in head[-1]
        assert "GMACs" in head[-1]
