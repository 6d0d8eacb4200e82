"""A dataset and a config small enough to be trained on in a test."""

from tests.videos import write_video

YAML = """
MODEL: {{MODEL_NAME: TinyNet, ARCH: tiny, NUM_CLASSES: 2, DROPOUT_RATE: 0.0}}
DATA:
  PATH_TO_DATA_DIR: {data}
  NUM_FRAMES: 4
  SAMPLING_RATE: 2
  INPUT_CHANNEL_NUM: [3]
  TRAIN_JITTER_SCALES: [36, 40]
  TRAIN_CROP_SIZE: 32
  TEST_CROP_SIZE: 32
TRAIN: {{DATASET: video_folder, BATCH_SIZE: 4, EVAL_PERIOD: 1, CHECKPOINT_PERIOD: 1}}
TEST: {{DATASET: video_folder, BATCH_SIZE: 4, NUM_ENSEMBLE_VIEWS: 2, NUM_SPATIAL_CROPS: 1}}
SOLVER: {{MAX_EPOCH: 2, BASE_LR: 0.01}}
DATA_LOADER: {{NUM_WORKERS: 0}}
BENCHMARK: {{WARMUP: 1, STEPS: 3}}
NUM_GPUS: 0
PROGRESS: none
"""


def write_folders(root):
    """Videos of two classes, in folders per split and class; returns ``root``."""
    for split, count in {"train": 4, "val": 2, "test": 2}.items():
        for label, name in enumerate(("left", "right")):
            for i in range(count):
                write_video(root / split / name / f"{i}.mp4", num_frames=16 + 2 * label)
    return root


def write_config(path, data, changes=""):
    """The YAML of a small training on ``data``, with ``changes`` (YAML text); returns ``path``."""
    base = path.with_name("small.yaml")
    base.write_text(YAML.format(data=data))
    path.write_text(f"_BASE_: {base}\n{changes}")
    return path
