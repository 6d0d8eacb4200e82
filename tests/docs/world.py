"""What the commands of each page find: videos, weights, runs. Small, and made before they start.

``python -m tests.docs.world WHAT WORDS`` makes one thing in the current folder.
"""

import ast
import re
import sys
from pathlib import Path

REPO = Path(__file__).parents[2]

VIDEOS = "make folder my_videos; make video video.mp4\n"
X3D_S = "make weights x3d_s.pyth Kinetics/X3D_S\n"
X3D_S_FILES = (
    X3D_S
    + """
python tools/export.py --model_path x3d_s.pyth --format onnx openvino
"""
)
SYNTHETIC = "python tools/make_synthetic.py --output_dir"
LISTED = "make listed my_data\n"
FROM_ROOT = f"""
{SYNTHETIC} $ROOT/data/kinetics
{SYNTHETIC} $ROOT/data/meccano --layout meccano
{SYNTHETIC} $ROOT/data/epic --layout epic
make annotations $ROOT/data/epic
mkdir -p $ROOT/path/to; ln -s $ROOT/data/meccano $ROOT/path/to/meccano_dataset
ln -s $ROOT/data/meccano meccano
"""
MECCANO = f"{SYNTHETIC} $ROOT/data/meccano --layout meccano; ln -s $ROOT/data/meccano meccano\n"
SLOWFAST = "make weights checkpoint.pyth MECCANO/SLOWFAST_8x8_R50\n"

SETUPS = {
    "README.md": VIDEOS + X3D_S + LISTED + MECCANO + """
make text base.yaml '_BASE_: configs/Kinetics/X3D_S.yaml' 'DATA: {PATH_TO_DATA_DIR: my_data}'
make text mine.yaml 'MODEL: {NUM_CLASSES: 61}'
mkdir -p $ROOT/path/to; ln -s $ROOT/data/meccano $ROOT/path/to/meccano_dataset
make weights $ROOT/path/to/checkpoint.pyth MECCANO/SLOWFAST_8x8_R50
""",
    "docs/benchmark.md": X3D_S_FILES + LISTED + """
make video video.mp4
python tools/export.py --model_path x3d_s.pyth --format openvino --output x3d_s_int8.xml
python tools/export.py --model_path x3d_s.pyth --format openvino --stream
""",
    "docs/compression.md": MECCANO + SLOWFAST + """
ln -s checkpoint.pyth teacher.pyth
make weights x3d_m.pyth MECCANO/X3D_M
""",
    "docs/config.md": LISTED + "make text my_data.yaml 'DATA: {PATH_TO_DATA_DIR: my_data}'\n",
    "docs/datasets.md": VIDEOS + LISTED + FROM_ROOT + """
make weights kinetics.pyth Kinetics/SLOWFAST_8x8_R50
make weights slow_8x8.pyth Kinetics/SLOW_8x8_R50
make custom data
make frames features/rawframes_rgb
ln -s runs/epic run1; ln -s runs/epic run2
""",
    "docs/demo.md": X3D_S_FILES + SLOWFAST + """
make video video.mp4 160; make video assembly.mp4
make weights best.pyth Kinetics/X3D_S DATA.NUM_FRAMES 16
make names names.txt 400
python tools/export.py --model_path x3d_s.pyth --format onnx --stream --output step.onnx
""",
    "docs/deployment.md": X3D_S + """
make weights best.pyth Kinetics/X3D_S DATA.TRAIN_JITTER_SCALES [224,256]
mkdir -p runs/pruned; ln -s ../../best.pyth runs/pruned/pruned.pyth
""" + f"{SYNTHETIC} data\n",
    "docs/models.md": FROM_ROOT + VIDEOS + """
make weights slowfast_8x8.pyth Kinetics/SLOWFAST_8x8_R50
make weights x3d_s.pyth Kinetics/X3D_S
make weights best.pyth Kinetics/X3D_S MODEL.NUM_CLASSES 5
make weights checkpoint-8.pt ActivityNet/IMFE_6x1
make weights CSN_32x2_R101.pyth Kinetics/pytorchvideo/CSN_32x2_R101
make caffe2 I3D_NLN_8x8_R50.pkl Kinetics/I3D_NLN_8x8_R50
make caffe2 SLOWFAST_8x8_R50.pkl Kinetics/SLOWFAST_8x8_R50
make frames $ROOT/data/features/rawframes_rgb
make flow $ROOT/data/features
make custom $ROOT/data/custom
python tools/dump_frames.py --videos_dir $ROOT/data/custom/videos --output_dir $ROOT/data/custom \\
  --annotation $ROOT/data/custom/train.txt $ROOT/data/custom/val.txt
""",
    "docs/pipeline.md": MECCANO,
    "docs/report.md": f"{SYNTHETIC} runs/pipeline/data\n" + """
make weights runs/pipeline/train/checkpoints/best.pyth Synthetic/X3D_T
make runs runs/pipeline/train runs/x3d runs/student
make pruning runs/pruned
""",
    "docs/serve.md": X3D_S_FILES + """
make video video.mp4
make weights best.pyth Kinetics/X3D_S; mkdir runs; ln -s ../best.pyth runs/best.pyth
make names names.txt 400
""",
    "docs/streaming.md": FROM_ROOT + """
make weights runs/x3d/checkpoints/best.pyth Kinetics/X3D_S
make weights x3d_s.pyth Kinetics/X3D_S; ln -s x3d_s.pyth best.pyth
""",
    "docs/distributed.md": "make listed .\n",
    "docs/visualize.md": SLOWFAST + """
make listed my_data; make video video.mp4; make video assembly.mp4
make weights best.pyth Kinetics/X3D_S DATA.PATH_TO_DATA_DIR my_data
""",
    "docs/templates.md": "make template $ROOT/my_model\n",
    "docs/tutorial.md": VIDEOS + "make weights $ROOT/zoo/x3d_xs.pyth Kinetics/X3D_XS\n",
}  # fmt: skip
"""Page -> what bash does before it; ``make WHAT`` is this file."""

