"""SOLVER, TRAIN, TEST and the keys of a run as a whole."""

from __future__ import annotations

from slowfast.config.keys import Key, Tree

CHECKPOINT_TYPES = ("pytorch", "caffe2", "pytorchvideo")

SCHEDULE: Tree = {
    "BASE_LR": Key(0.1, "Learning rate after warm-up, for the whole batch.", low=0),
    "LR_POLICY": Key(
        "cosine",
        "Schedule: cosine, or steps_with_relative_lrs (BASE_LR times LRS[i] from epoch STEPS[i]).",
        options=("cosine", "steps_with_relative_lrs"),
    ),
    "COSINE_END_LR": Key(0.0, "Learning rate at MAX_EPOCH of the cosine schedule.", low=0),
    "COSINE_AFTER_WARMUP": Key(False, "Start the cosine after warm-up rather than at epoch 0."),
    "GAMMA": Key(0.1, "Decay factor of exponential schedules; no schedule here reads it.", low=0),
    "STEP_SIZE": Key(1, "Epochs per decay of exponential schedules; nothing reads it.", low=1),
    "STEPS": Key([], "Epochs where LRS change, rising from 0.", item=float, low=0),
    "LRS": Key([], "Learning rates relative to BASE_LR, one per step.", item=float, low=0),
    "MAX_EPOCH": Key(300, "Epochs of training.", low=0),
    "WARMUP_FACTOR": Key(0.1, "Old form of WARMUP_START_LR; nothing reads it.", low=0),
    "WARMUP_EPOCHS": Key(
        0.0, "Epochs (may be a fraction) of linear rise from WARMUP_START_LR.", low=0
    ),
    "WARMUP_START_LR": Key(0.01, "Learning rate at epoch 0 of the warm-up.", low=0),
    "BASE_LR_SCALE_NUM_SHARDS": Key(
        False, "Multiply BASE_LR, WARMUP_START_LR and COSINE_END_LR by NUM_SHARDS."
    ),
}

OPTIMIZER: Tree = {
    "OPTIMIZING_METHOD": Key(
        "sgd",
        "sgd, adam, adamw; mt_adamw is read as adamw.",
        options=("sgd", "adam", "adamw", "mt_adamw"),
    ),
    "MOMENTUM": Key(0.9, "Momentum of SGD.", low=0, high=1),
    "DAMPENING": Key(0.0, "Dampening of SGD's momentum; must be 0 with NESTEROV.", low=0),
    "NESTEROV": Key(True, "Nesterov momentum in SGD."),
    "BETAS": Key((0.9, 0.999), "Decay rates of Adam's two moments.", low=0, high=1),
    "WEIGHT_DECAY": Key(1e-4, "Weight decay of all but batch norm (BN.WEIGHT_DECAY).", low=0),
    "ZERO_WD_1D_PARAM": Key(False, "No weight decay on biases and other 1-D parameters."),
    "CLIP_GRAD_VAL": Key(
        None, "Largest absolute value of a gradient element; None: no limit.", types=(float,), low=0
    ),
    "CLIP_GRAD_L2NORM": Key(
        None, "Largest L2 norm of the whole gradient; None: no limit.", types=(float,), low=0
    ),
    "ACCUMULATE_STEPS": Key(
        1, "Batches whose gradients are averaged before the optimizer steps once.", low=1
    ),
}

EARLY_STOPPING: Tree = {
    "ENABLE": Key(False, "Stop when METRIC has not improved for PATIENCE evaluations."),
    "PATIENCE": Key(10, "Evaluations without improvement that are borne.", low=0),
    "MIN_DELTA": Key(0.001, "Smallest change of METRIC that counts as improvement.", low=0),
    "METRIC": Key("top1_err", "Validation metric that is watched: top1_err, top5_err, loss, ..."),
    "MODE": Key("min", "min: lower is better; max: higher is.", options=("min", "max")),
}

