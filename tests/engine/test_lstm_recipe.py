"""What the YAMLs of ResNet50+LSTM ask for happens in a training of a small one."""

from pathlib import Path

import pytest
import torch

from slowfast.config import load_cfg
from slowfast.datasets.mixup import MixUp
from slowfast.engine.run import build_training
from slowfast.models.layers.image_resnet import ImageResNet

CONFIGS = Path(__file__).parents[2] / "configs" / "EPIC-KITCHENS"
SMALL = """
    RESNET.DEPTH 18 RESNET.WIDTH_PER_GROUP 8 LSTM.HIDDEN_SIZE 8 DATA.NUM_FRAMES 4
    DATA.TRAIN_CROP_SIZE 32 DATA.TEST_CROP_SIZE 32 DATA.TRAIN_JITTER_SCALES [32,40]
    DATA.DUMMY_LOAD True DATA_LOADER.NUM_WORKERS 0 TRAIN.BATCH_SIZE 3 TRAIN.MIXED_PRECISION False
    TEST.ENABLE False SOLVER.EARLY_STOPPING.PATIENCE 2 SOLVER.EARLY_STOPPING.MIN_DELTA 1000
    LOG_PERIOD 1 PROGRESS none NUM_GPUS 0
"""


@pytest.fixture
def few_videos(monkeypatch):
    from slowfast.datasets import dummy

    monkeypatch.setitem(dummy.DummyVideos.__init__.__kwdefaults__, "num_videos", 12)


@pytest.fixture
def image_weights(tmp_path):
    """Batch norms unlike fresh ones."""
    torch.manual_seed(0)
    network = ImageResNet(18, 8)
    for name, value in network.state_dict().items():
        if "bn" in name and value.is_floating_point():
            value.uniform_(0.5, 1.5)
    torch.save(network.state_dict(), tmp_path / "resnet18.pth")
    return tmp_path / "resnet18.pth"


@pytest.mark.parametrize(("num_frames", "accumulated"), [(16, 2), (32, 4)])
def test_recipe(few_videos, image_weights, tmp_path, num_frames, accumulated):
    words = ["MODEL.PRETRAINED", str(image_weights), "OUTPUT_DIR", str(tmp_path / "run")]
    cfg = load_cfg(CONFIGS / f"RESNET50_LSTM_{num_frames}.yaml", [*SMALL.split(), *words])
    training = build_training(cfg)
    trainer = training.trainer
    assert trainer.accumulate_steps == accumulated
    mixup = trainer.prepare.transform.mixup
    assert isinstance(mixup, MixUp)
    assert (mixup.cutmix_alpha, mixup.alpha, mixup.label_smoothing) == (1.0, 0.0, 0.1)
    rates = [trainer.lr_at(epoch) for epoch in (0, 1.5, 3, 26.5, 50)]
    assert rates == pytest.approx([5e-5, 1e-4, 1.5e-4, 0.79e-4, 0.0], rel=0.2, abs=1e-9)
    model = trainer.objective.model
    fresh = {key: value.clone() for key, value in model.state_dict().items()}
    training.run()
    assert trainer.epoch + 1 == 3 < cfg.SOLVER.MAX_EPOCH  # one to compare with, two no better
    saved = torch.load(image_weights, weights_only=True)
    after = model.backbone.state_dict()
    norms = [key for key in saved if "bn" in key or "downsample.1" in key]
    assert len(norms) == 20 * 5
    assert all(torch.equal(after[key], saved[key]) for key in norms)
    moved = {key for key, value in model.state_dict().items() if not torch.equal(value, fresh[key])}
    assert {"backbone.conv1.weight", "lstm.weight_hh_l1_reverse"} <= moved
