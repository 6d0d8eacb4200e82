"""Compression, benchmark, demo and TensorBoard."""

from __future__ import annotations

from slowfast.config.keys import Key, Tree

PRUNING: Tree = {
    "ENABLE": Key(False, "The checkpoint to start from is a pruned one."),
    "GLOBAL": Key(False, "Rank channels over the whole network, not layer by layer."),
    "ISOMORPHIC": Key(False, "Rank channels among layers of equal structure."),
    "PRUNING_METHOD": Key("l1", "Importance of a channel: entry of the pruner registry."),
    "PRUNING_RATE": Key(0.05, "Pruning ratio: share of channels removed.", low=0, high=1),
    "PRUNING_MAX_RATE": Key(0.25, "Largest pruning ratio of a sweep.", low=0, high=1),
    "PRUNING_MAX_EPOCH": Key(1, "Epochs of finetuning after pruning.", low=0),
    "CHECKPOINT_FILE_PATH": Key("", "Weights to prune."),
    "CHECKPOINT_TYPE": Key(
        "pytorch", "Format of those weights.", options=("pytorch", "caffe2", "pytorchvideo")
    ),
    "FINE_TUNING_AFTER_PRUNING": Key(False, "Finetune after pruning."),
    "EVALUATE_AFTER_FINE_TUNNING": Key(
        False, "Test after finetuning (the key is spelled this way in files in use)."
    ),
    "TARGET_MACS": Key(0.0, "Share of the MACs to keep, in place of a ratio; 0: off.", low=0),
    "TARGET_PARAMS": Key(0.0, "Share of the parameters to keep; 0: off.", low=0),
    "TARGET_LATENCY_MS": Key(0.0, "Measured time of a clip to reach, ms; 0: off.", low=0),
    "RUNTIME": Key(
        "eager",
        "What times a clip: torch as it is, or an exported model on the CPU.",
        options=("eager", "onnxruntime", "openvino"),
    ),
    "ROUND_TO": Key(1, "Channels left in a layer are a multiple of this.", low=1),
    "PROTECT": Key([], "Layers, by name or pattern, that keep all channels.", item=str),
    "PROTECT_STEMS": Key(True, "Stems and the first temporal convolution keep all channels."),
    "NUM_BATCHES": Key(10, "Training batches that taylor and hessian look at.", low=1),
    "ITERATIVE_STEPS": Key(1, "Cuts towards the goal, each with scores of its own.", low=1),
    "STEP_EPOCHS": Key(0, "Epochs of training between those cuts.", low=0),
    "SPARSE_EPOCHS": Key(0, "Epochs of training towards sparse channels before.", low=0),
    "SPARSE_WEIGHT": Key(0.01, "Weight of the sparsity penalty in them.", low=0),
    "SPARSE_KIND": Key(
        "group_norm",
        "Penalty: weights tied to a channel, or scales of batch norms.",
        options=("group_norm", "bn_scale"),
    ),
    "LR_FACTOR": Key(1.0, "SOLVER.BASE_LR of all these trainings is multiplied by it.", low=0),
    "DISTIL": Key(True, "Finetune with the unpruned model as teacher (DISTILLATION)."),
    "EVAL_SPLIT": Key("test", "Split that accuracies are of.", options=("val", "test")),
}

DISTILLATION: Tree = {
    "ENABLE": Key(False, "Train a student from a teacher."),
    "TEMPERATURE": Key(4.0, "T: logits are divided by it before softmax.", low=0.01),
    "ALPHA": Key(
        0.5,
        "alpha: weight of the label loss; 1 - alpha weighs the teacher's. 1: no distillation.",
        low=0,
        high=1,
    ),
    "LOSSES": Key(
        ["dist"],
        "Losses against the teacher: kd, kd_zscore, dkd, dist, feature, attention; several add up, "
        "with weights as in [dist, 'kd=0.5'].",
        item=str,
    ),
    "WARMUP_EPOCHS": Key(
        0.0, "The weight of the teacher's losses rises linearly from 0 over these.", low=0
    ),
    "TEACHER_CHECKPOINTS": Key(
        [], "Weights of the teachers; the logits of several are averaged.", item=str
    ),
    "TEACHER_CFG_FILES": Key(
        [],
        "YAML of each teacher, in the same order; empty: the config in its checkpoint.",
        item=str,
    ),
    "CACHE_TEACHER": Key(
        False,
        "Ask the teachers once and keep their logits in OUTPUT_DIR: needs DATA.FIXED_VIEWS, no "
        "mixup, and losses of logits.",
    ),
    "TEACHER_ARCH": Key("slowfast", "MODEL.ARCH of the teacher."),
    "STUDENT_ARCH": Key("x3d", "MODEL.ARCH of the student."),
    "STUDENT_CHECKPOINT": Key("", "Weights the student starts from."),
    "TEACHER_CFG_FILE": Key("", "YAML of the teacher."),
}

