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
    "TEACHER_ARCH": Key("slowfast", "MODEL.ARCH of the teacher."),
    "STUDENT_ARCH": Key("x3d", "MODEL.ARCH of the student."),
    "STUDENT_CHECKPOINT": Key("", "Weights the student starts from."),
    "TEACHER_CFG_FILE": Key("", "YAML of the teacher."),
}

QUANTIZATION: Tree = {
    "ENABLE": Key(False, "Quantise to int8."),
    "QAT": Key(False, "Train with simulated quantisation rather than calibrate afterwards."),
    "BACKEND": Key("fbgemm", "Kernels: fbgemm (x86), qnnpack (ARM)."),
    "CALIBRATION_NUM_BATCHES": Key(10, "Batches that set the ranges of activations.", low=1),
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
    "CATEGORIES_PATH": Key("", "JSON {category: [class names]}."),
    "CONFUSION_MATRIX": {
        "ENABLE": Key(False, "Draw the confusion matrix."),
        "FIGSIZE": Key([8, 8], "Width and height of the figure, inches.", item=float, low=1),
        "SUBSET_PATH": Key("", "Text file with the class names to draw, one per line."),
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

NODES: Tree = {
    "PRUNING": PRUNING,
    "DISTILLATION": DISTILLATION,
    "QUANTIZATION": QUANTIZATION,
    "BENCHMARK": BENCHMARK,
    "TENSORBOARD": TENSORBOARD,
    "DEMO": DEMO,
}
