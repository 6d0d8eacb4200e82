#!/usr/bin/env python3
"""What docs/compression.md claims, from nothing: 36 to 45 minutes on two CPU cores.

    python scripts/compression_evidence.py --output_dir runs/evidence

Writes the synthetic dataset, trains an X3D and a SlowFast on it, prunes, distils and quantises
them by the ordinary tools, and writes the tables to evidence.md. Goes on where it stopped.
--quick shrinks everything to see that it runs; the numbers then mean nothing.
"""

import argparse
import json
import logging
import statistics
import sys
from collections.abc import Iterable
from pathlib import Path

from slowfast.reports.table import Table
from slowfast.utils.errors import one_line_errors
from slowfast.utils.logging import setup_logging
from slowfast.utils.stages import Stage, run_stages

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = {"x3d": "X3D_T", "slowfast": "SLOWFAST_T"}
# Kernels work on several channels at a time: other widths cost accuracy and save no time.
# Of the SlowFast's MACs a bit less than half is left: a third are its stems, which stay.
CUTS = {"x3d": (0.5, 4), "slowfast": (0.47, 8)}  # share of the MACs, widths in multiples of
LR_FACTORS = {"x3d": 0.3, "slowfast": 1.0}  # the less a cut leaves, the more there is to learn
CUT = ["--method", "taylor", "--scope", "global"]
STUDENT = "X3D_XT"
METHODS = ("l1_structured", "taylor", "group_norm", "random")
STUDENT_EPOCHS = 5  # it has room because it sees fewer pixels for fewer epochs than its teacher
LOSSES = {"alone": ["--alpha", 1], "kd": ["--loss", "kd"], "dist": ["--loss", "dist=4"]}
SEEDS = (1, 2, 3)
FINETUNE, COMPARE = {"x3d": 8, "slowfast": 11}, 1  # epochs
# Of what is pruned: fewer batches for batch norms, more turns for the clock.
PRUNED = ["BN.NUM_BATCHES_PRECISE", 50, "BENCHMARK.STEPS", 200]
BRIEF = ["TEST.NUM_ENSEMBLE_VIEWS", 1]  # of cuts that are only compared
RUNTIME, OTHER_RUNTIME = "onnxruntime", "openvino"
TIMES = "benchmark.json"
LATENCY_SHARES = {"x3d": 0.6, "slowfast": 0.75}  # below 0.6 the stems alone take longer
QUICK = ["SOLVER.MAX_EPOCH", "1", "CPU_PROCESSES", "1", "BENCHMARK.STEPS", "5"]