QUANTIZATION: Tree = {
    "ENABLE": Key(False, "Quantise to int8."),
    "QAT": Key(False, "Train with simulated quantisation rather than calibrate alone."),
    "BACKEND": Key("fbgemm", "Kernels of torch in other programs; RUNTIME chooses here."),
    "CALIBRATION_NUM_BATCHES": Key(
        10, "Batches that other programs calibrate on; CALIBRATION_CLIPS counts here.", low=1
    ),
    "CHECKPOINT_FILE_PATH": Key("", "Weights to quantise."),
    "CHECKPOINT_TYPE": Key(
        "pytorch", "Format of those weights.", options=("pytorch", "caffe2", "pytorchvideo")
    ),
    "RUNTIME": Key("onnxruntime", "What will run the file.", options=("onnxruntime", "openvino")),
    "PRECISION": Key("int8", "Of its weights and activations.", options=("int8", "bf16")),
    "CALIBRATION_CLIPS": Key(300, "Training clips that show the activations' ranges.", low=1),
    "RANKING_CLIPS": Key(16, "Of these, clips that tell which layers rounding hurts.", low=1),
    "MAX_DROP": Key(
        1.0, "Points of accuracy (val split) that may be lost before layers stay in float."
    ),
    "QAT_EPOCHS": Key(1, "Epochs of training with simulated quantisation, where QAT.", low=0),
    "LR_FACTOR": Key(0.1, "SOLVER.BASE_LR of that training is multiplied by it.", low=0),
    "EVAL_SPLIT": Key("test", "Split that accuracies are of.", options=("val", "test")),
}

BENCHMARK: Tree = {
    "NUM_EPOCHS": Key(5, "Passes over the data of the loader benchmark.", low=1),
    "LOG_PERIOD": Key(100, "Steps between its log lines.", low=1),
    "SHUFFLE": Key(True, "Shuffle in the loader benchmark."),
    "WARMUP": Key(3, "Steps before the clock starts.", low=0),
    "STEPS": Key(20, "Steps that are timed.", low=1),
}

TENSORBOARD: Tree = {
    "ENABLE": Key(False, "Write TensorBoard files."),
    "PREDICTIONS_PATH": Key("", "Saved predictions to visualise instead of running the model."),
    "LOG_DIR": Key("", "Folder under OUTPUT_DIR; empty: runs-<TRAIN.DATASET>."),
    "CLASS_NAMES_PATH": Key("", "JSON {class name: class}."),
    "CATEGORIES_PATH": Key(
        "", "JSON {category: [class names]}: each category gets pictures of its own."
    ),
    "CONFUSION_MATRIX": {
        "ENABLE": Key(False, "Draw the confusion matrix."),
        "FIGSIZE": Key([8, 8], "Width and height of the figure, inches.", item=float, low=1),
        "SUBSET_PATH": Key("", "Text file with the class names to draw, one per line."),
    },
    "HISTOGRAM": {
        "ENABLE": Key(False, "Draw, for every true class, what is predicted most often."),
        "SUBSET_PATH": Key("", "Text file with the true classes to draw, one per line."),
        "TOPK": Key(10, "Predicted classes shown of each true class.", low=1),
        "FIGSIZE": Key([8, 8], "Width and height of a figure, inches.", item=float, low=1),
    },
    "MODEL_VIS": {
        "ENABLE": Key(False, "Show the tested network at work, after the test."),
        "NUM_VIDEOS": Key(8, "Test videos shown, evenly spaced; 0: all.", low=0),
        "MODEL_WEIGHTS": Key(False, "Histograms of the weights of LAYER_LIST (empty: all)."),
        "ACTIVATIONS": Key(False, "Pictures of what the layers of LAYER_LIST give."),
        "INPUT_VIDEO": Key(False, "Clips as the network sees them, with what is predicted."),
        "LAYER_LIST": Key(
            [],
            "Layers, by name; after a blank may follow which channels, and after a semicolon which "
            "frame of each: 's5/pathway0_res2 0,7;1,1'. Empty: the last with space in its maps.",
            item=str,
        ),
        "TOPK_PREDS": Key(1, "Predicted classes written on INPUT_VIDEO.", low=1),
        "COLORMAP": Key("Pastel2", "Matplotlib's colours of the bars they are written on."),
        "GRAD_CAM": {
            "ENABLE": Key(True, "Show where in the clips the network found it."),
            "LAYER_LIST": Key(
                [], "Layers looked at, by name; empty: the last with space in its maps.", item=str
            ),
            "USE_TRUE_LABEL": Key(False, "Explain the true class, not the predicted one."),
            "COLORMAP": Key("viridis", "Matplotlib's colours of the overlay."),
        },
    },
    "WRONG_PRED_VIS": {
        "ENABLE": Key(False, "Show the test videos that were taken for another class."),
        "TAG": Key("Incorrectly classified videos.", "What they are filed under."),
        "SUBSET_PATH": Key("", "Text file with the true classes to show, one per line."),
        "NUM_VIDEOS": Key(32, "At most so many, the surest mistakes first; 0: all.", low=0),
    },
}

