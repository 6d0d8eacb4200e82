"""SOLVER, TRAIN, TEST and the keys of a run as a whole."""

from __future__ import annotations

from slowfast.config.keys import Key, Tree

CHECKPOINT_TYPES = ("pytorch", "caffe2", "pytorchvideo", "ote")

SCHEDULE: Tree = {
    "BASE_LR": Key(0.1, "Learning rate after warm-up, for the whole batch.", low=0),
    "LR_POLICY": Key(
        "cosine",
        "Schedule: cosine, or steps_with_relative_lrs (BASE_LR times LRS[i] from epoch STEPS[i]).",
        options=("cosine", "steps_with_relative_lrs"),
    ),
    "COSINE_END_LR": Key(0.0, "Learning rate at MAX_EPOCH of the cosine schedule.", low=0),
    "COSINE_AFTER_WARMUP": Key(False, "Start the cosine after warm-up rather than at epoch 0."),
    "COSINE_POWER": Key(
        1.0,
        "Power of the cosine's progress from 0 to 1: above 1 the rate stays high longer.",
        low=0.1,
    ),
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
    "WARMUP_CURVE": Key(
        "linear",
        "Shape of the rise: linear, or cosine (half a wave).",
        options=("linear", "cosine"),
    ),
    "HEAD_WARMUP_EPOCHS": Key(
        0,
        "Epochs before all others in which only the head trains: the rest has no gradient and its "
        "batch norms keep their statistics. WARMUP_EPOCHS follow; STEPS count from the beginning.",
        low=0,
    ),
    "HEAD_WARMUP_LR_MULT": Key(1.0, "Learning rate of those epochs over BASE_LR.", low=0),
    "HEAD_WARMUP_NAMES": Key(
        ["head"], "Texts in the names of the modules that make up the head.", item=str
    ),
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
    "CLIP_GRAD_ADAPTIVE": Key(
        None,
        "Adaptive gradient clipping: largest norm of a unit's (output channel's) gradient over the "
        "norm of its weights, classifiers excepted (Brock et al. 2021); before the other limits. "
        "None: no limit.",
        types=(float,),
        low=0,
    ),
    "ACCUMULATE_STEPS": Key(
        1, "Batches whose gradients are averaged before the optimizer steps once.", low=1
    ),
}

EARLY_STOPPING: Tree = {
    "ENABLE": Key(False, "Stop when METRIC has not improved for PATIENCE evaluations."),
    "PATIENCE": Key(10, "Evaluations without improvement that are borne.", low=0),
    "MIN_DELTA": Key(0.001, "Smallest change of METRIC that counts as improvement.", low=0),
    "METRIC": Key("top1_err", "Validation metric that is watched; see TRAIN.BEST_METRIC."),
    "MODE": Key(
        "auto",
        "min: lower is better; max: higher is; auto: by the name, *err and *loss: lower.",
        options=("auto", "min", "max"),
    ),
}

