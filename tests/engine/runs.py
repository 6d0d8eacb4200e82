"""A training small enough to be run many times; also as a program, to be killed.

python -m tests.engine.runs OUTPUT_DIR [KEY VALUE ...]
"""

import json
import sys

import torch

from slowfast.config import load_cfg
from slowfast.datasets import dummy
from slowfast.engine.run import build_training

BASE = {
    "MODEL.MODEL_NAME": "TinyNet",
    "MODEL.ARCH": "tiny",
    "MODEL.NUM_CLASSES": 4,
    "DATA.DUMMY_LOAD": True,
    "DATA.NUM_FRAMES": 2,
    "DATA.TRAIN_CROP_SIZE": 8,
    "DATA.TEST_CROP_SIZE": 8,
    "DATA.TRAIN_JITTER_SCALES": "[8, 10]",
    "DATA_LOADER.NUM_WORKERS": 0,
    "TRAIN.BATCH_SIZE": 4,
    "TRAIN.EVAL_PERIOD": 1,
    "TRAIN.CHECKPOINT_PERIOD": 1,
    "TEST.NUM_ENSEMBLE_VIEWS": 2,
    "SOLVER.MAX_EPOCH": 3,
    "SOLVER.BASE_LR": 0.05,
    "MODEL.DROPOUT_RATE": 0.5,
    "NUM_GPUS": 0,
    "LOG_PERIOD": 2,
    "PROGRESS": "none",
}
EVERYTHING = {
    "MIXUP.ENABLE": True,
    "MODEL.LOSS_FUNC": "soft_cross_entropy",
    "AUG.ENABLE": True,
    "TRAIN.EMA.ENABLE": True,
    "TRAIN.EMA.DECAY": 0.9,
    "SOLVER.EARLY_STOPPING.ENABLE": True,
    "SOLVER.ACCUMULATE_STEPS": 2,
    "SOLVER.CLIP_GRAD_L2NORM": 1.0,
    "BN.USE_PRECISE_STATS": True,
    "BN.NUM_BATCHES_PRECISE": 2,
}


def config(output_dir, **changes):
    """The config of such a run; ``changes`` with ``__`` for dots."""
    options = {**BASE, "OUTPUT_DIR": str(output_dir)}
    options |= {key.replace("__", "."): value for key, value in changes.items()}
    return load_cfg(None, [str(word) for pair in options.items() for word in pair])


def few_videos(number=18):
    """Shrink the dummy data set: 18 videos are 4 batches and 2 left over."""
    dummy.DummyVideos.__init__.__kwdefaults__["num_videos"] = number


def read_stats(output_dir):
    """The lines of a run's statistics, as dicts."""
    text = (output_dir / "json_stats.log").read_text()
    return [json.loads(line) for line in text.splitlines()]


def everything():
    return {key.replace(".", "__"): value for key, value in EVERYTHING.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    few_videos()
    build_training(config(sys.argv[1], **everything())).run()
