"""Files that PySlowFast, MECCANO and the fork ship: their keys and values, our layout."""

import yaml

STAGES = {"s": [1, 2, 2, 2], "k": [3, 4, 6, 3], "one": [1, 1, 1, 1]}


def per_stage(name: str, pathways: int) -> list[list[int]]:
    return [[value] * pathways for value in STAGES[name]]


def common(pathways: int) -> dict:
    """What every PySlowFast YAML repeats."""
    return {
        "TRAIN": {
            "ENABLE": True,
            "DATASET": "kinetics",
            "BATCH_SIZE": 64,
            "EVAL_PERIOD": 10,
            "CHECKPOINT_PERIOD": 1,
            "AUTO_RESUME": True,
        },
        "DATA": {
            "NUM_FRAMES": 32,
            "SAMPLING_RATE": 2,
            "TRAIN_JITTER_SCALES": [256, 320],
            "TRAIN_CROP_SIZE": 224,
            "TEST_CROP_SIZE": 256,
            "INPUT_CHANNEL_NUM": [3] * pathways,
        },
        "RESNET": {
            "ZERO_INIT_FINAL_BN": True,
            "WIDTH_PER_GROUP": 64,
            "NUM_GROUPS": 1,
            "DEPTH": 50,
            "TRANS_FUNC": "bottleneck_transform",
            "STRIDE_1X1": False,
            "NUM_BLOCK_TEMP_KERNEL": per_stage("k", pathways),
            "SPATIAL_STRIDES": per_stage("s", pathways),
            "SPATIAL_DILATIONS": per_stage("one", pathways),
        },
        "NONLOCAL": {
            "LOCATION": [[[]] * pathways] * 4,
            "GROUP": per_stage("one", pathways),
            "INSTANTIATION": "dot_product",
        },
        "BN": {"USE_PRECISE_STATS": True, "NUM_BATCHES_PRECISE": 200},
        "SOLVER": {
            "BASE_LR": 0.1,
            "LR_POLICY": "cosine",
            "MAX_EPOCH": 196,
            "MOMENTUM": 0.9,
            "WEIGHT_DECAY": "1e-4",  # dumped without quotes it is text to YAML 1.1, as in the files
            "WARMUP_EPOCHS": 34,
            "WARMUP_START_LR": 0.01,
            "OPTIMIZING_METHOD": "sgd",
        },
        "MODEL": {
            "NUM_CLASSES": 400,
            "LOSS_FUNC": "cross_entropy",
            "DROPOUT_RATE": 0.5,
        },
        "TEST": {"ENABLE": True, "DATASET": "kinetics", "BATCH_SIZE": 64},
        "DATA_LOADER": {"NUM_WORKERS": 8, "PIN_MEMORY": True},
        "NUM_GPUS": 8,
        "NUM_SHARDS": 1,
        "RNG_SEED": 0,
        "OUTPUT_DIR": ".",
    }


def with_changes(pathways: int, changes: dict) -> str:
    tree = common(pathways)
    for name, value in changes.items():
        node, _, leaf = name.rpartition(".")
        (tree.setdefault(node, {}) if node else tree)[leaf] = value
    return yaml.safe_dump(tree).replace("'1e-4'", "1e-4").replace("'5e-5'", "5e-5")


LATERAL = {
    "MODEL.ARCH": "slowfast",
    "SLOWFAST.ALPHA": 4,
    "SLOWFAST.BETA_INV": 8,
    "SLOWFAST.FUSION_CONV_CHANNEL_RATIO": 2,
    "SLOWFAST.FUSION_KERNEL_SZ": 7,
}
OLD = {"BN.MOMENTUM": 0.1, "BN.WEIGHT_DECAY": 0.0}
STEPS = {
    "SOLVER.LR_POLICY": "steps_with_relative_lrs",
    "SOLVER.LRS": [1, 0.1, 0.01, 0.001, 0.0001, 0.00001],
}
SYNC = {"BN.NORM_TYPE": "sync_batchnorm", "BN.NUM_SYNC_DEVICES": 4}


def one_pathway(arch: str, name: str | None, frames: int, rate: int) -> dict:
    changes = {"MODEL.ARCH": arch, "DATA.NUM_FRAMES": frames, "DATA.SAMPLING_RATE": rate}
    return changes | ({"MODEL.MODEL_NAME": name} if name else {})


def x3d(depth: float, frames: int, rate: int, crops: tuple[int, int], scales: list[int]) -> dict:
    return one_pathway("x3d", "X3D", frames, rate) | {
        "X3D.WIDTH_FACTOR": 2.0,
        "X3D.DEPTH_FACTOR": depth,
        "X3D.BOTTLENECK_FACTOR": 2.25,
        "X3D.DIM_C5": 2048,
        "X3D.DIM_C1": 12,
        "RESNET.TRANS_FUNC": "x3d_transform",
        "DATA.TRAIN_CROP_SIZE": crops[0],
        "DATA.TEST_CROP_SIZE": crops[1],
        "DATA.TRAIN_JITTER_SCALES": scales,
        "DATA.DECODING_BACKEND": "torchvision",
        "TRAIN.BATCH_SIZE": 128,
        "SOLVER.WEIGHT_DECAY": "5e-5",
        "SOLVER.BASE_LR_SCALE_NUM_SHARDS": True,
        "SOLVER.MAX_EPOCH": 300,
        "SOLVER.WARMUP_EPOCHS": 35.0,
        "TEST.NUM_SPATIAL_CROPS": 3,
    }