TRAIN: Tree = {
    "ENABLE": Key(True, "Train; False: only test, where TEST.ENABLE is True."),
    "DATASET": Key(
        "kinetics", "Entry of the dataset registry, in any case: kinetics, video_folder"
    ),
    "BATCH_SIZE": Key(64, "Clips per step over all processes of one machine.", low=1),
    "EVAL_PERIOD": Key(10, "Epochs between validations; the last epoch is validated too.", low=1),
    "CHECKPOINT_PERIOD": Key(10, "Epochs between checkpoints; the last is saved too.", low=1),
    "CHECKPOINT_STEPS": Key(
        0, "Batches between checkpoints within an epoch, for epochs of hours; 0: none.", low=0
    ),
    "KEEP_CHECKPOINTS": Key(0, "Newest checkpoints kept on disk; 0: all.", low=0),
    "BEST_METRIC": Key(
        "top1_err",
        "Validation metric that chooses best.pyth: top1_err, top5_acc, mean_class_f1, loss, ... "
        "(*err, *loss: lower is better). Several tasks put their name in front, verb_top1_acc; "
        "action_top1_err is of all their classes together, and what top1_err then means.",
    ),
    "AUTO_RESUME": Key(True, "Go on from the newest checkpoint of OUTPUT_DIR, if there is one."),
    "CHECKPOINT_FILE_PATH": Key("", "Weights to start from; resuming goes before it."),
    "CHECKPOINT_TYPE": Key(
        "pytorch",
        "Format of those weights: pytorch (PySlowFast names), caffe2 (.pkl), pytorchvideo, "
        "ote (OpenVINO Training Extensions, of MobileNetV3).",
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
    "MAX_SKIPPED_LOSSES": Key(
        0,
        "Batches of a training to leave out because their loss was not finite (or exploded, see "
        "KILL_LOSS_EXPLOSION_FACTOR) before it stops; 0: stop at the first.",
        low=0,
    ),
    "KILL_LOSS_EXPLOSION_FACTOR": Key(
        0.0, "Stop when the loss exceeds this times its running value; 0: never.", low=0
    ),
    "EMA": {
        "ENABLE": Key(False, "Evaluate and save an exponential moving average of the weights."),
        "DECAY": Key(0.9999, "Share of the average that is kept at every step.", low=0, high=1),
    },
    "SAMPLE_FILTER": {
        "ENABLE": Key(
            False,
            "Learn which parts of untrimmed, noisy training videos show their label, and draw "
            "clips there. Needs DATA.SAMPLING_MODE stride.",
        ),
        "WARMUP_EPOCHS": Key(1, "First epochs, whose predictions tell nothing yet.", low=0),
        "COVERAGE": Key(
            0.8,
            "Share of a video's frames that must have been seen before it is filtered.",
            low=0,
            high=1,
        ),
    },
}

AM_SOFTMAX: Tree = {
    "MARGIN": Key(0.35, "m: taken off the cosine of the true class.", low=0),
    "SCALE_START": Key(30.0, "s at the beginning: what cosines are multiplied by.", low=0),
    "SCALE_END": Key(5.0, "s after SCALE_EPOCHS.", low=0),
    "SCALE_EPOCHS": Key(
        40.0,
        "Epochs over which s goes from start to end, levelling off; 0: SCALE_END always.",
        low=0,
    ),
    "ENTROPY_WEIGHT": Key(
        0.085, "Entropy of the prediction in nats, times this, is rewarded.", low=0
    ),
    "POSITIVES_ONLY": Key(True, "Average only over the clips whose loss is above 0."),
    "CENTRE_PUSH": Key(
        1.0, "Weight of the mean excess of the cosines between class centres; 0: off.", low=0
    ),
    "CENTRE_THRESHOLD": Key(
        0.1, "Cosine of two centres above which they are pushed apart.", low=-1
    ),
    "LOCAL_PUSH": Key(
        0.0,
        "Weight of the push between clips of different classes: how much nearer the nearest is "
        "than the own centre; 0: off.",
        low=0,
    ),
    "LOCAL_THRESHOLD": Key(0.1, "Cosine to the own centre above which the push relaxes.", low=-1),
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
    "SAVE_RESULTS_PATH": Key(
        "",
        "Predictions are saved to OUTPUT_DIR/<this>.npz and .json; empty: not. Of EPIC-KITCHENS "
        "also <this>_epic.pkl, the challenge's results file, for tools/epic_submission.py.",
    ),
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

DISTRIBUTED: Tree = {
    "STRATEGY": Key(
        "ddp",
        "What several processes hold: ddp, the whole model each; fsdp (FSDP2), a share of weights, "
        "gradients and optimizer states each, for models too large for one GPU.",
        options=("ddp", "fsdp"),
    ),
    "GRAD_COMPRESSION": Key(
        "none",
        "How ddp sends gradients: none (float32), fp16, bf16 (half the bytes), powersgd (low-rank, "
        "with error feedback).",
        options=("none", "fp16", "bf16", "powersgd"),
    ),
    "POWERSGD_RANK": Key(1, "Rank of powersgd's matrices: higher is more exact and slower.", low=1),
    "POWERSGD_START": Key(1000, "Steps with uncompressed gradients before powersgd begins.", low=2),
}

NODES: Tree = {
    "DISTRIBUTED": DISTRIBUTED,
    "SOLVER": {**SCHEDULE, **OPTIMIZER, "EARLY_STOPPING": EARLY_STOPPING},
    "AM_SOFTMAX": AM_SOFTMAX,
    "TRAIN": TRAIN,
    "TEST": TEST,
    **RUN,
}
