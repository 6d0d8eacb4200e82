"""What the tests change in the commands of the documentation, so that a hundred of them run.

All of it is here. The words of a command stay; these are added, and count because they come last.
"""

import itertools
import os
from pathlib import Path

REPO = Path(__file__).parents[2]

KEYS = {
    "DATA.NUM_FRAMES": "8",
    "DATA.SAMPLING_RATE": "2",
    "DATA.TRAIN_CROP_SIZE": "32",
    "DATA.TEST_CROP_SIZE": "32",
    "DATA.TRAIN_JITTER_SCALES": "[36,40]",
    "RESNET.WIDTH_PER_GROUP": "8",
    "MODEL.WIDTH_MULT": "0.25",
    "MODEL.PRETRAINED": "",  # nothing is downloaded
    "X3D.WIDTH_FACTOR": "1.0",
    "X3D.DEPTH_FACTOR": "0.2",
    "TRAIN.BATCH_SIZE": "4",
    "TEST.BATCH_SIZE": "4",
    "TEST.NUM_ENSEMBLE_VIEWS": "1",
    "TEST.NUM_SPATIAL_CROPS": "1",
    "SOLVER.MAX_EPOCH": "1",
    "SOLVER.BASE_LR": "0.001",
    "SOLVER.WARMUP_START_LR": "0.001",
    "SOLVER.WARMUP_EPOCHS": "0.0",
    "BN.NUM_BATCHES_PRECISE": "1",
    "BENCHMARK.WARMUP": "1",
    "BENCHMARK.STEPS": "2",
    "DATA_LOADER.NUM_WORKERS": "0",
    "CPU_PROCESSES": "1",
    "NUM_GPUS": "0",
    "PROGRESS": "none",
}
"""Of every command that names a config."""

# Commands of run_net.py without an OUTPUT_DIR get one each: on a page they are alternatives.

AS_WRITTEN = {"DATA.NUM_FRAMES", "DATA.SAMPLING_RATE"}
"""Keys that are left alone where the command sets them."""

OF_A_MODEL = {
    "IMFE": {"DATA.NUM_FRAMES": "6", "DATA.RESIZE": "[64,64]",
             "DATA.TRAIN_JITTER_SCALES": "[64,72]", "DATA.TRAIN_CROP_SIZE": "64",
             "DATA.TEST_CROP_SIZE": "64", "FEATURES.NUM_VAL": "1"},
}  # fmt: skip
"""Model -> keys that it needs instead."""

OF_A_FOLDER = {"EPIC-KITCHENS": {"MODEL.NUM_CLASSES": "[12,20]"}}
"""Folder of configs -> keys that the generated data need: they have fewer verbs and nouns, but
in the lists that are named as ``EPICKITCHENS.ANNOTATIONS_DIR``."""

OPTIONS = {
    "make_synthetic.py": "--num_clips 24 --workers 1 --actions lift_blue_bar shake_yellow_plate",
    "check_data.py": "--workers 1",
    "dump_frames.py": "--workers 1",
    "prepare_videos.py": "--workers 1",
    "pipeline.py": "--num_clips 24",  # all stages where no config is named, else PIPELINE_STAGES
    "prune.py": "--sparse_epochs 1 --iterative_steps 2 --step_epochs 1 --finetune_epochs 1",
    "quantize.py": "--calibration_clips 4",
    "benchmark.py": "--no_memory",
    "demo.py": "--seconds 2",
}
"""Tool -> options that make it do less."""

PIPELINE_STAGES = "--stages data train test report"
"""Of the pipeline with a config; the stages after have run without one."""

ONLY_IF_USED = {"prune.py", "demo.py"}
"""Tools of whose options only those are added that the command has."""

PLACES = {
    "https://dl.fbaipublicfiles.com/pyslowfast/x3d_models/": "file://{root}/zoo/",
    "/data/": "{root}/data/",
    "/path/to/": "{root}/path/to/",
    "/tmp/my_model": "{root}/my_model",
    "127.0.0.1:8000": "127.0.0.1:{port}",
}
"""Text of a command -> what stands for it: places outside of the folder the test runs in."""


def place(text: str, **places: object) -> str:
    """A block of the documentation with all ``PLACES`` put in the test's folder."""
    for said, meant in PLACES.items():
        parts = text.split(said)
        joined = meant.format(**places)
        text = parts[0]
        for before, after in itertools.pairwise(parts):
            # "data/x" is a place of its own, and what follows a place is no other.
            follows = before[-1:].isalnum() and said.startswith("/")
            is_whole = not follows and before[-1:] != "}"
            text += (joined if is_whole else said) + after
    return text


