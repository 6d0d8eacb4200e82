"""From a dataset to a compressed, exported, measured model: the commands, and what needs what."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from slowfast.config import load_cfg
from slowfast.datasets.synthetic import find_layout, layout_of_dataset
from slowfast.deploy.export import EXPORTERS
from slowfast.utils.errors import UserError
from slowfast.utils.stages import Stage, StageError, describe_files

BEST = Path("checkpoints") / "best.pyth"
OPTIONS = ("prune", "distill", "quantize")
RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino", "torch_export": "torch_export"}
"""Format of exported files -> what runs them here."""


@dataclass
class Plan:
    """What the stages are about.

    Attributes:
        config: YAML of the network to compress.
        text: what it says, overrides included.
        options: stage -> what ``PIPELINE`` says of it.
        formats: of the result's files.
        runtime: the one of them that is measured and streamed.
        overrides: ``KEY VALUE`` words of every run.
        data: folder of the dataset.
        made: layout of the dataset to write; empty where it is there.
        num_clips: of it.
        out: folder of everything.
        tools: folder of the tools.
        student: YAML of the student; ``None``: the pruned network is the result.
    """

    config: Path
    text: str
    options: dict[str, list[str]]
    formats: list[str]
    runtime: str
    overrides: list[str]
    data: Path
    made: str
    num_clips: int
    out: Path
    tools: Path
    student: Path | None
    stages: list[Stage] = field(default_factory=list)

    @property
    def teacher(self) -> Path:
        """The trained network."""
        return self.out / "train" / BEST

    @property
    def result(self) -> Path:
        """The compressed one."""
        return self.out / ("distill/student.pyth" if self.student else "prune/finetuned.pyth")

    @property
    def result_config(self) -> Path:
        """Its config."""
        return self.student or self.config

    def run_of(self, config: Path, stage: str, *words: str) -> list[str]:
        """Config and overrides of one run, its output in the folder of the stage."""
        pairs = [*self.overrides, *words, "OUTPUT_DIR", str(self.out / stage)]
        return ["--cfg", str(config), *pairs]

    def add(
        self, name: str, tool: str, words: Sequence[object], output: str, needs: Sequence[str]
    ) -> None:
        """One more stage; ``output`` is what is there when it is done."""
        command = [sys.executable, str(self.tools / tool), *map(str, words)]
        inputs = self.text + (self.student.read_text("utf-8") if self.student else "")
        if not self.made:
            inputs += describe_files(self.data.glob("*.csv"))
        folder = self.out / name
        self.stages.append(Stage(name, command, folder, [folder / output], needs, inputs))


def build_stages(
    config: Path,
    opts: Sequence[str],
    *,
    data_dir: Path | None,
    output_dir: Path,
    num_clips: int,
    tools: Path,
) -> list[Stage]:
    """The table of stages. Each is one command that a person can run alone.

    Args:
        config: YAML of the network to train and compress, with a node ``PIPELINE``.
        opts: ``KEY VALUE`` words.
        data_dir: the dataset; ``None``: a synthetic one is written, in the layout the config reads.
        output_dir: of everything.
        num_clips: of a synthetic dataset.
        tools: folder of the tools.

    Raises:
        StageError: a folder or file that is named does not exist.
        UserError: the config's dataset cannot be made.
    """
    plan = build_plan(config, opts, data_dir, output_dir, num_clips, tools)
    _add_data(plan)
    _add_training(plan)
    _add_compression(plan)
    _add_deployment(plan)
    folder = plan.out / "report"
    words = [f"{config.stem}={plan.out}", "--output", folder / "report.html"]
    plan.add("report", "report.py", words, "report.html", [])
    names = [stage.name for stage in plan.stages[:-1]]
    plan.stages[-1] = replace(plan.stages[-1], tells=names)  # it shows what there is
    return plan.stages


def build_plan(
    config: Path,
    opts: Sequence[str],
    data_dir: Path | None,
    output_dir: Path,
    num_clips: int,
    tools: Path,
) -> Plan:
    """See :func:`build_stages`."""
    out, made = output_dir.resolve(), ""
    data = out / "data" if data_dir is None else data_dir.resolve()
    overrides = ["DATA.PATH_TO_DATA_DIR", str(data)]
    if data_dir is None:
        made = layout_of_dataset(load_cfg([config], opts).TRAIN.DATASET)
        if find_layout(made).writes_files:  # short clips, seen in every epoch: decoded once
            overrides += ["DATA.CACHE_DIR", str(out / "cache")]
        if made == "kinetics":  # whose lists have numbers only
            overrides += ["DATA.CLASS_NAMES_PATH", str(data / "class_names.json")]
    elif not data.is_dir():
        raise StageError(f"--data_dir {data} is not a folder")
    cfg = load_cfg([config], [*overrides, *opts])
    node = cfg.PIPELINE
    formats, runtime = list(node.FORMATS), node.RUNTIME
    if runtime not in formats or runtime not in RUNTIMES:
        runs = [name for name in formats if name in RUNTIMES]
        raise UserError(
            f"PIPELINE.RUNTIME {runtime!r} must be one of PIPELINE.FORMATS that runs here: "
            f"{', '.join(runs) or 'there is none'}"
        )
    return Plan(
        config=config.resolve(),
        text=cfg.dump(),
        options={stage: shlex.split(node[stage.upper()]) for stage in OPTIONS},
        formats=formats,
        runtime=runtime,
        overrides=[*overrides, *opts],
        data=data,
        made=made,
        num_clips=num_clips,
        out=out,
        tools=tools,
        student=find_student(node.STUDENT_CFG_FILE, config),
    )


def find_student(name: str, config: Path) -> Path | None:
    """The YAML called ``name``, as seen from here or from the YAML that names it."""
    if not name:
        return None
    for path in (Path(name), config.resolve().parent / name):
        if path.is_file():
            return path.resolve()
    raise UserError(
        f"PIPELINE.STUDENT_CFG_FILE {name!r}: no such file, neither here nor beside {config}"
    )


def _add_data(plan: Plan) -> None:
    if plan.made:
        words: list[Any] = ["--layout", plan.made, "--output_dir", plan.data]
        words += ["--num_clips", plan.num_clips]
        plan.add("data", "make_synthetic.py", words, "manifest.json", [])
        return
    # Nothing waits for it: training tells of what it leaves out, and stops where that is much.
    words = ["--output_dir", plan.out / "check", *plan.run_of(plan.config, "check")]
    plan.add("check", "check_data.py", words, "classes.png", [])


def _add_training(plan: Plan) -> None:
    needs = ["data"] if plan.made else []
    words = plan.run_of(plan.config, "train", "TEST.ENABLE", "False")
    plan.add("train", "run_net.py", words, str(BEST), needs)
    words = ["--eval", *plan.run_of(plan.config, "test")]
    words += ["TEST.CHECKPOINT_FILE_PATH", str(plan.teacher), "TEST.SAVE_RESULTS_PATH", "preds"]
    plan.add("test", "run_net.py", words, "stdout.log", ["train"])


def _add_compression(plan: Plan) -> None:
    words = ["--model_path", str(plan.teacher), *plan.options["prune"]]
    words += plan.run_of(plan.config, "prune")
    plan.add("prune", "prune.py", words, "finetuned.pyth", ["train"])
    made = "prune"
    if plan.student:
        made = "distill"
        words = ["--teacher_model", str(plan.teacher), *plan.options["distill"]]
        words += plan.run_of(plan.student, "distill")
        plan.add("distill", "distill.py", words, "distill.json", ["train"])
    words = ["--model_path", str(plan.result), *plan.options["quantize"]]
    words += plan.run_of(plan.result_config, "quantize")
    plan.add("quantize", "quantize.py", words, "quantize.json", [made])


def _add_deployment(plan: Plan) -> None:
    made = "distill" if plan.student else "prune"
    formats, best = plan.formats, plan.runtime
    model, exported, stream = plan.result, plan.out / "export", plan.out / "stream"

    def export(stage: str, names: Sequence[str], *words: str) -> list[str]:
        options = ["--model_path", str(model), "--format", *names, *words]
        return [*options, "--output", str(plan.out / stage), *plan.run_of(config, stage)]

    config, suffix = plan.result_config, EXPORTERS.get(best).suffix
    file = exported / f"{model.stem}{suffix}"
    plan.add("export", "export.py", export("export", formats), file.name, [made])
    words = ["--eval", *plan.run_of(config, "parity"), "TEST.CHECKPOINT_FILE_PATH", str(file)]
    words += ["TEST.SAVE_RESULTS_PATH", "preds"]
    plan.add("parity", "run_net.py", words, "stdout.log", ["export"])
    file = stream / f"{model.stem}_stream{suffix}"
    plan.add("stream", "export.py", export("stream", [best], "--stream"), file.name, [made])
    words = ["--model_path", str(file), "--output", str(plan.out / "live" / "benchmark.json")]
    plan.add("live", "benchmark.py", words, "benchmark.json", ["stream"])
    ways = ["eager", RUNTIMES[best]]
    models = [f"{path}@{way}" for path in (plan.teacher, model) for way in ways]
    words = ["--compare", *models, "--output", str(plan.out / "benchmark" / "benchmark.json")]
    words += plan.run_of(plan.config, "benchmark")
    plan.add("benchmark", "benchmark.py", words, "benchmark.json", [made])
