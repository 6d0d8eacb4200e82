#!/usr/bin/env python3
"""The speeds that docs/deployment.md claims, from nothing: at most 15 minutes on two idle cores.

    python scripts/deployment_evidence.py --output_dir runs/deployment --trained runs/evidence
    python scripts/deployment_evidence.py --output_dir runs/deployment --real

Every line is one run of tools/benchmark.py, in which PySlowFast's way and ours take turns; goes on
where it stopped. Networks of the real sizes have random weights, with settled batch norms: there
is nothing to agree about, only times. Whether a lower precision keeps the answers is measured on
the networks that scripts/compression_evidence.py trained (--trained, its --output_dir), and on
an LSTM where there is one: a training of configs/Synthetic/RESNET18_LSTM_EPIC.yaml in its folder
lstm, on a dataset in data_epic. --real trains X3D-S, SlowFast 8x8 and ResNet50+LSTM themselves, in
all their width and depth, on clips of twelve synthetic actions, of 64 pixels first, then of full
size; and compares precisions on those, int8 too. Writes deployment.json and deployment.md.

--int8 also makes and times int8 files (minutes more). --quick shrinks everything to see that it
runs; the numbers then mean nothing.
"""

import argparse
import json
import logging
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from slowfast.reports.table import Table
from slowfast.utils.errors import one_line_errors
from slowfast.utils.logging import setup_logging
from slowfast.utils.stages import Stage, run_stages, show_command

ROOT = Path(__file__).resolve().parent.parent
SMALL = "Synthetic/X3D_XT"
WAYS = ("@eager", "@openvino", "@openvino/bf16")
NETWORKS = {
    "x3d_s": ("Kinetics/X3D_S", 20, ["DATA.TEST_CROP_SIZE", 160]),
    "x3d_m": ("Kinetics/X3D_M", 15, ["DATA.TEST_CROP_SIZE", 224]),
    "slowfast": ("Kinetics/SLOWFAST_8x8_R50", 9, ["DATA.TEST_CROP_SIZE", 224]),
    "resnet_lstm": ("EPIC-KITCHENS/RESNET50_LSTM_16", 9, ["MODEL.PRETRAINED", ""]),
}
TRAINED = {  # folder of the network -> its config, folder of its data
    "x3d": ("Synthetic/X3D_T", "data"),
    "slowfast": ("Synthetic/SLOWFAST_T", "data"),
    "lstm": ("Synthetic/RESNET18_LSTM_EPIC", "data_epic"),
}
ACTIONS = [
    "push_left_red_bar", "push_right_red_bar", "flip_red_bar", "lift_blue_bar", "lower_blue_bar",
    "stir_blue_bar", "approach_green_plate", "retreat_green_plate", "wiggle_green_plate",
    "push_left_yellow_plate", "push_right_yellow_plate", "shake_yellow_plate",
]  # fmt: skip
REAL = {  # of NETWORKS: sampling rate (videos have 32 frames), learning rate, epochs, what else
    "x3d_s": (2, 0.002, 10, []),
    "slowfast": (1, 0.0005, 20, []),
    "resnet_lstm": (2, 0.0005, 10, [
        "TRAIN.DATASET", "kinetics", "TEST.DATASET", "kinetics", "MODEL.TASKS", "[]",
        "MODEL.LOSS_FUNC", "cross_entropy", "MODEL.FROZEN_BN", False, "MODEL.PRETRAINED", "",
        "MIXUP.ENABLE", False, "AUG.ENABLE", False, "TRAIN.MIXED_PRECISION", False,
        "DATA.TRAIN_JITTER_SCALES_RELATIVE", "[]", "DATA.TRAIN_JITTER_ASPECT_RELATIVE", "[]",
        "DATA.COLOR_RND_GRAYSCALE", 0.0, "LSTM.DROPOUT_RATE", 0.0, "SOLVER.ACCUMULATE_STEPS", 1,
        "SOLVER.EARLY_STOPPING.ENABLE", False,
    ]),
}  # fmt: skip
FULL = {  # of REAL: side of the clips speed is measured on, learning rate, epochs
    "x3d_s": (160, 0.001, 4),
    "slowfast": (224, 0.0003, 2),
    "resnet_lstm": (224, 0.0002, 1),
}
RECIPE = [
    "TRAIN.BATCH_SIZE", 16, "TRAIN.EVAL_PERIOD", 1, "DATA.TRAIN_JITTER_SCALES", "[64, 72]",
    "DATA.TRAIN_CROP_SIZE", 64, "DATA.TEST_CROP_SIZE", 64, "DATA.RANDOM_FLIP", False,
    "MODEL.NUM_CLASSES", len(ACTIONS), "MODEL.DROPOUT_RATE", 0.0, "BN.USE_PRECISE_STATS", False,
    "SOLVER.OPTIMIZING_METHOD", "adamw", "SOLVER.WEIGHT_DECAY", 0.05, "SOLVER.WARMUP_EPOCHS", 1.0,
    "SOLVER.WARMUP_START_LR", 0.0001, "SOLVER.CLIP_GRAD_L2NORM", 5.0,
    "SOLVER.BASE_LR_SCALE_NUM_SHARDS", False, "TEST.NUM_ENSEMBLE_VIEWS", 1,
    "TEST.NUM_SPATIAL_CROPS", 1, "TEST.BATCH_SIZE", 16, "DATA_LOADER.NUM_WORKERS", 0,
    "NUM_GPUS", 0, "CPU_PROCESSES", 2,
]  # fmt: skip
PRECISIONS = "--runtimes", "eager,openvino", "--precisions", "f32,bf16"
OURS = "eager", "onnxruntime", "openvino"
VIDEOS = 24  # that the streams of a trained network are compared on
SPINNING = ("env", "GOMP_SPINCOUNT=300000")
"""As long as GNU OpenMP's threads spin where they are told nothing."""