TRAIN: Tree = {
    "ENABLE": Key(True, "Train; False: only test, where TEST.ENABLE is True."),
    "DATASET": Key(
        "kinetics", "Entry of the dataset registry, in any case: kinetics, video_folder"
    ),
    "BATCH_SIZE": Key(64, "Clips per step over all processes of one machine.", low=1),
    "EVAL_PERIOD": Key(10, "Epochs between validations; the last epoch is validated too.", low=1),
    "CHECKPOINT_PERIOD": Key(10, "Epochs between checkpoints; the last is saved too.", low=1),
    "KEEP_CHECKPOINTS": Key(0, "Newest checkpoints kept on disk; 0: all.", low=0),
    "BEST_METRIC": Key("top1_err", "Validation metric that chooses best.pyth; *err, loss: lower."),
    "AUTO_RESUME": Key(True, "Go on from the newest checkpoint of OUTPUT_DIR, if there is one."),
    "CHECKPOINT_FILE_PATH": Key("", "Weights to start from; resuming goes before it."),
    "CHECKPOINT_TYPE": Key(
        "pytorch",
        "Format of those weights: pytorch (PySlowFast names), caffe2 (.pkl), pytorchvideo.",
        options=CHECKPOINT_TYPES,
    ),
    "CHECKPOINT_MIN_LOADED": Key(
        0.5,
        "Smallest share of the parameters that must fit when starting from weights.",
        low=0,
        high=1,
    ),
    "CHECKPOINT_INFLATE": Key(False, "Weights are of a 2-D network: repeat them over time."),
    "CHECKPOINT_EPOCH_RESET": Key(
        False, "Start at epoch 0 with a fresh optimizer though the weights are a checkpoint's."
    ),
    "CHECKPOINT_CLEAR_NAME_PATTERN": Key(
        (), 'Texts removed from the names of the weights, e.g. ("backbone.",).', item=str
    ),
    "MIXED_PRECISION": Key(False, "Automatic mixed precision, in AMP_DTYPE."),
    "AMP_DTYPE": Key(
        "auto",
        "bf16, fp16 (with loss scaling), or auto (bf16 where the device has it).",
        options=("auto", "bf16", "fp16"),
    ),
    "KILL_LOSS_EXPLOSION_FACTOR": Key(
        0.0, "Stop when the loss exceeds this times its running value; 0: never.", low=0
    ),
    "EMA": {
        "ENABLE": Key(False, "Evaluate and save an exponential moving average of the weights."),
        "DECAY": Key(0.9999, "Share of the average that is kept at every step.", low=0, high=1),
    },
}

TEST: Tree = {
    "ENABLE": Key(True, "Test: after training, or alone where TRAIN.ENABLE is False."),
    "DATASET": Key("kinetics", "Entry of the dataset registry, in any case."),
    "BATCH_SIZE": Key(8, "Clips per forward pass, over all processes of one machine.", low=1),
    "CHECKPOINT_FILE_PATH": Key("", "Weights to test; empty: the newest checkpoint of OUTPUT_DIR."),
    "CHECKPOINT_TYPE": Key("pytorch", "Format of those weights.", options=CHECKPOINT_TYPES),
    "NUM_ENSEMBLE_VIEWS": Key(
        10, "Clips per video, spread over time; -1: one test each with 1, 3, 5, 7, 10.", low=-1
    ),
    "NUM_SPATIAL_CROPS": Key(
        3, "Crops per clip: 3 left/centre/right along the longer side, 1 centre.", low=1, high=3
    ),
    "NUM_TEMPORAL_CLIPS": Key(
        [], "Several values of NUM_ENSEMBLE_VIEWS, tested one after another.", item=int, low=1
    ),
    "SAVE_RESULTS_PATH": Key("", "Predictions are saved to OUTPUT_DIR/<this>; empty: not."),
    "TOPK": Key([1, 5], "Accuracies reported: k best of C classes, min(k, C).", low=1),
}

RUN: Tree = {
    "TASK": Key("", "Put in front of checkpoint names, as PySlowFast does."),
    "DEVICE": Key(
        "auto",
        "cuda, mps, cpu, or auto (the first there is, NUM_GPUS 0: cpu).",
        options=("auto", "cuda", "mps", "cpu"),
    ),
    "NUM_GPUS": Key(1, "GPUs, one process each; 0, or no GPU present: the CPU.", low=0),
    "CPU_PROCESSES": Key(
        1,
        "Processes that share the cores and each batch where there is no GPU. Small models gain: "
        "their operations are too short to be split over threads. At most one per core is started.",
        low=1,
    ),
    "NUM_SHARDS": Key(1, "Machines of the run.", low=1),
    "SHARD_ID": Key(0, "Number of this machine, from 0.", low=0),
    "DIST_BACKEND": Key(
        "nccl", "Library of collectives on GPUs; CPUs use gloo.", options=("nccl", "gloo", "mpi")
    ),
    "OUTPUT_DIR": Key(".", "Folder of checkpoints, logs and results."),
    "RNG_SEED": Key(1, "Seed of weights, order, sampling and augmentation."),
    "LOG_PERIOD": Key(10, "Steps between log lines.", low=1),
    "LOG_MODEL_INFO": Key(True, "Log the model's parameters and MACs at the start."),
    "PROGRESS": Key(
        "auto",
        "bar (progress bar), log (lines), none; auto: bar on a terminal, lines elsewhere.",
        options=("auto", "bar", "log", "none"),
    ),
}

NODES: Tree = {
    "SOLVER": {**SCHEDULE, **OPTIMIZER, "EARLY_STOPPING": EARLY_STOPPING},
    "TRAIN": TRAIN,
    "TEST": TEST,
    **RUN,
}