class Evidence:
    """The stages, by what they show.

    Args:
        out: of all files.
        quick: shrink everything.
    """

    def __init__(self, out: Path, quick: bool) -> None:
        self.out, self.quick = out, quick
        self.data = out / "data"
        self.stages: list[Stage] = []

    def add(self, name: str, tool: str, *words: object, output: str, needs: Iterable[str]) -> None:
        """One command; ``output`` is a file in its folder."""
        folder = self.out / name
        command = [sys.executable, str(ROOT / "tools" / tool), *map(str, words)]
        needs = list(needs)
        self.stages.append(Stage(name, command, folder, [folder / output], needs))

    def run(self) -> None:
        """Everything added so far that is not up to date."""
        run_stages(self.stages, self.out, chosen=[stage.name for stage in self.stages])

    def config(self, name: str) -> Path:
        """A YAML of the synthetic dataset."""
        return ROOT / "configs" / "Synthetic" / f"{name}.yaml"

    def overrides(self, name: str, *words: object) -> list[object]:
        """What every run on the dataset is told."""
        quick = QUICK if self.quick else []
        return [*quick, "DATA.PATH_TO_DATA_DIR", self.data, "DATA.CACHE_DIR", self.out / "cache",
                "TRAIN.KEEP_CHECKPOINTS", 1, "TRAIN.EVAL_PERIOD", 3, *words,
                "OUTPUT_DIR", self.out / name]  # fmt: skip

    def epochs(self, number: int) -> int:
        return min(number, 1) if self.quick else number

    def weights(self, name: str) -> Path:
        return self.out / name / "checkpoints" / "best.pyth"

    def read(self, name: str, file: str) -> dict:
        return json.loads((self.out / name / file).read_text())

    def train(self) -> None:
        """The dataset and the networks that are compressed."""
        clips = 96 if self.quick else 3000
        self.add("data", "make_synthetic.py", "--output_dir", self.data, "--num_clips", clips,
                 output="manifest.json", needs=[])  # fmt: skip
        for name, config in CONFIGS.items():
            self.add(name, "run_net.py", "--cfg", self.config(config), *self.overrides(name),
                     output="checkpoints/best.pyth", needs=["data"])  # fmt: skip

    def prune(self, name: str, network: str, seed: int, epochs: int, *options: object,
              words: Iterable[object] = ()) -> None:  # fmt: skip
        self.add(name, "prune.py", "--cfg", self.config(CONFIGS[network]), "--model_path",
                 self.weights(network), "--finetune_epochs", self.epochs(epochs), *options,
                 *self.overrides(name, "RNG_SEED", seed, *PRUNED, *words),
                 output="prune.json", needs=[network])  # fmt: skip

    def halve(self) -> None:
        """Half of the MACs, and how much faster that is."""
        for network in CONFIGS:
            share, multiple = CUTS[network]
            self.prune(f"prune_{network}", network, 1, FINETUNE[network], *CUT,
                       "--target_macs", share, "--round_to", multiple, "--runtime", RUNTIME,
                       words=["DISTILLATION.LOSSES", "[kd]", "PRUNING.LR_FACTOR",
                              LR_FACTORS[network]])  # fmt: skip
            pruned = self.out / f"prune_{network}" / "finetuned.pyth"
            for runtime in (RUNTIME, OTHER_RUNTIME):
                name = f"speed_{network}_{runtime}"
                files = [f"{path}@{runtime}" for path in (self.weights(network), pruned)]
                self.time(name, "--compare", *files, needs=[f"prune_{network}"])

    def time(self, name: str, *words: object, needs: Iterable[str]) -> None:
        """A benchmark."""
        self.add(name, "benchmark.py", *words, "--no_memory", "--output",
                 self.out / name / TIMES, "BENCHMARK.STEPS", 200, output=TIMES, needs=needs
                 )  # fmt: skip

    def compare(self) -> None:
        """Methods against each other."""
        for method in METHODS:
            for seed in SEEDS:
                self.prune(f"compare_{method}_{seed}", "x3d", seed, COMPARE, "--target_macs", 0.5,
                           "--method", method, "--scope", "local",
                           words=["PRUNING.DISTIL", False, "CPU_PROCESSES", 1,
                                  "BENCHMARK.STEPS", 20, *BRIEF])  # fmt: skip

    def latency(self) -> None:
        """A measured target, a share of what the network takes the minute before."""
        for network in CONFIGS:
            name = f"time_{network}"
            self.time(name, "--model_path", self.weights(network), "--runtimes", RUNTIME,
                      needs=[network])  # fmt: skip
            self.run()
            before = self.read(name, TIMES)["rows"][0]["p50_ms"]
            target = round(LATENCY_SHARES[network] * before, 2)
            self.prune(f"latency_{network}", network, 1, 0, "--target_latency_ms", target,
                       "--method", "group_norm", "--runtime", RUNTIME, words=BRIEF)  # fmt: skip
            self.run()

    def distil(self) -> None:
        """The same student alone and with its teacher."""
        for loss, words in LOSSES.items():
            for seed in SEEDS:
                name = f"student_{loss}_{seed}"
                self.add(name, "distill.py", "--student_cfg", self.config(STUDENT),
                         "--teacher_model", self.weights("slowfast"), *words,
                         *self.overrides(name, "RNG_SEED", seed, "SOLVER.MAX_EPOCH",
                                         self.epochs(STUDENT_EPOCHS),
                                         "TEST.NUM_ENSEMBLE_VIEWS", 1),
                         output="distill.json", needs=["slowfast"])  # fmt: skip

    def quantise(self) -> None:
        """int8 files of the trained networks; what is said of each compares it with bf16."""
        for network, config in CONFIGS.items():
            for backend in ("onnxruntime", "openvino"):
                name = f"int8_{backend}_{network}"
                self.add(name, "quantize.py", "--cfg", self.config(config), "--model_path",
                         self.weights(network), "--backend", backend, "--precision", "int8",
                         *self.overrides(name), output="quantize.json", needs=[network]
                         )  # fmt: skip

    def tables(self) -> str:
        """All results as Markdown."""
        parts = [self.halved(), self.compared(), self.targets(), self.students(), self.quantised()]
        return "\n\n".join(table.markdown() for table in parts) + "\n"

    def halved(self) -> Table:
        runtimes = (RUNTIME, OTHER_RUNTIME)
        columns = ["network", "state", "params (M)", "MACs (G)", "top-1 (%)", "agreement (%)",
                   *(f"{runtime}: {what}" for runtime in runtimes
                     for what in ("p50 (ms)", "times as fast"))]  # fmt: skip
        rows = []
        for network in CONFIGS:
            times = [self.read(f"speed_{network}_{runtime}", TIMES)["rows"] for runtime in runtimes]
            speeds = {"cut": [None] * 4} | {
                state: [cell for timed in times for cell in speed(timed[number])]
                for number, state in enumerate(("before", "finetuned"))
            }
            for state, row in self.read(f"prune_{network}", "prune.json")["rows"].items():
                rows.append([network, state, row["params_m"], row["macs_g"], row["accuracy"],
                             row["agreement"], *speeds[state]])  # fmt: skip
        epochs = " and ".join(map(str, FINETUNE.values()))
        return Table(columns, rows, f"Half of the MACs, {epochs} epochs of finetuning")

    def compared(self) -> Table:
        rows = []
        for method in METHODS:
            reports = [self.read(f"compare_{method}_{s}", "prune.json")["rows"] for s in SEEDS]
            found = [[r[state]["accuracy"] for r in reports] for state in ("cut", "finetuned")]
            rows.append([method, reports[0]["cut"]["macs_g"], *map(spread, found)])
        columns = ["method", "MACs (G)", "cut, top-1 (%)", f"after {COMPARE} epochs"]
        return Table(columns, rows, f"X3D at equal MACs, {len(SEEDS)} seeds, one view")

    def targets(self) -> Table:
        """Times are those of the quietest turn: the machine is not as fast in every one."""
        rows = []
        for network in CONFIGS:
            report = self.read(f"latency_{network}", "prune.json")
            target, points = report["goal"]["value"], report["tradeoff"]
            shares = {point["ratio"]: point["share_of_latency"] for point in points}
            before = min(p["latency"]["p50_ms"] / p["share_of_latency"] for p in points)
            found = shares[report["ratio"]] * before
            ends = [report["rows"][row]["latency"]["p50_ms"] for row in ("cut", "before")]
            rows.append([network, before, target, found, 100 * (found / target - 1),
                         found / before, ends[0] / ends[1]])  # fmt: skip
        columns = ["network", "before (ms)", "target (ms)", "reached (ms)", "off by (%)",
                   "share of before", "share, measured again"]  # fmt: skip
        return Table(columns, rows, f"--target_latency_ms ({RUNTIME})")

    def students(self) -> Table:
        rows: list[list[object]] = []
        for loss in LOSSES:
            reports = [self.read(f"student_{loss}_{s}", "distill.json")["rows"] for s in SEEDS]
            rows.append([loss, spread([r["student"]["accuracy"] for r in reports])])
        rows.append(["teacher", f"{reports[0]['teacher']['accuracy']:.1f}"])
        return Table(["student", "top-1 (%)"], rows, f"{STUDENT} by SlowFast, {STUDENT_EPOCHS} "
                     f"epochs, {len(SEEDS)} seeds")  # fmt: skip

    def quantised(self) -> Table:
        rows: list[list[object]] = []
        for stage in self.stages:
            if stage.command[1].endswith("quantize.py"):
                report = self.read(stage.name, "quantize.json")
                for name, row in report["rows"].items():
                    said = report["faster"] if name == report["result"] else None
                    rows.append([stage.name.rsplit("_", 1)[1], report["backend"], name,
                                 row["size_mib"], row["latency"]["p50_ms"], row["accuracy"],
                                 row["agreement"], {True: "yes", False: "no"}.get(said)]
                                )  # fmt: skip
        columns = ["network", "runtime", "precision", "size (MiB)", "p50 (ms)", "top-1 (%)",
                   "agreement (%)", "faster"]  # fmt: skip
        return Table(columns, rows, "Quantised")


def speed(row: dict) -> list[object]:
    """Milliseconds; how many times as fast as the first, with quartiles."""
    ratio = row["ratio"]
    text = f"{ratio['median']:.2f} ({ratio['q25']:.2f} to {ratio['q75']:.2f})"
    return [row["p50_ms"], text]


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output_dir", type=Path, default=Path("runs/evidence"))
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args(argv)
    setup_logging()
    with one_line_errors():
        evidence = Evidence(args.output_dir.resolve(), args.quick)
        for part in ("train", "halve", "distil", "quantise", "latency", "compare"):
            getattr(evidence, part)()
            evidence.run()
        path = args.output_dir / "evidence.md"
        path.write_text(evidence.tables(), "utf-8")
        logging.info("wrote %s", path)


if __name__ == "__main__":
    main()
