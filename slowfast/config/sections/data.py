"""DATA, DATA_LOADER and the augmentation nodes."""

from __future__ import annotations

from slowfast.config.keys import Key, Tree

FILES: Tree = {
    "PATH_TO_DATA_DIR": Key("", "Folder with train.csv, val.csv, test.csv, or with the videos."),
    "PATH_LABEL_SEPARATOR": Key(
        " ", "Separator of path and label in a CSV row; other common ones are recognised."
    ),
    "PATH_PREFIX": Key("", "Joined in front of every path of the CSV."),
    "CLASS_NAMES_PATH": Key(
        "", "JSON {name: class} or text file with one name per line; empty: what the data say."
    ),
    "SPLIT_RATIO": Key(
        [0.7, 0.15, 0.15],
        "Shares of train, val and test where a folder of videos has no split folders; sum 1.",
        low=0,
        high=1,
    ),
    "SKIP_ROWS": Key(0, "Rows to skip at the top of a CSV.", low=0),
    "MAX_BAD_VIDEOS": Key(
        10, "Training stops once more than this many different videos cannot be read.", low=0
    ),
    "FIXED_VIEWS": Key(
        False,
        "Draw the same crop, frames and colours of a training video in every epoch, so that what a "
        "teacher says of it can be kept.",
    ),
    "BAD_VIDEOS_FILE": Key(
        "",
        "Text file with one path per line (tools/check_data.py writes it): left out of training.",
    ),
    "CACHE_DIR": Key(
        "",
        "Folder on a local disk, for this alone, that keeps the decoded, scaled frames clips need; "
        "empty: none.",
    ),
    "CACHE_GB": Key(20.0, "Largest size of CACHE_DIR, GB; randomly chosen entries go.", low=0),
    "DUMMY_LOAD": Key(False, "Random clips instead of files: for benchmarks and smoke runs."),
    "DECODING_BACKEND": Key(
        "pyav",
        "Library that decodes: pyav, opencv, torchcodec, torchcodec_cuda (NVDEC, the decoder of "
        "NVIDIA GPUs; needs DATA_LOADER.NUM_WORKERS 0). torchvision and decord are read as pyav.",
        options=("pyav", "opencv", "torchcodec", "torchcodec_cuda", "torchvision", "decord"),
    ),
    "DECODING_SHORT_SIZE": Key(
        256, "Short side in pixels up to which test views may be scaled while decoding.", low=0
    ),
}

SAMPLING: Tree = {
    "NUM_FRAMES": Key(
        8,
        "Frames per clip, T (of the Fast pathway: alpha times the Slow pathway's T).",
        low=1,
        structural=True,
    ),
    "SAMPLING_RATE": Key(
        8, "Stride: distance of a clip's frames in source frames at TARGET_FPS, tau.", low=1
    ),
    "SAMPLING_MODE": Key(
        "stride",
        "stride: frames SAMPLING_RATE apart; segment: one frame from each of NUM_FRAMES equal "
        "parts of the action, whatever its length (MECCANO, TSN).",
        options=("stride", "segment"),
    ),
    "REPEAT_FRAME": Key(
        False,
        "Show the middle frame of the clip NUM_FRAMES times: the control experiment that tells "
        "how much of an accuracy is due to motion.",
    ),
    "TARGET_FPS": Key(
        30.0,
        "Frames per second that SAMPLING_RATE refers to; videos are converted. 0: each video's own "
        "rate, SAMPLING_RATE counts its frames.",
        low=0,
    ),
    "TRAIN_JITTER_FPS": Key(
        0.0, "Training draws the target rate from TARGET_FPS + [0, this), in frames/s.", low=0
    ),
    "FRAME_JITTER": Key(
        False, "Move each frame of a training clip by a random part of the stride, on its own."
    ),
    "SHORT_VIDEO": Key(
        "hold",
        "How a video shorter than the clip fills it: hold (its last frame), loop (from its start).",
        options=("hold", "loop"),
    ),
    "USE_OFFSET_SAMPLING": Key(
        False, "Test clips reach from the first to the last possible start of the video."
    ),
    "INPUT_CHANNEL_NUM": Key(
        [3, 3],
        "Channels of every pathway, slow first; [3] for one pathway.",
        low=1,
        structural=True,
    ),
    "MEAN": Key([0.45, 0.45, 0.45], "Subtracted from RGB values in 0..1."),
    "STD": Key([0.225, 0.225, 0.225], "RGB values in 0..1 less MEAN are divided by it.", low=1e-6),
    "REVERSE_INPUT_CHANNEL": Key(False, "Feed BGR instead of RGB."),
    "MULTI_LABEL": Key(False, "Several labels per video: mean average precision is the metric."),
    "ENSEMBLE_METHOD": Key(
        "sum",
        "How the scores of a video's views become one: sum or max.",
        options=("sum", "max"),
    ),
}