CLIPS = """
import torch
from pathlib import Path
from slowfast.engine.weights import load_model
"""
PRELUDES = {
    "docs/compression.md": CLIPS + """
import slowfast.engine.weights
import slowfast.compression.pruning.channels as _channels
_prune = _channels.prune_channels
SHAPES = [(1, 3, 2, 32, 32), (1, 3, 8, 32, 32)]
_channels.prune_channels = lambda model, _, **options: _prune(model, SHAPES, **options)
clips = [torch.randn(1, 3, 2, 32, 32), torch.randn(1, 3, 8, 32, 32)]
batches = [clips, clips]
""",
    "docs/streaming.md": CLIPS + """
frames = torch.randn(12, 1, 3, 32, 32)
frame = torch.randn(1, 3, 32, 32)
""",
    "docs/demo.md": """
import numpy as np
frames = [(np.zeros((48, 64, 3), np.uint8), number / 30) for number in range(200)]
""",
    "docs/deployment.md": """
import torch
clips = [torch.randn(1, 3, 8, 32, 32)]
frames = torch.zeros(1, 3, 8, 32, 32, dtype=torch.uint8)
""",
}  # fmt: skip
"""Page -> names that its Python takes for given."""


def weights(path: str, config: str, *opts: str) -> None:
    """A checkpoint of random weights."""
    from slowfast.checkpoint.io import write_checkpoint

    cfg, model = _network(config, opts)
    write_checkpoint(path, epoch=0, model=model, optimizer=None, cfg_yaml=cfg.dump()) if (
        path.endswith(".pyth")
    ) else _save(path, model)


def _save(path: str, model: object) -> None:
    import torch

    torch.save({"model": model.state_dict()}, path)


def caffe2(path: str, config: str, *opts: str) -> None:
    """The same as the model zoo's ``.pkl``."""
    from slowfast.checkpoint.conversion import convert_file, write_converted

    _, model = _network(config, opts)
    _save(f"{path}.pyth", model)
    write_converted(convert_file(Path(f"{path}.pyth"), target="caffe2", model=model), Path(path))


def _network(config: str, opts: tuple[str, ...]) -> tuple:
    import torch

    from slowfast.config import load_cfg
    from slowfast.models import build_model
    from tests.docs.small import KEYS, OF_A_MODEL

    file = REPO / "configs" / f"{config}.yaml"
    own = OF_A_MODEL.get(load_cfg([file]).MODEL.MODEL_NAME, {})
    words = [word for pair in (KEYS | own).items() for word in pair]
    cfg = load_cfg([file], [*words, *opts])
    torch.manual_seed(0)
    return cfg, build_model(cfg)


