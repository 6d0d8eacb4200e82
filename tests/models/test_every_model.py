"""Every entry of the model table, from a config: a training step, a file and back, two crops."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

from slowfast.checkpoint.io import write_checkpoint
from slowfast.config import load_cfg
from slowfast.deploy.benchmarks.build import (
    build_fixed_trainer,
    build_model_benchmark,
    build_random_batch,
)
from slowfast.engine.build import build_placement
from slowfast.engine.hook import Hook
from slowfast.engine.weights import load_model
from slowfast.models import MODELS
from slowfast.models.profile import build_model_inputs

CONFIGS = Path(__file__).parents[2] / "configs"
EVERYWHERE = """
    DATA.TRAIN_CROP_SIZE 64 DATA.TEST_CROP_SIZE 96 TRAIN.BATCH_SIZE 2 NUM_GPUS 0
    MODEL.DROPOUT_RATE 0 SOLVER.OPTIMIZING_METHOD sgd SOLVER.BASE_LR 0.01 SOLVER.WARMUP_EPOCHS 0
    BN.WEIGHT_DECAY 0.01 SOLVER.WEIGHT_DECAY 0.01 SOLVER.CLIP_GRAD_L2NORM 1
    TEST.BATCH_SIZE 1 BENCHMARK.WARMUP 1 BENCHMARK.STEPS 1 DATA.TRAIN_JITTER_SCALES [96,96]
"""
SHORT = "DATA.NUM_FRAMES 8"
NARROW = "RESNET.WIDTH_PER_GROUP 8"
MVIT = """
    MVIT.DEPTH 4 MVIT.EMBED_DIM 16 MVIT.DIM_MUL [[1,2.0]] MVIT.HEAD_MUL [[1,2.0]]
    MVIT.POOL_Q_STRIDE [[1,1,2,2]] MVIT.DROPPATH_RATE 0 DATA.NUM_FRAMES 8
"""
SMALL = {
    "SlowFast": ["Synthetic/SLOWFAST_T"],
    "ResNet": ["Kinetics/I3D_NLN_8x8_R50", NARROW],
    "X3D": ["Synthetic/X3D_T"],
    "MobileNet": ["MECCANO/MOBILE_8x8", "MODEL.WIDTH_MULT 0.25"],
    "ResNetLSTM": ["Synthetic/RESNET18_LSTM_EPIC"],
    "IMFE": ["Synthetic/IMFE_EPIC"],
    "IMFE that regresses": [
        "ActivityNet/IMFE_LOCAL_6x1", NARROW, "RESNET.DEPTH 18", "DATA.RESIZE []",
        "IMFE.WIDTHS [8,8,12,16]",
    ],
    "MobileNetV3": ["Custom/S3D_MOBILENETV3", "MODEL.WIDTH_MULT 0.25", SHORT],
    "MobileNetV3 with LGD": ["Custom/X3D_MOBILENETV3_LGD_GC", "MODEL.WIDTH_MULT 0.25", SHORT],
    "TinyNet": ["Synthetic/X3D_T", "MODEL.MODEL_NAME TinyNet"],
    "PTVResNet": ["Kinetics/SLOW_4x16_R50", "MODEL.MODEL_NAME PTVResNet", NARROW],
    "PTVSlowFast": [
        "Kinetics/SLOWFAST_4x16_R50", "MODEL.MODEL_NAME PTVSlowFast RESNET.WIDTH_PER_GROUP 16",
    ],
    "PTVX3D": ["Kinetics/X3D_XS", "MODEL.MODEL_NAME PTVX3D X3D.DEPTH_FACTOR 1.0"],
    "PTVCSN": ["Kinetics/pytorchvideo/CSN_32x2_R101", "RESNET.DEPTH 50", NARROW, SHORT],
    "PTVR2plus1D": ["Kinetics/pytorchvideo/R2PLUS1D_16x4_R50", NARROW, SHORT],
    "PTVMViT": ["Kinetics/pytorchvideo/MVIT_B_16x4_CONV", MVIT, "MIXUP.ENABLE False"],
}  # fmt: skip
ONE_CROP = {"PTVMViT"}  # its positions are learned


def config(name):
    if name.startswith("PTV") and not importlib.util.find_spec("pytorchvideo"):
        pytest.skip("PyTorchVideo is not installed")
    path, *words = SMALL[name]
    words += [EVERYWHERE, "DATA.TEST_CROP_SIZE 64" if name in ONE_CROP else ""]
    return load_cfg(CONFIGS / f"{path}.yaml", " ".join(words).split())


def test_all_are_here():
    assert {name.split()[0] for name in SMALL} == set(MODELS)


class Gradients(Hook):
    """Keeps the names of the parameters that a training step gives no gradient."""

    def after_backward(self, trainer):
        named = trainer.objective.model.named_parameters()
        self.missing = [name for name, p in named if p.requires_grad and p.grad is None]


@pytest.mark.parametrize("name", SMALL)
def test_trains_saves_loads_and_takes_a_second_crop(name, tmp_path):
    torch.manual_seed(0)
    cfg, gradients = config(name), Gradients()
    batch = build_random_batch(cfg)
    if name == "IMFE that regresses":
        batch = batch._replace(labels=torch.randn(2, 64))
    trainer = build_fixed_trainer(cfg, build_placement(cfg), [batch], [gradients])
    model = trainer.objective.model
    assert type(model) is MODELS.get(name.split()[0])
    before = {key: p.detach().clone() for key, p in model.named_parameters() if p.requires_grad}
    trainer.fit(1)
    assert gradients.missing == []
    after = dict(model.named_parameters())
    moved = [key for key, value in before.items() if not torch.equal(after[key], value)]
    assert len(moved) > 0.5 * len(before)  # biases at zero may stay for one step
    path = write_checkpoint(tmp_path, epoch=0, model=model, optimizer=None, cfg_yaml=cfg.dump())
    loaded, _ = load_model(path)
    state = loaded.state_dict()
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    model.eval()
    for crop in [64] if name in ONE_CROP else [64, 96]:
        clips = [torch.randn(shape) for shape in build_model_inputs(cfg, crop)]
        with torch.no_grad():
            expected, found = model.predict(clips), loaded.predict(clips)
        # Memory lies elsewhere, which may change the order of a sum: the last bit, on some.
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)
        for scores in found.values() if isinstance(found, dict) else [found]:
            assert scores.isfinite().all()


@pytest.mark.parametrize("name", SMALL)
def test_no_trainable_parameter_is_dead(name):
    """With awake batch norms that do not normalise: in training they cancel biases before them."""
    torch.manual_seed(0)
    cfg = config(name)
    model = build_fixed_trainer(cfg, build_placement(cfg), []).objective.model.eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.5, 1.0)
        elif isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
    outputs = model([torch.randn(2, *shape[1:]) for shape in build_model_inputs(cfg)])
    outputs = torch.cat(list(outputs.values()), dim=1) if isinstance(outputs, dict) else outputs
    outputs.mul(torch.randn(outputs.shape)).sum().backward()
    trained = {key: p.grad for key, p in model.named_parameters() if p.requires_grad}
    assert [key for key, grad in trained.items() if grad is None or not grad.any()] == []


@pytest.mark.parametrize("name", SMALL)
def test_its_cost_is_measured(name):
    """What ``tools/benchmark.py`` prints, of networks on frames as of those on clips."""
    found = build_model_benchmark(config(name))()
    assert found["macs_g"] > 0
    assert found["latency"]["p50_ms"] > 0
