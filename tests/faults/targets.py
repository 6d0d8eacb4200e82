"""Small runs of the tools, to be interrupted."""

from dataclasses import dataclass
from pathlib import Path

from tests.deploy.recognizing import write_model
from tests.faults import forks
from tests.small import write_config, write_folders

NETWORK = """
MODEL: {MODEL_NAME: X3D, ARCH: x3d, DROPOUT_RATE: 0.5}
RESNET: {TRANS_FUNC: x3d_transform}
X3D: {DIM_C5: 32, DEPTH_FACTOR: 1.0, WIDTH_FACTOR: 1.0}
SOLVER: {MAX_EPOCH: 2}
TRAIN: {BATCH_SIZE: 2}
LOG_PERIOD: 1
PIPELINE:
  PRUNE: --prune_ratio 0.3 --finetune_epochs 2
  QUANTIZE: --backend onnxruntime --calibration_clips 4
  FORMATS: [onnx]
  RUNTIME: onnx
"""
STAGES = "check train test prune quantize export parity stream report"  # without the timings


@dataclass
class Work:
    """Data and config of the runs, and a network trained on them.

    Attributes:
        folder: of everything.
    """

    folder: Path

    @property
    def config(self):
        return self.folder / "net.yaml"

    @property
    def checkpoint(self):
        return self.folder / "trained" / "checkpoints" / "best.pyth"

    def prepare(self):
        """Write them, in a fork, unless they are there."""
        if self.checkpoint.is_file():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        words = ["--cfg", str(self.config), "OUTPUT_DIR", str(self.folder / "trained")]

        (self.folder / "quick").mkdir(exist_ok=True)

        def train():
            write_config(self.config, write_folders(self.folder / "videos"), NETWORK)
            write_model(self.folder / "quick", ["TINY.WIDTH", 16])  # quick to export
            forks.tool("run_net.py")([*words, "SOLVER.MAX_EPOCH", "1"])

        running = forks.start(train, self.folder / "prepare.log")
        if running.wait(120) != 0:
            raise RuntimeError(f"the network to begin with could not be trained: {running.log}")

    def train(self, out):
        forks.tool("run_net.py")(
            ["--cfg", str(self.config), "OUTPUT_DIR", str(out), "DATA_LOADER.NUM_WORKERS", "1"]
        )

    def test(self, out):
        words = ["--eval", "TEST.CHECKPOINT_FILE_PATH", str(self.checkpoint)]
        words += ["TEST.SAVE_RESULTS_PATH", "preds.npz", "DATA_LOADER.NUM_WORKERS", "1"]
        forks.tool("run_net.py")(["--cfg", str(self.config), *words, "OUTPUT_DIR", str(out)])

    def prune(self, out):
        words = ["--model_path", str(self.checkpoint), "--prune_ratio", "0.3"]
        words += ["--finetune_epochs", "2", "--iterative_steps", "2", "--step_epochs", "1"]
        forks.tool("prune.py")(["--cfg", str(self.config), *words, "OUTPUT_DIR", str(out)])

    def distil(self, out):
        words = ["--teacher_model", str(self.checkpoint), "--cache_teacher"]
        forks.tool("distill.py")(["--student_cfg", str(self.config), *words,
                                  "OUTPUT_DIR", str(out)])  # fmt: skip

    def export(self, out):
        formats = ["--format", "onnx", "openvino", "torch_export"]
        words = ["--model_path", str(self.folder / "quick" / "net.pyth"), "--output", str(out)]
        forks.tool("export.py")([*words, *formats])

    def pipeline(self, out):
        from slowfast.utils import stages

        stages.run_logged = forks.run_stage  # in this fork only: imports take longer than stages
        words = ["--config", str(self.config), "--data_dir", str(self.folder / "videos")]
        forks.tool("pipeline.py")([*words, "--output_dir", str(out), "--stages", *STAGES.split()])


TARGETS = {
    "train": Work.train,
    "test": Work.test,
    "prune": Work.prune,
    "distil": Work.distil,
    "export": Work.export,
    "pipeline": Work.pipeline,
}