def folder(root: str) -> None:
    """Videos in a folder per class."""
    from tests.videos import write_video

    for number, name in enumerate(("take_bolt", "tighten_nut")):
        for place in range(12):
            write_video(Path(root) / name / f"{place + 1:03d}.mp4", 40 + 3 * place + number)


def listed(root: str) -> None:
    """Videos of two classes, and lists of them."""
    from tests.videos import write_video

    for split, count in {"train": 8, "val": 4, "test": 4}.items():
        lines = [f"videos/{split}_{number}.mp4 {number % 2}" for number in range(count)]
        for line in lines:
            write_video(Path(root) / line.split()[0], 40 + len(line))
        text(f"{root}/{split}.csv", *lines)


def annotations(root: str) -> None:
    """The lists of an EPIC dataset where the published ones are, and one without labels."""
    place = Path(root) / "annotations"
    place.mkdir()
    for path in Path(root).glob("EPIC_100_*.csv"):
        if not path.stem.endswith("_classes"):
            (place / path.name).symlink_to(path)
    for task, count in {"verb": 97, "noun": 300}.items():  # as many as the challenge wants
        lines = (Path(root) / f"EPIC_100_{task}_classes.csv").read_text().splitlines()
        rest = lines[1].partition(",")[2].partition(",")[2]
        lines += [f"{n},class {n}{',' if rest else ''}{rest}" for n in range(len(lines) - 1, count)]
        text(f"{place}/EPIC_100_{task}_classes.csv", *lines)
    (place / "EPIC_100_test_timestamps.csv").symlink_to(Path(root) / "EPIC_100_validation.csv")


def video(path: str, num_frames: str = "60") -> None:
    """One video."""
    from tests.videos import write_video

    write_video(path, int(num_frames))


def text(path: str, *lines: str) -> None:
    """A file."""
    Path(path).write_text("\n".join(lines) + "\n", "utf-8")


def names(path: str, count: str) -> None:
    """Class names, one per line."""
    text(path, *(f"class {number}" for number in range(int(count))))


def frames(root: str) -> None:
    """Folders of images."""
    import numpy as np
    from PIL import Image

    for name in "abcd":
        (Path(root) / name).mkdir(parents=True)
        for number in range(16):
            picture = np.full((48, 64, 3), number * 10, np.uint8)
            Image.fromarray(picture).save(Path(root) / name / f"img_{number:05d}.jpg")


def flow(root: str) -> None:
    """Features of those, of random numbers."""
    import numpy as np

    (Path(root) / "flow").mkdir()
    for name in "abcd":
        np.save(Path(root) / "flow" / f"{name}.npy", np.random.rand(2, 256).astype(np.float32))


def custom(root: str) -> None:
    """Videos and lists of ``tools/dump_frames.py``, and the folders of images made of them."""
    from tests.videos import write_video

    for split, count in {"train": 6, "val": 4}.items():
        lines = [f"{split}_{number}.mp4 {number % 2}" for number in range(count)]
        for line in lines:
            write_video(Path(root) / "videos" / line.split()[0], 40)
        text(f"{root}/{split}.txt", *lines)


def template(root: str) -> None:
    """What a person puts into the folder of a model template."""
    custom(f"{root}/data")
    from tests.learners.test_template_programs import write_snapshot

    write_snapshot(Path(root) / "snapshot.pth")


def runs(*roots: str) -> None:
    """Logs of trainings that were tested."""
    from tests.reports.run_folders import write_log

    for root in roots:
        write_log(Path(root), test=80.0)


def pruning(root: str) -> None:
    """The output of ``tools/prune.py``."""
    from tests.reports.run_folders import write_pruning

    write_pruning(Path(root))


def known_to_pip(command: str, *words: str) -> None:
    """Fails where a command would install what the repository does not know."""
    assert command == "install", command
    setup = (REPO / "setup.py").read_text("utf-8")
    tables = [node.value for node in ast.walk(ast.parse(setup)) if isinstance(node, ast.Assign)
              and getattr(node.targets[0], "id", "") == "EXTRAS"]  # fmt: skip
    extras = {key.value for table in tables for key in table.keys if key is not None}
    if "-r" in words:
        assert (REPO / words[-1]).is_file(), words[-1]
        return
    for word in (word for word in words if word != "-e"):
        place, _, named = word.partition("[")
        for extra in filter(None, re.split(r"[,\]]", named)):
            assert extra in extras, f"setup.py has no extra {extra!r}"
        assert named or "opencv" in place, word


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