def shrink(words: list[str]) -> list[str]:
    """The words of ``python WORDS`` with everything that makes the command small."""
    script = Path(words[0])
    if words[:2] == ["-m", "pip"]:
        raise SystemExit("a test would install something")
    if script.suffix != ".py" or not script.exists():
        return words
    if "--load-weights" in words:  # a program of a model template
        return [*words, "--opts", *_pairs(words, {})] if "--save-model-to" not in words else words
    if script.resolve().parent != REPO / "tools":
        return words
    if script.name == "demo.py" and "--camera" in words:
        _pretend_camera()
    options = _options(script.name, words)
    if script.name == "run_net.py" and "OUTPUT_DIR" not in words:
        words = [*words, "OUTPUT_DIR", f"runs/of_process_{os.getpid()}"]
    if "--teacher_cfg" in words:
        place = words.index("--teacher_cfg") + 1
        words = [*words[:place], _small_teacher(words[place]), *words[place + 1 :]]
    return [*words, *options, *_pairs(words, _model_of(words))]


def _options(tool: str, words: list[str]) -> list[str]:
    options = OPTIONS.get(tool, "").split()
    if tool in ONLY_IF_USED:
        pairs = zip(options[::2], options[1::2], strict=True)
        options = [word for pair in pairs if pair[0] in words for word in pair]
    if tool == "pipeline.py" and "--config" in words and "--dry_run" not in words:
        first = "check" if "--data_dir" in words else "data"
        options += PIPELINE_STAGES.replace("data", first).split()
    if tool == "make_synthetic.py":
        shares = "0.6 0.4 0" if {"epic", "epic_video"} & set(words) else "0.6 0.2 0.2"
        options += ["--split_ratio", *shares.split()]
    without = {"--loader", "--decoding", "--train_step", "--test_views"}
    return [] if without & set(words) else options


def _small_teacher(path: str) -> str:
    """A YAML as small as the student's: what is added to the command is the student's only."""
    lines = [f"_BASE_: {Path(path).resolve()}", *(f"{k}: {v or repr(v)}" for k, v in KEYS.items())]
    Path("teacher.yaml").write_text("\n".join(lines) + "\n")
    return "teacher.yaml"


def _pairs(words: list[str], own: dict[str, str]) -> list[str]:
    named = {"--cfg", "--config", "--student_cfg", "--compare", "--load-weights"} & set(words)
    says_which = any(word.endswith((".yaml", "--load-weights")) for word in words)
    if not (named and says_which) and Path(words[0]).name != "pipeline.py":
        return []
    if "PROGRESS" in words:  # a stage of a pipeline that has been made small itself
        return []
    keys = KEYS | own
    if not named:  # the pipeline's own networks are small, and are to be made smaller by it
        keys = {key: value for key, value in keys.items() if not key.startswith(("RESNET", "X3D"))}
    return [
        word for key, value in keys.items()
        if not (key in AS_WRITTEN and key in words) for word in (key, value)
    ]  # fmt: skip


def _model_of(words: list[str]) -> dict[str, str]:
    from slowfast.config import load_cfg

    for option in ("--cfg", "--config", "--student_cfg"):
        if option in words:
            path = Path(words[words.index(option) + 1])
            has_all = "EPICKITCHENS.ANNOTATIONS_DIR" in words
            own = {} if has_all else OF_A_FOLDER.get(path.parent.name, {})
            return own | OF_A_MODEL.get(load_cfg([path]).MODEL.MODEL_NAME, {})
    return {}


def _pretend_camera() -> None:
    """A camera that shows ``video.mp4``, and a window whose user presses q after a while."""
    import cv2

    os.environ["DISPLAY"] = ":none"
    path, presses = str(Path("video.mp4").resolve()), iter(range(1000))
    film = cv2.VideoCapture

    class Camera:
        def __init__(self, *_: object) -> None:
            self.film = film(path)

        def read(self) -> tuple:
            found, picture = self.film.read()
            if not found:
                self.film = film(path)
                found, picture = self.film.read()
            return found, picture

        def __getattr__(self, name: str) -> object:
            return getattr(self.film, name)

    cv2.VideoCapture = Camera
    cv2.namedWindow = cv2.imshow = cv2.destroyWindow = lambda *_, **__: None
    cv2.destroyAllWindows = lambda: None
    cv2.getWindowProperty = lambda *_: 1.0
    cv2.waitKey = lambda *_: ord("q") if next(presses) > 30 else -1
