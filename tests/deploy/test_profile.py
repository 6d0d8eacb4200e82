from pathlib import Path

import pytest
import torch
from torch import nn

from slowfast.config import load_cfg
from slowfast.deploy.profile import (
    Cost,
    build_cost,
    build_model_inputs,
    count_macs,
    count_parameters,
)
from slowfast.models import build_model
from slowfast.models.tiny import TinyNet

CONFIGS = Path(__file__).parents[2] / "configs"

PUBLISHED = {  # parameters, GMACs at the training and at the test crop (None: not published)
    "Kinetics/X3D_XS": (3_794_322, 0.605, 0.844),
    "Kinetics/X3D_S": (3_794_322, 1.963, 2.727),
    "Kinetics/X3D_M": (3_794_322, 4.732, 6.186),
    "Kinetics/X3D_L": (6_153_432, 18.368, 24.778),
    "Kinetics/SLOWFAST_4x16_R50": (34_480_216, 27.639, 36.102),
    "Kinetics/SLOWFAST_8x8_R50": (34_566_488, 50.309, 65.712),
    "Kinetics/SLOWFAST_8x8_R101": (62_826_968, None, 125.908),
    "Kinetics/SLOWFAST_16x8_R101_50_50": (53_774_808, None, 213.024),
    "Kinetics/SLOW_4x16_R50": (32_454_096, 20.871, 27.262),
    "Kinetics/SLOW_8x8_R50": (32_454_096, 41.741, 54.521),
    "Kinetics/I3D_8x8_R50": (28_043_472, 28.408, 37.106),
    "Kinetics/I3D_NLN_8x8_R50": (35_401_936, 36.54, 48.92),
    "Kinetics/C2D_8x8_R50": (24_327_632, 19.493, 25.463),
    "MECCANO/X3D_M": (3_099_711, 4.73, None),
    "MECCANO/X3D_L": (5_458_821, None, 11.97),
    "MECCANO/SLOWFAST_8x8_R50": (33_785_093, 50.308, 65.709),
    "MECCANO/I3D_8x8_R50": (27_348_861, 113.6, 148.4),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_and_macs_as_published(name):
    cost = build_cost(load_cfg(CONFIGS / f"{name}.yaml"))
    parameters, *published = PUBLISHED[name]
    assert cost.parameters == parameters
    for ours, theirs in zip((cost.macs_train_crop, cost.macs_test_crop), published, strict=True):
        if theirs is not None:
            digits = len(str(theirs).partition(".")[2])
            assert ours / 1e9 == pytest.approx(theirs, abs=1.01 * 10**-digits)


def test_every_kinetics_config_has_a_row():
    shipped = {f"Kinetics/{p.stem}" for p in (CONFIGS / "Kinetics").glob("*.yaml")}
    assert shipped == {name for name in PUBLISHED if name.startswith("Kinetics/")}
    assert len(PUBLISHED) == 17


def test_macs_in_closed_form():
    """Two convolutions and a linear layer; batch norm, ReLU and pooling do not count."""
    model = TinyNet(num_classes=4)
    convolutions = 2 * 4 * 8 * 8 * (8 * 3 * 27) + 2 * 4 * 4 * 4 * (16 * 8 * 27)
    assert count_macs(model, [(2, 3, 4, 8, 8)]) == convolutions + 2 * 16 * 4
    assert count_parameters(model) == 648 + 16 + 3456 + 32 + 68
    model.features.requires_grad_(False)
    assert count_parameters(model, trainable_only=True) == 68


def test_the_model_is_left_as_it_was():
    model = TinyNet(num_classes=4).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count_macs(model, [(1, 3, 4, 8, 8)])
    assert model.training
    assert all(v.device.type == "cpu" for v in model.state_dict().values())
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())


def test_plain_module():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 5)

        def forward(self, clips):
            return self.layer(clips[0])

    assert count_macs(Flat(), [(2, 3)]) == 2 * 3 * 5


def test_model_inputs():
    single = load_cfg(CONFIGS / "Kinetics/X3D_S.yaml")
    two = load_cfg(CONFIGS / "Kinetics/SLOWFAST_8x8_R50.yaml")
    assert build_model_inputs(single) == [(1, 3, 13, 160, 160)]
    assert build_model_inputs(two, 64, batch=2) == [(2, 3, 8, 64, 64), (2, 3, 32, 64, 64)]


def test_cost_names_its_numbers():
    assert Cost(1, 2, 3).macs_test_crop == 3


@pytest.mark.parametrize("name", ["X3D_S", "I3D_NLN_8x8_R50", "SLOWFAST_4x16_R50"])
def test_fvcore_counts_the_same(name):
    """Convolutions, matrix products and einsum; its pooling and batch norm are left out."""
    fvcore = pytest.importorskip("fvcore.nn")
    cfg = load_cfg(CONFIGS / f"Kinetics/{name}.yaml", ["DATA.TRAIN_CROP_SIZE", "64"])
    model = build_model(cfg).eval()
    shapes = build_model_inputs(cfg)
    analysis = fvcore.FlopCountAnalysis(model, ([torch.randn(shape) for shape in shapes],))
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    counts = analysis.by_operator()
    theirs = sum(counts[op] for op in ("conv", "linear", "matmul", "einsum", "bmm"))
    assert count_macs(model, shapes) == pytest.approx(theirs, rel=1e-6)
