"""Golden outputs of PySlowFast, and a small network of every family."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from slowfast.models.imfe import IMFE
from slowfast.models.mobilenetv3 import MobileNetV3
from slowfast.models.resnet3d import ResNet3D
from slowfast.models.resnet_lstm import ResNetLSTM
from slowfast.models.slowfast import SlowFast
from slowfast.models.tiny import TinyNet
from slowfast.models.x3d import X3D

SHARED = Path(__file__).parents[2].parent / "shared"

SMALL = {
    "SlowFast": lambda **kw: SlowFast(
        **{"depth": 18, "width": 16, "alpha": 4, "num_frames": 8, "crop_size": 64} | kw
    ),
    "ResNet": lambda **kw: ResNet3D(
        **{"arch": "i3d", "depth": 18, "width": 8, "num_frames": 4, "crop_size": 64} | kw
    ),
    "X3D": lambda **kw: X3D(**{"depth_factor": 1.0, "num_frames": 4, "crop_size": 64} | kw),
    "ResNetLSTM": lambda **kw: ResNetLSTM(
        **{"depth": 18, "hidden_size": 8, "lstm_dropout": 0.0} | kw
    ),
    "IMFE": lambda **kw: IMFE(**{"depth": 18, "widths": (8, 8, 12, 16), "num_frames": 4} | kw),
    "MobileNetV3": lambda **kw: MobileNetV3(**{"width_mult": 0.35} | kw),
    "TinyNet": lambda **kw: TinyNet(**kw),
}


def clips_for(name, *, batch=2, crop=64, frames=None, seed=0):
    """Random clips for a model of ``SMALL``: ``[clip]`` or ``[slow, fast]``."""
    frames = frames or (8 if name == "SlowFast" else 4)
    generator = torch.Generator().manual_seed(seed)
    clip = torch.randn(batch, 3, frames, crop, crop, generator=generator)
    return [clip[:, :, ::4].contiguous(), clip] if name == "SlowFast" else [clip]


@pytest.fixture
def small():
    """Family name, keyword arguments -> small network."""
    return lambda name, **kw: SMALL[name](**{"num_classes": 5} | kw)


@pytest.fixture
def make_clips():
    return clips_for


@pytest.fixture
def small_names():
    return sorted(SMALL)


@pytest.fixture(scope="session")
def fill():
    """``fill_state`` and ``clips`` that the golden outputs were made with."""
    path = SHARED / "golden" / "fill.py"
    if not path.is_file():
        pytest.skip(f"no golden files beside the repository ({path.parent})")
    spec = importlib.util.spec_from_file_location("golden_fill", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def golden(fill):
    """Model name -> contents of its golden file."""
    paths = sorted((SHARED / "golden").glob("*.json"))
    return {path.stem: json.loads(path.read_text()) for path in paths}