MECCANO = LATERAL | {
    "MODEL.MODEL_NAME": "SlowFast",
    "MODEL.NUM_CLASSES": 61,
    "TRAIN.DATASET": "meccano",
    "TEST.DATASET": "meccano",
    "SOLVER.BASE_LR": 0.0001,
    "SOLVER.MAX_EPOCH": 200,
    "NUM_GPUS": 2,
}

FILES: dict[str, str] = {
    name: with_changes(pathways, changes)
    for name, (pathways, changes) in {
        "SLOWFAST_8x8_R50": (2, LATERAL | {"MODEL.MODEL_NAME": "SlowFast"}),
        "SLOWFAST_4x16_R50": (2, LATERAL | {"SLOWFAST.ALPHA": 8, "SLOWFAST.FUSION_KERNEL_SZ": 5}),
        "c2/SLOWFAST_16x8_R101_50_50": (
            2,
            LATERAL
            | OLD
            | {
                "DATA.NUM_FRAMES": 64,
                "RESNET.DEPTH": 101,
                "RESNET.NUM_BLOCK_TEMP_KERNEL": [[3, 3], [4, 4], [6, 6], [3, 3]],
                "TRAIN.ENABLE": False,
                "TRAIN.CHECKPOINT_TYPE": "caffe2",
            },
        ),
        "SLOWFAST_8x8_R50_stepwise": (
            2,
            LATERAL | STEPS | {"SOLVER.STEPS": [0, 94, 154, 196], "SOLVER.MAX_EPOCH": 239},
        ),
        "SSv2/SLOWFAST_16x8_R50": (
            2,
            LATERAL
            | STEPS
            | SYNC
            | OLD
            | {
                "DATA.NUM_FRAMES": 64,
                "DATA.INV_UNIFORM_SAMPLE": True,
                "DATA.RANDOM_FLIP": False,
                "DATA.REVERSE_INPUT_CHANNEL": True,
                "SOLVER.STEPS": [0, 14, 18],
                "SOLVER.WARMUP_EPOCHS": 0.19,
                "SOLVER.WARMUP_START_LR": 0.0001,
                "SOLVER.BASE_LR": 0.03,
                "TRAIN.DATASET": "ssv2",
                "TRAIN.BATCH_SIZE": 16,
                "TRAIN.CHECKPOINT_FILE_PATH": "SLOWFAST_8x8_R50.pkl",
                "TRAIN.CHECKPOINT_TYPE": "caffe2",
                "TEST.NUM_ENSEMBLE_VIEWS": 1,
                "TEST.NUM_SPATIAL_CROPS": 1,
                "LOG_MODEL_INFO": False,
            },
        ),
        "Charades/SLOWFAST_16x8_R50": (
            2,
            LATERAL
            | STEPS
            | SYNC
            | {
                "DATA.NUM_FRAMES": 64,
                "DATA.TRAIN_JITTER_SCALES": [256, 340],
                "DATA.MULTI_LABEL": True,
                "DATA.ENSEMBLE_METHOD": "max",
                "SOLVER.STEPS": [0, 41, 49],
                "MODEL.NUM_CLASSES": 157,
                "MODEL.LOSS_FUNC": "bce_logit",
                "MODEL.HEAD_ACT": "sigmoid",
                "TRAIN.BATCH_SIZE": 16,
            },
        ),
        "I3D_8x8_R50": (1, one_pathway("i3d", "ResNet", 8, 8)),
        "I3D_NLN_8x8_R50": (
            1,
            one_pathway("i3d", "ResNet", 8, 8)
            | {
                "NONLOCAL.LOCATION": [[[]], [[1, 3]], [[1, 3, 5]], [[]]],
                "NONLOCAL.INSTANTIATION": "softmax",
            },
        ),
        "SLOW_4x16_R50": (1, one_pathway("slow", "ResNet", 4, 16)),
        "C2D_8x8_R50_IN1K": (
            1,
            one_pathway("c2d", None, 8, 8)
            | OLD
            | STEPS
            | {
                "SOLVER.STEPS": [0, 44, 88, 118],
                "SOLVER.MAX_EPOCH": 118,
                "SOLVER.WARMUP_EPOCHS": 0,
                "TRAIN.CHECKPOINT_INFLATE": True,
            },
        ),
        "X3D_XS": (1, x3d(2.2, 4, 12, (160, 182), [182, 228])),
        "X3D_S": (1, x3d(2.2, 13, 6, (160, 182), [182, 228])),
        "X3D_M": (1, x3d(2.2, 16, 5, (224, 256), [256, 320])),
        "X3D_L": (1, x3d(5.0, 16, 5, (312, 356), [356, 446])),
        "MECCANO/SLOWFAST_8x8_R50": (2, MECCANO | {"TRAIN.BATCH_SIZE": 42}),
        "MECCANO/first_version": (2, MECCANO | OLD | {"TRAIN.BATCH_SIZE": 20}),
        "MECCANO/ehoi": (
            2,
            MECCANO
            | {
                "MODEL.NUM_CLASSES": 12,
                "TRAIN.BATCH_SIZE": 48,
                "TEST.SAVE_RESULTS_PATH": "out_predictions",
                "TENSORBOARD.ENABLE": True,
                "TENSORBOARD.LOG_DIR": "tensorboard/",
            },
        ),
        "fork/3DMobileNet": (
            1,
            one_pathway("mobilenet", "MobileNet", 16, 2)
            | {
                "RESNET.TRANS_FUNC": "x3d_transform",
                "MODEL.HEAD_ACT": "same",
                "MODEL.WIDTH_MULT": 1,
                "FINE_TUNING.ENABLE": False,
            },
        ),
    }.items()
}
