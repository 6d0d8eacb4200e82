"""Names, shapes and order of the parameters of PySlowFast's model zoo."""

import json
from pathlib import Path

import pytest
import torch

from slowfast.config import load_cfg
from slowfast.models import build_model

REPO = Path(__file__).parents[2]
SHAPES = REPO.parent / "shared" / "reference" / "state_dict_shapes.json"
NAMES = [
    "C2D_8x8_R50", "I3D_8x8_R50", "I3D_NLN_8x8_R50", "SLOWFAST_4x16_R50", "SLOWFAST_8x8_R50",
    "SLOW_8x8_R50", "X3D_L", "X3D_M", "X3D_S", "X3D_XS",
]  # fmt: skip


@pytest.fixture(scope="module")
def zoo():
    if not SHAPES.is_file():
        pytest.skip(f"no {SHAPES}")
    return json.loads(SHAPES.read_text())


def test_all_of_them_are_compared(zoo):
    assert sorted(zoo) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_names_shapes_and_order(zoo, name):
    """The order too: an optimizer state knows parameters by their place."""
    with torch.device("meta"):
        model = build_model(load_cfg(REPO / "configs" / "Kinetics" / f"{name}.yaml"))
    ours = {key: list(value.shape) for key, value in model.named_parameters()}
    assert ours == zoo[name]["params"]
    assert list(ours) == list(zoo[name]["params"])
    assert [key for key, _ in model.named_buffers()] == zoo[name]["buffers"]