DEMO: Tree = {
    "ENABLE": Key(False, "PySlowFast's run_net runs the demo where this is True."),
    "LABEL_FILE_PATH": Key("", "JSON {class name: class}."),
    "WEBCAM": Key(-1, "Number of the camera; -1: INPUT_VIDEO.", low=-1),
    "INPUT_VIDEO": Key("", "Video file."),
    "DISPLAY_WIDTH": Key(0, "Width frames are scaled to, pixels; 0: as they are.", low=0),
    "DISPLAY_HEIGHT": Key(0, "Height frames are scaled to, pixels; 0: as they are.", low=0),
    "BUFFER_SIZE": Key(0, "Frames that consecutive clips share; at most half a clip.", low=0),
    "OUTPUT_FILE": Key("", "Video to write; empty: show a window."),
    "OUTPUT_FPS": Key(-1, "Frames per second written; -1: the input's.", low=-1),
    "INPUT_FORMAT": Key("BGR", "Channel order of the frames read.", options=("BGR", "RGB")),
    "CLIP_VIS_SIZE": Key(10, "Frames drawn on each side of a clip's centre.", low=0),
    "NUM_VIS_INSTANCES": Key(2, "Processes that draw.", low=0),
    "THREAD_ENABLE": Key(False, "Read frames in a thread of their own."),
    "NUM_CLIPS_SKIP": Key(
        0, "Clips left out after each one predicted; -1: always the newest clip.", low=-1
    ),
    "FPS": Key(30, "Frames per second of a folder of images.", low=1),
    "VIS_MODE": Key(
        "thres",
        "Which labels are drawn: thres (above a threshold) or top-k.",
        options=("thres", "top-k"),
    ),
    "COMMON_CLASS_THRES": Key(
        0.7, "Smallest probability of a common class to be drawn.", low=0, high=1
    ),
    "UNCOMMON_CLASS_THRES": Key(
        0.3, "Smallest probability of any other class to be drawn.", low=0, high=1
    ),
    "SLOWMO": Key(1, "Times that drawn parts play slower.", low=1),
}

PIPELINE: Tree = {
    "STUDENT_CFG_FILE": Key(
        "",
        "YAML of a small network to distil into, as seen from here or from the YAML that names it; "
        "empty: the pruned network is the result.",
    ),
    "PRUNE": Key(
        "--target_macs 0.5 --method group_norm --round_to 8 --finetune_epochs 10",
        "Options of tools/prune.py.",
    ),
    "DISTILL": Key("--loss kd", "Options of tools/distill.py."),
    "QUANTIZE": Key("--backend openvino --precision int8", "Options of tools/quantize.py."),
    "FORMATS": Key(["onnx", "openvino"], "Formats the result is exported in.", item=str),
    "RUNTIME": Key("openvino", "The one of them that is tested, timed and streamed."),
}

NODES: Tree = {
    "PIPELINE": PIPELINE,
    "PRUNING": PRUNING,
    "DISTILLATION": DISTILLATION,
    "QUANTIZATION": QUANTIZATION,
    "BENCHMARK": BENCHMARK,
    "TENSORBOARD": TENSORBOARD,
    "DEMO": DEMO,
}
