"""IMFE learns the features that a frozen teacher computes from optical flow, end to end."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from slowfast.config import load_cfg
from slowfast.datasets.synthetic.encode import write_frames
from slowfast.engine import extract_build as build
from slowfast.engine.batches import BatchPreparation
from slowfast.engine.extract import FeatureExtractor, extract_features
from slowfast.engine.run import build_testing, build_training
from slowfast.models.base import ClipModel

SIZE, FRAMES, VIDEOS, SPEED = 40, 32, 128, 4
CONFIG = """
MODEL: {MODEL_NAME: IMFE, ARCH: imfe, LOSS_FUNC: mse, NUM_CLASSES: 64, DROPOUT_RATE: 0.0}
IMFE: {CLASSIFIER: True, WIDTHS: [12, 16, 24, 32], RADIUS: 1}
RESNET: {DEPTH: 18, WIDTH_PER_GROUP: 16}
DATA:
  NUM_FRAMES: 3
  SAMPLING_RATE: 1
  INPUT_CHANNEL_NUM: [3]
  RESIZE: [40, 40]
  RANDOM_FLIP: False
FEATURES: {INTERVAL: 3, NUM_VAL: 12}
SOLVER:
  OPTIMIZING_METHOD: adamw
  BASE_LR: 0.002
  MAX_EPOCH: 3
  WARMUP_EPOCHS: 0.3
  WARMUP_START_LR: 0.0002
  CLIP_GRAD_L2NORM: 1.0
TRAIN: {DATASET: features, BATCH_SIZE: 16, EVAL_PERIOD: 3}
TEST: {DATASET: features, NUM_ENSEMBLE_VIEWS: 1, NUM_SPATIAL_CROPS: 1, BATCH_SIZE: 32}
DATA_LOADER: {NUM_WORKERS: 0}
NUM_GPUS: 0
PROGRESS: none
"""


class FlowTeacher(ClipModel):
    """Flow by block matching, averaged over quarters of the picture, through a fixed projection.

    Per pixel and pair of frames: every shift of up to ``reach`` pixels is tried, its squared
    differences are averaged over 9x9 pixels, and the flow is the mean shift, weighted by
    ``softmax(-sharpness * difference)``.
    """

    def __init__(self, num_features=64, *, frames=3, reach=SPEED, step=2, sharpness=32.0):
        super().__init__()
        self.num_features, self.sharpness = num_features, sharpness
        steps = range(-reach, reach + 1, step)
        self.shifts = [(dy, dx) for dy in steps for dx in steps]
        generator = torch.Generator().manual_seed(7)
        numbers = 2 * 4 * (frames - 1)
        self.projection = torch.randn(numbers, num_features, generator=generator) / numbers**0.5

    @property
    def classifiers(self):
        return {}

    def forward_head(self, features):
        return features

    def forward_features(self, clips):
        gray = clips[0].mean(1)  # (B, T, H, W)
        flows = [self.flow(*pair) for pair in pairwise(gray.unbind(1))]
        return torch.cat(flows, dim=1) @ self.projection

    def flow(self, before, after):
        costs = [(after - before.roll(shift, (1, 2))).square() for shift in self.shifts]
        costs = F.avg_pool2d(torch.stack(costs, dim=1), 9, stride=4, padding=4)  # (B, S, h, w)
        share = (-self.sharpness * costs).softmax(dim=1)
        flow = torch.einsum("bshw,sc->bchw", share, torch.tensor(self.shifts, dtype=share.dtype))
        return F.adaptive_avg_pool2d(flow, 2).flatten(1)


def write_videos(folder):
    """A camera over a texture: another direction and speed, up to 4 pixels a frame, every third."""
    generator = torch.Generator().manual_seed(0)
    for number in range(VIDEOS):
        texture = sum(
            F.interpolate(
                torch.randn(1, 3, cells, cells, generator=generator), (64, 64), mode="bicubic"
            )
            for cells in (8, 16, 32)
        )
        steps = torch.rand(FRAMES // 3 + 1, 2, generator=generator) * 2 * SPEED - SPEED
        places = steps.repeat_interleave(3, dim=0)[:FRAMES].cumsum(0).round().int()
        frames = [texture[0].roll(place.tolist(), (1, 2))[:, :SIZE, :SIZE] for place in places]
        pixels = (128 + 30 * torch.stack(frames)).clamp(0, 255).byte().permute(0, 2, 3, 1)
        folder.mkdir(parents=True, exist_ok=True)
        write_frames(folder / f"v_{number:03d}", pixels.numpy(), pattern="img_{:05d}.jpg")


@pytest.mark.slow
def test_imfe_explains_more_than_half_of_a_flow_teachers_variance(tmp_path):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    write_videos(tmp_path / "rawframes_rgb")
    (tmp_path / "imfe.yaml").write_text(CONFIG)
    cfg = load_cfg(
        tmp_path / "imfe.yaml",
        ["DATA.PATH_TO_DATA_DIR", str(tmp_path), "OUTPUT_DIR", str(tmp_path / "run")],
    )
    extractor = FeatureExtractor(
        FlowTeacher(),
        sampler=build.ClipSampler.from_cfg(cfg, "val"),
        rows=build.RowClips.from_cfg(cfg),
        transform=build.build_eval_transform(cfg, "val"),
        prepare=BatchPreparation("cpu", build.build_batch_transform(cfg, train=False)),
        reader=build.open_record,
        batch=32,
    )
    sources = build.list_videos(tmp_path / "rawframes_rgb")
    result = extract_features(
        extractor, sources, tmp_path / "flow", settings={"teacher": "flow"}, progress="none"
    )
    assert sum(result.rows.values()) == VIDEOS * 10
    rows = np.load(tmp_path / "flow" / "v_000.npy")
    assert rows.var(axis=0).mean() > 1  # pixels squared: there is something to explain
    trained = build_training(cfg).run()
    tested = build_testing(cfg).run()
    assert tested["r2"] > 0.5
    assert tested["r2"] == pytest.approx(trained["r2"], rel=1e-4)
