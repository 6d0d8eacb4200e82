"""A small model, and what a test of its own would say about windows of a video."""

import numpy as np
import torch

from slowfast.checkpoint.io import write_checkpoint
from slowfast.config import load_cfg
from slowfast.datasets.decode import open_video
from slowfast.datasets.sampling import clip_size, frame_indices
from slowfast.datasets.transforms import EvalTransform
from slowfast.models.build import build_model
from tests.small import YAML

NOWHERE = "/nonexistent/data"


def write_model(folder, changes=()):
    """A checkpoint of a network whose scores depend on what it sees; returns its path."""
    path = folder / "small.yaml"
    path.write_text(YAML.format(data=NOWHERE))
    config = load_cfg(path, [str(word) for word in changes])
    torch.manual_seed(0)
    model = build_model(config)
    for layer in model.classifiers.values():
        torch.nn.init.normal_(layer.weight, std=5.0)
    return write_checkpoint(
        folder / "net.pyth", epoch=0, model=model, optimizer=None, cfg_yaml=config.dump()
    )


def window_frames(info, fps, end, total):
    """Numbers of the frames of the test clip that ends at frame ``end``."""
    size = clip_size(info.num_frames, info.stride, fps, info.target_fps)
    return frame_indices(end + 1 - size, size, info.num_frames, total)


def predict_numbers(runtime, path, clips):
    """Scores ``(N, classes)`` of clips of these frame numbers, by the dataset's own parts."""
    info = runtime.info
    transform = EvalTransform(crop_size=info.crop[0], short_side=info.short_side)
    scores = []
    with open_video(str(path)) as reader:
        plan = transform.plan(reader.height, reader.width)
        for numbers in clips:
            frames = reader.read(numbers, plan.short_side)
            scores.append(runtime.predict_frames(transform.apply(frames, plan))[0].numpy())
    return np.stack(scores)


def numbers_of(times, reader_times):
    """Which frames were shown at these times."""
    return [int(np.abs(np.asarray(reader_times) - time_s).argmin()) for time_s in times]