@dataclass(frozen=True)
class Claim:
    """A line of the table.

    Attributes:
        text: for people.
        stage: of which run.
        way: end of the name of the row.
        key: of the number in it, parts with dots between.
        least: it has to reach; ``most``: not to exceed.
        exact: largest difference of a probability from PyTorch's f32; ``None``: any.
    """

    text: str
    stage: str
    way: str
    key: str = "ratio.median"
    least: float | None = None
    most: float | None = None
    exact: float | None = None

    def holds(self, value: float | None, row: dict) -> bool:
        """Whether ``value`` is good enough."""
        if value is None:
            return False
        close = self.exact is None or (row.get("max_score_difference") or 0.0) <= self.exact
        enough = self.least is None or value >= self.least
        return close and enough and (self.most is None or value <= self.most)


CLAIMS = [
    Claim("X3D-S, f32 within 1e-3", "x3d_s", "openvino f32", least=4, exact=1e-3),
    Claim("X3D-M, f32 within 1e-3", "x3d_m", "openvino f32", least=4, exact=1e-3),
    Claim("X3D-S, bf16", "x3d_s", "openvino bf16", least=6),
    Claim("X3D-M, bf16", "x3d_m", "openvino bf16", least=6),
    Claim("SlowFast 8x8, bf16", "slowfast", "openvino bf16", least=7),
    Claim("ResNet50+LSTM, bf16", "resnet_lstm", "openvino bf16", least=10),
    Claim("X3D-S, int8", "x3d_s", "int8", least=6),
    Claim("X3D-M, int8", "x3d_m", "int8", least=6),
    Claim("SlowFast 8x8, int8", "slowfast", "int8", least=7),
    Claim("ResNet50+LSTM, int8", "resnet_lstm", "int8", least=10),
    Claim("trained X3D, bf16: agreement (%)", "agree_x3d", "openvino bf16", "agreement", 99),
    Claim("trained SlowFast, bf16: agreement (%)", "agree_slowfast", "openvino bf16", "agreement",
          99),
    Claim("trained ResNet+LSTM, bf16: agreement (%)", "agree_lstm", "openvino bf16", "agreement",
          99),
    Claim("trained X3D-S, bf16: agreement (%)", "agree_real_x3d_s", "openvino bf16", "agreement",
          99),
    Claim("trained SlowFast 8x8, bf16: agreement (%)", "agree_real_slowfast", "openvino bf16",
          "agreement", 99),
    Claim("trained ResNet50+LSTM, bf16: agreement (%)", "agree_real_resnet_lstm",
          "openvino bf16", "agreement", 99),
    Claim("trained X3D-S, int8: agreement (%)", "agree_real_x3d_s", "int8", "agreement", 99),
    Claim("trained SlowFast 8x8, int8: agreement (%)", "agree_real_slowfast", "int8", "agreement",
          99),
    Claim("trained ResNet50+LSTM, int8: agreement (%)", "agree_real_resnet_lstm", "int8",
          "agreement", 99),
    *(
        Claim(f"{text} trained at full size, {way.split()[-1]}{said}", f"full_{network}", way, key,
              least, exact=1e-3 if way.endswith("f32") else None)
        for network, text, fast in (
            ("x3d_s", "X3D-S", 6), ("slowfast", "SlowFast 8x8", 7),
            ("resnet_lstm", "ResNet50+LSTM", 10),
        )
        for way, said, key, least in (
            ("openvino f32", "", "ratio.median", 4 if network == "x3d_s" else None),
            ("openvino bf16", "", "ratio.median", fast),
            ("openvino bf16", ": agreement (%)", "agreement", 99),
            ("int8", "", "ratio.median", fast),
            ("int8", ": agreement (%)", "agreement", 99),
            ("int8+bf16", "", "ratio.median", fast),
            ("int8+bf16", ": agreement (%)", "agreement", 99),
        )
    ),
    Claim("trained X3D, int8: agreement (%)", "agree_x3d", "int8", "agreement", 99),
    Claim("trained SlowFast, int8: agreement (%)", "agree_slowfast", "int8", "agreement", 99),
    Claim("trained X3D stream, bf16: agreement (%)", "agree_stream", "openvino bf16", "agreement",
          99),
    Claim("trained X3D-S stream, bf16: agreement (%)", "agree_real_stream", "openvino bf16",
          "agreement", 99),
    Claim("stream X3D-S, f32, against the clip", "stream", "stream openvino f32", least=15),
    Claim("stream X3D-S, f32, against CoX3D", "stream", "stream openvino f32",
          "cox3d_ratio.median", 8),
    Claim("stream X3D-S, bf16, against the clip", "stream", "stream openvino bf16", least=25),
    Claim("stream X3D-S, GMAC per frame", "stream", "stream openvino f32", "macs_g", most=0.16),
    Claim("stream X3D-S, state (MB)", "stream", "stream openvino f32", "state_mb", most=13),
    Claim("stream X3D-S, frames/s from file", "stream", "stream openvino f32",
          "from_file.frames_per_s.overall", 100),
    *(
        Claim(f"X3D-S {way}{said}, 1 busy neighbour: p50 over quiet", stage, way, "busy.p50_times")
        for stage, way, said in (
            ("busy", "eager f32", ""), ("busy", "onnxruntime f32", ""),
            ("busy", "openvino f32", ""), ("busy_spinning", "eager f32", ", OpenMP as it comes"),
        )
    ),
]  # fmt: skip


