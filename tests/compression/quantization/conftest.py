"""Videos of two colours, and a network trained to tell them apart."""

import av
import numpy as np
import pytest

from slowfast.config import load_cfg
from slowfast.engine.run import build_training
from tests.small import write_config

SPLITS = {"train": 10, "val": 4, "test": 4}


def write_colour(path, colour, seed, frames=12):
    """Noise around a colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 48, 48, "yuv420p"
        for _ in range(frames):
            noise = random.integers(-40, 40, (48, 48, 3))
            picture = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))


@pytest.fixture(scope="session")
def config(tmp_path_factory):
    root = tmp_path_factory.mktemp("colours")
    for split, count in SPLITS.items():
        for i in range(count):
            write_colour(root / split / "red" / f"{i}.mp4", (150, 90, 90), i)
            write_colour(root / split / "blue" / f"{i}.mp4", (90, 90, 150), 100 + i)
    changes = """
TRAIN: {CHECKPOINT_PERIOD: 10}
SOLVER: {MAX_EPOCH: 4, BASE_LR: 0.1}
BN: {NUM_BATCHES_PRECISE: 5}
BENCHMARK: {STEPS: 5}
"""
    return write_config(root / "tiny.yaml", root, changes)


@pytest.fixture(scope="session")
def weights(config, tmp_path_factory):
    """A trained checkpoint."""
    out = tmp_path_factory.mktemp("trained")
    metrics = build_training(load_cfg(config, ["OUTPUT_DIR", str(out)])).run()
    assert metrics["best_top1_err"] == 0
    return out / "checkpoints" / "best.pyth"
