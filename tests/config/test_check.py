"""Keys that contradict one another: the error names both."""

import pytest

from slowfast.config import ConfigError, load_cfg, num_pathways

STEPS = ["SOLVER.LR_POLICY", "steps_with_relative_lrs"]
CASES = [
    ("DATA.NUM_FRAMES 30 SLOWFAST.ALPHA 4", "DATA.NUM_FRAMES 30 .*SLOWFAST.ALPHA 4"),
    ("DATA.INPUT_CHANNEL_NUM [3]", "MODEL.ARCH slowfast has 2 .*DATA.INPUT_CHANNEL_NUM"),
    ("RESNET.SPATIAL_STRIDES [[1],[2]]", "RESNET.SPATIAL_STRIDES needs 4"),
    ("RESNET.NUM_GROUPS 3", "WIDTH_PER_GROUP 64 .*RESNET.NUM_GROUPS 3"),
    ("MODEL.ARCH slowfats", "MODEL.ARCH 'slowfats' .*MODEL.MODEL_NAME SlowFast; known: "),
    ("MODEL.ARCH i3d MODEL.MODEL_NAME SlowFast", "MODEL.MODEL_NAME SlowFast and MODEL.ARCH i3d"),
    ("MODEL.NUM_CLASSES [97,300]", r"MODEL.NUM_CLASSES \[97, 300\] and MODEL.TASKS \[\]"),
    ("MODEL.TASKS [verb,noun]", "MODEL.TASKS .* names 2 tasks, MODEL.NUM_CLASSES 400 one"),
    ("MODEL.TASKS [a,a] MODEL.NUM_CLASSES [2,2]", "names a task twice"),
    ("MODEL.LOSS_FUNC bce_logit", "MODEL.LOSS_FUNC bce_logit .*MODEL.HEAD_ACT softmax"),
    ("DATA.MULTI_LABEL True", "DATA.MULTI_LABEL True .*MODEL.LOSS_FUNC cross_entropy"),
    ("MIXUP.ENABLE True", "MIXUP.ENABLE True .*MODEL.LOSS_FUNC cross_entropy"),
    ("DATA.SPLIT_RATIO [0.5,0.2,0.2]", "SPLIT_RATIO .* sum 1"),
    ("DATA.SPLIT_RATIO [0.5,0.5]", "SPLIT_RATIO .*three shares"),
    ("DATA.TRAIN_JITTER_SCALES [320,256]", "TRAIN_JITTER_SCALES must be"),
    ("DATA.TRAIN_CROP_SIZE 312", "TRAIN_JITTER_SCALES .*DATA.TRAIN_CROP_SIZE 312"),
    ("DATA.TRAIN_JITTER_SCALES_RELATIVE [0.08]", "SCALES_RELATIVE must be"),
    ("DATA.MEAN [0.5]", "DATA.MEAN .*DATA.INPUT_CHANNEL_NUM"),
    (
        "TEST.NUM_SPATIAL_CROPS 1 DATA.TEST_CROP_SIZE 300",
        "DATA.TEST_CROP_SIZE 300 .*DATA.TRAIN_JITTER_SCALES",
    ),
    ("TEST.NUM_ENSEMBLE_VIEWS 0", "NUM_ENSEMBLE_VIEWS 0"),
    ("SOLVER.LR_POLICY steps_with_relative_lrs", "SOLVER.STEPS .*SOLVER.LRS"),
    (
        "SOLVER.LR_POLICY steps_with_relative_lrs SOLVER.STEPS [0,5] SOLVER.LRS [1]",
        "SOLVER.STEPS .*SOLVER.LRS",
    ),
    (
        "SOLVER.LR_POLICY steps_with_relative_lrs SOLVER.STEPS [5,0] SOLVER.LRS [1,0.1]",
        "SOLVER.STEPS .*rise from 0",
    ),
    ("SOLVER.DAMPENING 0.1", "SOLVER.NESTEROV True needs .*SOLVER.DAMPENING 0, got 0.9 and 0.1"),
    ("SOLVER.BETAS [0.9]", "SOLVER.BETAS needs two"),
    ("NUM_GPUS 3", "TRAIN.BATCH_SIZE 64 .*NUM_GPUS 3"),
    ("SHARD_ID 1", "SHARD_ID 1 must be below NUM_SHARDS 1"),
    ("DEVICE cuda NUM_GPUS 0", "DEVICE cuda .*NUM_GPUS 0"),
    ("DEVICE mps NUM_GPUS 2", "DEVICE mps .*NUM_GPUS"),
    ("DEVICE tpu", "DEVICE in the command line: expected one of auto, cuda, mps, cpu, got 'tpu'"),
    ("DATA.ENSEMBLE_METHOD mean", "DATA.ENSEMBLE_METHOD .*one of sum, max"),
    ("BN.NORM_TYPE sub_batchnorm", "BN.NORM_TYPE .*one of batchnorm, sync_batchnorm"),
]


@pytest.mark.parametrize(("opts", "message"), CASES, ids=[opts for opts, _ in CASES])
def test_contradictions(opts, message):
    with pytest.raises(ConfigError, match=message):
        load_cfg((), opts.split())


@pytest.mark.parametrize(
    "opts",
    [
        "MODEL.NUM_CLASSES [97,300] MODEL.TASKS [verb,noun]",
        "MODEL.TASKS [action] MODEL.NUM_CLASSES 61",
        "MIXUP.ENABLE True MODEL.LOSS_FUNC soft_cross_entropy",
        "NUM_GPUS 0 TRAIN.BATCH_SIZE 7",
        "NUM_GPUS 3 TRAIN.ENABLE False",
        "MODEL.ARCH i3d DATA.INPUT_CHANNEL_NUM [3] DATA.NUM_FRAMES 7",
        "MODEL.MODEL_NAME TinyNet DATA.INPUT_CHANNEL_NUM [3]",
        "DATA.TRAIN_CROP_SIZE 312 DATA.TRAIN_JITTER_SCALES_RELATIVE [0.08,1.0]",
        "SOLVER.NESTEROV False SOLVER.MOMENTUM 0",
        "SOLVER.OPTIMIZING_METHOD adamw SOLVER.MOMENTUM 0",
    ],
)
def test_what_is_fine(opts):
    load_cfg((), opts.split())


def test_warm_up_that_falls_is_only_warned_of(caplog):
    load_cfg((), ["SOLVER.BASE_LR", "1e-4", "SOLVER.WARMUP_EPOCHS", "34"])
    assert "SOLVER.WARMUP_START_LR 0.01 is above SOLVER.BASE_LR 0.0001" in caplog.text


def test_num_pathways():
    assert num_pathways(load_cfg()) == 2
    assert num_pathways(load_cfg((), ["MODEL.ARCH", "x3d"])) == 1