class Evidence:
    """The runs.

    Args:
        out: of all files.
        trained: folder of trained networks; ``None``: no agreement is measured.
        quick: shrink everything.
        int8: make and time such files as well.
        real: train networks of the real sizes, too.
    """

    def __init__(
        self, out: Path, trained: Path | None, *, quick: bool, int8: bool, real: bool = False
    ) -> None:
        self.out, self.trained, self.quick, self.int8, self.real = out, trained, quick, int8, real
        self.stages: list[Stage] = []

    def config(self, name: str) -> Path:
        """A YAML; a small one instead in a hurry."""
        return ROOT / "configs" / f"{SMALL if self.quick else name}.yaml"

    def add(self, name: str, *words: object, turns: int, needs: tuple[str, ...] = (),
            before: tuple[str, ...] = ()) -> None:  # fmt: skip
        """One run of tools/benchmark.py."""
        folder = self.out / name
        output = folder / "benchmark.json"
        steps = ["BENCHMARK.STEPS", 2 if self.quick else turns]
        command = [*before, sys.executable, str(ROOT / "tools/benchmark.py"),
                   *map(str, [*words, "--no_memory", "--output", output, *steps])]  # fmt: skip
        self.stages.append(Stage(name, command, folder, [output], needs))

    def plan(self) -> list[Stage]:
        """Every run, in order; of streams of networks of the real sizes, once there are videos."""
        self.stages = []
        for name, (config, turns, words) in NETWORKS.items():
            path, files = self.config(config), []
            words = [] if self.quick else words
            if self.int8:
                files = [self.add_int8(name, path, words)]
            needs = (f"{name}_int8",) if files else ()
            ways = [f"{path}{way}" for way in WAYS]
            self.add(name, "--compare", f"reference:{path}", *ways, *files, *words,
                     turns=turns, needs=needs)  # fmt: skip
        path = self.config("Kinetics/X3D_S")
        crop = [] if self.quick else ["DATA.TEST_CROP_SIZE", 160]
        self.add("stream", "--cfg", path, "--stream", "--reference", "--cox3d", "--runtimes",
                 "openvino,onnxruntime,eager", "--precisions", "f32,bf16", *crop,
                 turns=30)  # fmt: skip
        busy = ["--busy", 1, *crop]
        self.add("busy", "--cfg", path, "--runtimes", ",".join(OURS), *busy, turns=20)
        self.add("busy_spinning", "--cfg", path, "--runtimes", "eager", *busy, turns=20,
                 before=SPINNING)  # fmt: skip
        if self.trained is not None:
            self.agreement(self.trained)
        if self.real:
            self.add_real_data()
            self.train_real()
        return self.stages

    def add_real_data(self) -> None:
        """Clips to train the real sizes on, of 80 pixels and, others, of 240."""
        for name, clips, shares, more in (
            ("data_real", 1600, (0.65, 0.05, 0.3), []),
            ("data_full", 900, (0.62, 0.04, 0.34), ["--size", 240, "--seed", 1]),
        ):
            data = self.out / name
            clips = 40 if self.quick else clips
            words = ["--output_dir", data, "--num_clips", clips, "--split_ratio", *shares,
                     "--actions", *ACTIONS, *more]  # fmt: skip
            self.add_tool(name, "make_synthetic.py", words, [data / "train.csv"], ())

    def train_real(self) -> None:
        """The networks whose speed is measured, trained; and how far precisions agree on them."""
        data = self.out / "data_real"
        for network, (stride, lr, epochs, others) in REAL.items():
            name, int8 = f"train_real_{network}", f"int8_real_{network}"
            config = ROOT / "configs" / f"{NETWORKS[network][0]}.yaml"
            checkpoint = self.out / name / "checkpoints" / "best.pyth"
            shared = [*RECIPE, *others, "DATA.SAMPLING_RATE", stride]
            opts = [*shared, "DATA.PATH_TO_DATA_DIR", data]
            solver = ["SOLVER.BASE_LR", lr, "SOLVER.MAX_EPOCH", 1 if self.quick else epochs]
            trained = ["--cfg", config, "--model_path", checkpoint]
            self.add_tool(name, "run_net.py", ["--cfg", config, *opts, *solver], [checkpoint],
                          ("data_real",))  # fmt: skip
            file = self.out / int8 / "int8.xml"
            self.add_tool(int8, "quantize.py", [*trained, "--backend", "openvino", "--precision",
                          "int8", "--max_drop", 3, *opts], [file], (name,))  # fmt: skip
            self.add(f"agree_real_{network}", *trained, *PRECISIONS, "--files", file,
                     "--accuracy", "test", "--choose", 99, *opts, turns=20,
                     needs=(name, int8))  # fmt: skip
            if network == "x3d_s":
                self.add_stream("agree_real_stream", config, checkpoint, data, *opts)
            self.train_full(network, config, checkpoint, shared)

    def train_full(self, network: str, config: Path, start: Path, shared: list[object]) -> None:
        """The same network on clips of its full size: speed and agreement of one file."""
        data = self.out / "data_full"
        size, lr, epochs = FULL[network]
        size = 64 if self.quick else size
        name, int8 = f"train_full_{network}", f"int8_full_{network}"
        checkpoint = self.out / name / "checkpoints" / "best.pyth"
        opts = [
            *shared, "DATA.TRAIN_JITTER_SCALES", f"[{size}, {size * 9 // 8}]",
            "DATA.TRAIN_CROP_SIZE", size, "DATA.TEST_CROP_SIZE", size, "TRAIN.BATCH_SIZE", 8,
            "TEST.BATCH_SIZE", 4, "DATA.PATH_TO_DATA_DIR", data,
        ]  # fmt: skip
        solver = [
            "TRAIN.CHECKPOINT_FILE_PATH", start, "TRAIN.CHECKPOINT_EPOCH_RESET", True,
            "SOLVER.BASE_LR", lr, "SOLVER.MAX_EPOCH", epochs, "SOLVER.WARMUP_EPOCHS", 0.1,
        ]  # fmt: skip
        self.add_tool(name, "run_net.py", ["--cfg", config, *opts, *solver], [checkpoint],
                      ("data_full", f"train_real_{network}"))  # fmt: skip
        trained = ["--cfg", config, "--model_path", checkpoint]
        file = self.out / int8 / "int8.xml"
        self.add_tool(int8, "quantize.py", [*trained, "--backend", "openvino", "--precision",
                      "int8", "--max_drop", 3, *opts, "QUANTIZATION.CALIBRATION_CLIPS", 100,
                      "QUANTIZATION.EVAL_SPLIT", "val"], [file], (name,))  # fmt: skip
        files = [file, *([f"{file}@openvino/bf16"] if network == "resnet_lstm" else [])]
        self.add(f"full_{network}", *trained, "--reference", "--runtimes", "openvino",
                 "--precisions", "f32,bf16", "--files", *files, "--accuracy", "test", "--choose",
                 99, *opts, turns=NETWORKS[network][1], needs=(name, int8))  # fmt: skip

    def add_tool(self, name: str, tool: str, words: list[object], outputs: list[Path],
                 needs: tuple[str, ...]) -> None:  # fmt: skip
        """A command of which no time is of interest."""
        folder = self.out / name
        if tool != "make_synthetic.py":
            words = [*words, "OUTPUT_DIR", folder]
        command = [sys.executable, str(ROOT / "tools" / tool), *map(str, words)]
        self.stages.append(Stage(name, command, folder, outputs, needs))

    def add_int8(self, name: str, path: Path, words: list[object]) -> Path:
        """An int8 file of random weights, to time."""
        folder = self.out / f"{name}_int8"
        output = folder / f"{name}_int8.xml"
        command = [sys.executable, str(Path(__file__).resolve()), "--make_int8", path, output,
                   *words]  # fmt: skip
        self.stages.append(Stage(folder.name, [*map(str, command)], folder, [output]))
        return output

    def agreement(self, trained: Path) -> None:
        """Of trained networks, on their test split, and on a video of it."""
        for network, (config, place) in TRAINED.items():
            data = ["DATA.PATH_TO_DATA_DIR", trained / place]
            checkpoint = trained / network / "checkpoints" / "best.pyth"
            if not checkpoint.is_file():
                logging.warning("no %s: its agreement is left out", checkpoint)
                continue
            file = trained / f"int8_openvino_{network}" / "int8.xml"
            files = ["--files", file] if file.is_file() else []
            path = ROOT / "configs" / f"{config}.yaml"
            self.add(f"agree_{network}", "--cfg", path, "--model_path", checkpoint, *PRECISIONS,
                     *files, "--accuracy", "test", "--choose", 99, *data, turns=20)  # fmt: skip
            if network == "x3d":
                self.add_stream("agree_stream", path, checkpoint, trained / "data")

    def add_stream(self, name: str, config: Path, checkpoint: Path, data: Path,
                   *opts: object) -> None:  # fmt: skip
        """Precisions of a stream over some test videos, if there are any yet."""
        videos = sorted(data.rglob("test/**/*.mp4"))
        videos = videos[:: max(1, len(videos) // VIDEOS)][:VIDEOS]
        if videos:
            self.add(name, "--cfg", config, "--model_path", checkpoint, "--stream", *PRECISIONS,
                     "--video", *videos, *opts, turns=20)  # fmt: skip

    def lines(self) -> list[dict]:
        """The claims of the runs that were made, with what was found."""
        found = []
        for claim in CLAIMS:
            path = self.out / claim.stage / "benchmark.json"
            if not path.is_file():
                continue
            rows = json.loads(path.read_text("utf-8"))["rows"]
            row = next((row for row in rows if is_way(row, claim.way)), None)
            if row is None:
                continue
            value = look_up(row, claim.key)
            spread = look_up(row, claim.key.removesuffix(".median"))
            spread = spread if isinstance(spread, dict) else {}
            limit = claim.least if claim.most is None else claim.most
            found.append({
                "claim": claim.text, "limit": limit, "is_most": claim.most is not None,
                "value": value, "q25": spread.get("q25"), "q75": spread.get("q75"),
                "p50_ms": row["p50_ms"], "max_score_difference": row.get("max_score_difference"),
                "holds": None if limit is None else claim.holds(value, row),
                "command": claim.stage,
            })  # fmt: skip
        return found

    def machine(self) -> dict:
        """What the numbers depend on."""
        files = sorted(self.out.glob("*/benchmark.json"))
        return json.loads(files[0].read_text("utf-8"))["machine"] if files else {}

    def markdown(self, lines: list[dict]) -> str:
        """The table, the machine and the commands."""
        columns = ["", "asked", "found (quartiles)", "p50 (ms)", "largest difference", "holds"]
        rows = []
        for line in lines:
            sign = "at most" if line["is_most"] else "at least"
            asked = None if line["limit"] is None else f"{sign} {line['limit']:g}"
            value = "-" if line["value"] is None else f"{line['value']:.3g}"
            if line["q25"] is not None:
                value += f" ({line['q25']:.3g} to {line['q75']:.3g})"
            holds = {True: "yes", False: "NO", None: None}[line["holds"]]
            difference = line["max_score_difference"]
            rows.append([line["claim"], asked, value, line["p50_ms"], difference, holds])
        machine = ", ".join(f"{key} {value}" for key, value in self.machine().items())
        commands = "\n".join(show_command(stage.command) for stage in self.stages)
        title = "Times as fast as PySlowFast's way in the same run, unless said otherwise"
        return f"{Table(columns, rows, title).markdown()}\n\n{machine}\n\n```\n{commands}\n```\n"


def is_way(row: dict, way: str) -> bool:
    """Whether a row is of that way: by the end of its name, or by its precision."""
    return row["precision"] == way or row["name"].endswith(f" {way}")


def look_up(row: dict, key: str) -> object:
    """What is in a row under ``a.b.c``; ``None`` where nothing is."""
    value: object = row
    for part in filter(None, key.split(".")):
        value = value.get(part) if isinstance(value, dict) else None
    return value if key else None


def make_int8(config: Path, target: Path, opts: list[str]) -> None:
    """An int8 file of random weights, calibrated with noise: for its speed only."""
    from slowfast.compression.quantization.fake_quant import find_sites
    from slowfast.compression.quantization.openvino_ptq import OpenVinoQuantizer
    from slowfast.deploy.benchmarks.sources import Settings, load_source
    from slowfast.deploy.export.files import export_files
    from slowfast.deploy.export.info import build_export_info, write_info
    from slowfast.deploy.frames import random_clips

    model, cfg = load_source(str(config), Settings(tuple(opts)))
    info = build_export_info(cfg, model)
    with TemporaryDirectory() as folder:
        (onnx,) = export_files(model, info, Path(folder), "plain", ["onnx"], plain=True)
        clips = [random_clips(info, 1, seed=seed) for seed in range(4)]
        sites = find_sites(model, clips[0])
        quantizer = OpenVinoQuantizer(onnx.path, sites, lambda: iter(clips), len(clips))
        quantizer.write(target)
    write_info(target, replace(info, precision="int8", format="openvino", parity={}))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output_dir", type=Path, default=Path("runs/deployment"))
    parser.add_argument("--trained", type=Path, help="of scripts/compression_evidence.py")
    parser.add_argument(
        "--real", action="store_true", help="train networks of the real sizes (two hours more)"
    )
    parser.add_argument("--int8", action="store_true", help="also int8 files of the real sizes")
    parser.add_argument(
        "--again", action="store_true", help="measure again what was measured before"
    )
    parser.add_argument("--only", nargs="+", metavar="STAGE", help="of the stages' names")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--make_int8", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    setup_logging()
    with one_line_errors():
        if args.make_int8:
            config, target, *opts = args.make_int8
            make_int8(Path(config), Path(target), opts)
            return
        out = args.output_dir.resolve()
        evidence = Evidence(out, args.trained and args.trained.resolve(), quick=args.quick,
                            int8=args.int8, real=args.real)  # fmt: skip
        if args.real:
            run_stages(evidence.plan(), out, chosen=["data_real", "data_full"])
        stages = evidence.plan()
        run_stages(stages, out, chosen=args.only or [stage.name for stage in stages],
                   force=args.again)  # fmt: skip
        lines = evidence.lines()
        found = {"machine": evidence.machine(), "claims": lines}
        (out / "deployment.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
        path = out / "deployment.md"
        path.write_text(evidence.markdown(lines), "utf-8")
        logging.info("wrote %s", path)


if __name__ == "__main__":
    main()