SPATIAL: Tree = {
    "TRAIN_JITTER_SCALES": Key(
        [256, 320],
        "Training scales the short side to a random length of this range, pixels.",
        low=1,
    ),
    "TRAIN_JITTER_SCALES_RELATIVE": Key(
        [],
        "Range of the crop's share of the frame area (random resized crop, e.g. [0.08, 1.0]); "
        "non-empty: TRAIN_JITTER_SCALES is not used.",
        item=float,
        low=0,
        high=1,
    ),
    "TRAIN_JITTER_ASPECT_RELATIVE": Key(
        [], "Range of the crop's width/height, e.g. [0.75, 1.3333].", item=float, low=0.01
    ),
    "MULTI_SCALE_CROP": Key(
        [],
        "Shares of the short side, e.g. [1, 0.875, 0.75, 0.66], from which the height and width of "
        "a training crop are drawn, at one of 13 fixed places (TSN); not empty: it replaces "
        "TRAIN_JITTER_SCALES in training.",
        item=float,
        low=0.01,
        high=1,
    ),
    "TRAIN_JITTER_MOTION_SHIFT": Key(
        False, "Random resized crop moves linearly from one box to another over the clip."
    ),
    "TRAIN_CROP_SIZE": Key(224, "Side of the square training and validation crop, pixels.", low=1),
    "TEST_CROP_SIZE": Key(256, "Side of the square test crop, pixels.", low=1),
    "RESIZE": Key(
        [],
        "Height and width in pixels that whole frames are brought to, whatever their shape, "
        "instead of jitter and crops, in training and testing. Empty: jitter and crops.",
        item=int,
        low=1,
    ),
    "INV_UNIFORM_SAMPLE": Key(
        False, "Draw 1/scale uniformly rather than the scale of TRAIN_JITTER_SCALES."
    ),
    "RANDOM_FLIP": Key(True, "Mirror training clips left-right with probability 0.5."),
    "COLOR_RND_GRAYSCALE": Key(
        0.0, "Probability that a training clip is turned to gray.", low=0, high=1
    ),
    "TRAIN_PCA_EIGVAL": Key(
        [0.225, 0.224, 0.229], "Eigenvalues of the RGB covariance, for PCA colour jitter."
    ),
    "TRAIN_PCA_EIGVEC": Key(
        [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]],
        "Eigenvectors of the RGB covariance, one per row.",
    ),
}

DATA_LOADER: Tree = {
    "NUM_WORKERS": Key(
        8, "Loader processes per training process, at most one per core; 0: none.", low=0
    ),
    "PIN_MEMORY": Key(True, "Page-locked batches: faster copies to a GPU; no effect without."),
    "ENABLE_MULTI_THREAD_DECODE": Key(False, "Let the decoder of each worker use several threads."),
    "PERSISTENT_WORKERS": Key(True, "Keep the workers alive between epochs."),
    "PREFETCH_FACTOR": Key(2, "Batches that every worker prepares ahead.", low=1),
    "TIMEOUT": Key(
        1800.0, "Seconds to wait for a batch of the workers before failing; 0: for ever.", low=0
    ),
}

AUG: Tree = {
    "ENABLE": Key(False, "Colour augmentation (RandAugment) and random erasing in training."),
    "NUM_SAMPLE": Key(
        1, "Differently augmented clips per video and step; only 1 is built here.", low=1
    ),
    "COLOR_JITTER": Key(
        0.4,
        "Range of brightness, contrast and saturation jitter; used where AA_TYPE is empty.",
        low=0,
    ),
    "AA_TYPE": Key(
        "rand-m9-mstd0.5-inc1",
        "RandAugment: m magnitude 0..10, n operations (2), mstd deviation of the magnitude, inc1 "
        "operations that grow with it, p probability (0.5). Empty: none.",
    ),
    "INTERPOLATION": Key(
        "bicubic",
        "Interpolation of RandAugment's geometric operations; bicubic and random act as bilinear.",
        options=("bicubic", "bilinear", "random"),
    ),
    "CROSSNORM_PROB": Key(
        0.0,
        "Probability that a training clip gets the colour statistics of another one (CrossNorm).",
        low=0,
        high=1,
    ),
    "CROSSNORM_FILE": Key(
        "",
        "List of those statistics; empty: mean_std_list.txt in DATA.PATH_TO_DATA_DIR. "
        "tools/make_mean_std.py writes it.",
    ),
    "ROTATE_PROB": Key(0.0, "Probability that a training clip is rotated.", low=0, high=1),
    "ROTATE_DEGREES": Key(10.0, "Largest angle of it, to either side.", low=0, high=180),
    "PHOTOMETRIC": {
        "PROB": Key(
            0.0,
            "Share of the training clips that get photometric distortion: each of the following "
            "with probability 0.5. Never together with CrossNorm.",
            low=0,
            high=1,
        ),
        "BRIGHTNESS": Key(
            [65.0, 190.0], "Range of the mean grey level a clip is brought to.", low=0, high=255
        ),
        "CONTRAST": Key([0.6, 1.4], "Range of the contrast factor.", low=0),
        "SATURATION": Key([0.7, 1.3], "Range of the saturation factor.", low=0),
        "HUE": Key(18.0, "Largest turn of the hue, degrees of 360.", low=0, high=180),
    },
    "RE_PROB": Key(0.25, "Probability that a rectangle of a clip is erased.", low=0, high=1),
    "RE_MODE": Key(
        "pixel",
        "What it is filled with: pixel (noise per pixel), rand (one random colour), const (0).",
        options=("pixel", "rand", "const"),
    ),
    "RE_COUNT": Key(1, "Most rectangles erased per clip.", low=1),
    "RE_SPLIT": Key(False, "Leave the first half of the clips of a batch without erasing."),
}

MIXUP: Tree = {
    "ENABLE": Key(False, "Mix pairs of training clips; needs MODEL.LOSS_FUNC soft_cross_entropy."),
    "ALPHA": Key(0.8, "alpha of the Beta distribution of mixup's weight; 0: no mixup.", low=0),
    "CUTMIX_ALPHA": Key(1.0, "alpha of the Beta distribution of cutmix; 0: no cutmix.", low=0),
    "PROB": Key(1.0, "Probability that a batch is mixed.", low=0, high=1),
    "SWITCH_PROB": Key(
        0.5, "Probability of cutmix where mixup and cutmix are both on.", low=0, high=1
    ),
    "LABEL_SMOOTH_VALUE": Key(
        0.1, "Share of the target spread evenly over all classes.", low=0, high=1
    ),
}

EPICKITCHENS: Tree = {
    "VISUAL_DATA_DIR": Key("", "Folder of frames or videos; empty: DATA.PATH_TO_DATA_DIR."),
    "ANNOTATIONS_DIR": Key("", "Folder of the EPIC_100_*.csv files; empty: the data folder."),
    "TRAIN_LIST": Key(
        "EPIC_100_train.pkl", "Training segments; .csv and .pkl stand in for each other."
    ),
    "VAL_LIST": Key("EPIC_100_validation.pkl", "Validation segments."),
    "TEST_LIST": Key(
        "EPIC_100_validation.pkl",
        "Test segments; without classes (EPIC_100_test_timestamps) results are saved, not scored.",
    ),
    "TEST_SPLIT": Key(
        "validation",
        "Which participants are unseen in TEST_LIST: those of "
        "EPIC_100_unseen_participant_ids_<this>.csv.",
    ),
    "TRAIN_PLUS_VAL": Key(False, "Train on both splits, for a final submission."),
    "SOURCE": Key(
        "auto",
        "What the data folder holds: frames, video files, or auto to look.",
        options=("auto", "frames", "video"),
    ),
    "FRAME_INDEX_BASE": Key(1, "Number of the first image of a frame folder.", options=(0, 1)),
    "ALLOW_MISSING": Key(False, "Leave out segments whose video is not there, with a warning."),
}

FEATURES: Tree = {
    "FRAMES_DIR": Key(
        "rawframes_rgb", "Frame folders or video files, below DATA.PATH_TO_DATA_DIR."
    ),
    "FEATURES_DIR": Key("flow", "One <video>.npy per video, a row per clip; likewise."),
    "INTERVAL": Key(6, "Frames from one row, and clip, to the next.", low=1),
    "NUM_VAL": Key(300, "Videos held out for validation, the last by name.", low=0),
    "TRAIN_LIST": Key(
        "", "Text file with a video name per line, below the data folder; empty: by NUM_VAL."
    ),
    "VAL_LIST": Key("", "The same for validation and test."),
}

RAWFRAMES: Tree = {
    f"{split}_{leaf}": Key([], doc, item=str)
    for split in ("TRAIN", "VAL", "TEST")
    for leaf, doc in (
        ("LISTS", f"Annotation files of {split.lower()}. Empty: {split.lower()}.txt."),
        ("ROOTS", "Folders with the frames of these lists. Empty: DATA.PATH_TO_DATA_DIR."),
    )
}

SHARDS: Tree = {
    "BUFFER": Key(
        256, "Samples among which training draws the next one; 1: as they lie in the shards.", low=1
    ),
    "STREAMS": Key(
        8,
        "Places of an epoch's shards that training reads from by turns; a multiple of "
        "DATA_LOADER.NUM_WORKERS lets every worker read from front to back.",
        low=1,
    ),
}

NODES: Tree = {
    "DATA": {**FILES, **SAMPLING, **SPATIAL},
    "DATA_LOADER": DATA_LOADER,
    "AUG": AUG,
    "MIXUP": MIXUP,
    "EPICKITCHENS": EPICKITCHENS,
    "FEATURES": FEATURES,
    "RAWFRAMES": RAWFRAMES,
    "SHARDS": SHARDS,
}
