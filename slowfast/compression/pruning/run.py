"""A whole pruning: sparse training, cuts, batch norm statistics, finetuning, and a report."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from slowfast.checkpoint.io import best_path, last_checkpoint, write_checkpoint
from slowfast.compression.pruning.bench import Bench, build_bench, build_evidence
from slowfast.compression.pruning.build import (
    build_checks,
    build_finetune_epochs,
    build_finetuning,
    build_goal,
    build_original,
    build_pruner,
    build_scope,
    build_sparsity,
    build_stage_config,
)
from slowfast.compression.pruning.channels import Pruner, PruningError
from slowfast.compression.pruning.steps import SPARSE, Steps
from slowfast.compression.report import Latency, Row, accuracy, agreement, cost_row
from slowfast.compression.trainings import begin_training, build_facts, end_trainings
from slowfast.engine.build import build_placement, place
from slowfast.engine.predictions import Predictions
from slowfast.engine.run import build_training
from slowfast.engine.weights import load_model
from slowfast.models.base import ClipModel
from slowfast.utils.distributed import launch, launched_by_torchrun, plan_launch
from slowfast.utils.files import copy_file, write_text
from slowfast.utils.seed import rng_state, seed_everything, set_rng_state
from slowfast.utils.widths import read_widths

if TYPE_CHECKING:
    from yacs.config import CfgNode

PRUNED, FINETUNED, REPORT, WIDTHS = "pruned.pyth", "finetuned.pyth", "prune.json", "widths.json"


def run(
    config: CfgNode, *, latency: Latency | None = None, machine: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Prune ``PRUNING.CHECKPOINT_FILE_PATH`` as the config says; what ``tools/prune.py`` does.

    Writes ``pruned.pyth``, ``widths.json``, with finetuning ``finetuned.pyth``, and the report
    ``prune.json`` to ``OUTPUT_DIR``; trainings go to sub-folders. An interrupted run goes on when
    it is started again: a training that was the same is resumed.

    Args:
        config: the config.
        latency: times networks; needed for ``PRUNING.TARGET_LATENCY_MS``, and otherwise adds the
            latency to the report.
        machine: what it is measured with, for the report.

    Returns:
        The report: ``rows`` by name (``before``, ``cut``, ``finetuned``), ``files``, ``ratio``, ...

    Raises:
        PruningError: something asked for makes no sense.
        BudgetError: the target cannot be met.
    """
    build_checks(config)
    if launched_by_torchrun():
        raise PruningError("pruning starts the processes of its trainings itself: no torchrun")
    if config.PRUNING.TARGET_LATENCY_MS and latency is None:
        raise PruningError("PRUNING.TARGET_LATENCY_MS needs a way to measure the latency")
    began = time.perf_counter()
    seed_everything(config.RNG_SEED)
    out = Path(config.OUTPUT_DIR)
    placement = build_placement(config)
    original = build_original(config, placement)
    stay = build_pruner(config, original).left_out  # refuses what cannot be pruned
    bench = build_bench(config, original, placement, latency)
    steps = build_steps(config, bench)
    models = {"before": original, "cut": steps.run(original)}
    files = {"pruned": build_file(config, models["cut"], out / PRUNED), "widths": out / WIDTHS}
    table = json.dumps(read_widths(models["cut"])).replace("], ", "],\n ")
    write_text(files["widths"], table + "\n")
    if epochs := build_finetune_epochs(config):
        files["finetuned"] = out / FINETUNED
        trained = build_trained_file(config, models["cut"], epochs, "finetune")
        copy_file(trained, files["finetuned"])
        models["finetuned"] = place(load_model(trained)[0], placement)
    report = {
        "method": config.PRUNING.PRUNING_METHOD,
        "scope": build_scope(config),
        "goal": steps.goal.as_dict(),
        "ratio": steps.ratio,
        "split": config.PRUNING.EVAL_SPLIT,
        "rows": rows_of(models, bench),
        "machine": dict(machine or {}),
        "tradeoff": steps.tradeoff,
        "kept_whole": stay,
        "files": {name: str(path) for name, path in files.items()},
        "seconds": time.perf_counter() - began,
    }
    write_text(out / REPORT, json.dumps(report, indent=1) + "\n")
    end_trainings(out)
    return report


def build_steps(cfg: CfgNode, bench: Bench) -> Steps:
    """The cuts, and the trainings around them."""

    def make_pruner(model: ClipModel) -> Pruner:
        return build_pruner(cfg, model, build_evidence(cfg, model, bench))

    def train(model: ClipModel, epochs: int, name: str) -> ClipModel:
        trained, _ = load_model(build_trained_file(cfg, model, epochs, name))
        return place(trained, bench.placement)

    return Steps(bench, build_goal(cfg), make_pruner, train)


def build_file(cfg: CfgNode, model: ClipModel, path: Path) -> Path:
    """A checkpoint of the weights, with the widths where the model was pruned."""
    return write_checkpoint(path, epoch=0, model=model, optimizer=None, cfg_yaml=cfg.dump())


def build_trained_file(cfg: CfgNode, model: ClipModel, epochs: int, name: str) -> Path:
    """The checkpoint that training ``model`` leaves in the sub-folder ``name``."""
    folder = Path(cfg.OUTPUT_DIR) / name
    start = build_file(cfg, model, folder / "start.pyth")
    stage = build_stage_config(cfg, epochs=epochs, start=start, output_dir=folder)
    return train_apart(stage, sparse=name == SPARSE)


def rows_of(models: Mapping[str, ClipModel], bench: Bench) -> dict[str, Row]:
    """Costs, accuracy and agreement with the first of every network."""
    rows: dict[str, Row] = {}
    reference: Predictions | None = None
    for name, model in models.items():
        predictions, metrics = bench.evaluate(model)
        reference = reference or predictions
        rows[name] = cost_row(model, bench.macs(model)) | accuracy(metrics)
        if predictions is not None and reference is not None:
            rows[name]["agreement"] = agreement(predictions, reference)
        rows[name]["metrics"] = metrics
    for name, timing in (bench.latency(models) if bench.latency else {}).items():
        rows[name]["latency"] = timing
    return rows


def train_apart(config: CfgNode, *, sparse: bool = False) -> Path:
    """Train as a config says, in as many processes as it says.

    Args:
        config: see :func:`~slowfast.compression.pruning.build.build_stage_config`.
        sparse: see :func:`train_stage`.

    Returns:
        The best checkpoint; the last of a sparse training, whose best is not its sparsest, and
        where there is no validation.
    """
    folder = Path(config.OUTPUT_DIR)
    begin_training(folder, build_facts(config))
    plan = plan_launch(config.NUM_GPUS, device=config.DEVICE, cpu_processes=config.CPU_PROCESSES)
    launch(train_stage, (config, sparse), plan)
    best = best_path(folder, config.TASK)
    if not sparse and best.is_file():
        return best
    path = last_checkpoint(folder, config.TASK)
    assert path is not None, folder
    return path


def train_stage(config: CfgNode, sparse: bool) -> None:
    """One training of a pruning; runs in every process of it.

    Args:
        config: of the training.
        sparse: with the sparsity penalty and labels only; else with the unpruned network as
            teacher, see :func:`~slowfast.compression.pruning.build.build_finetuning`.
    """
    if not sparse:
        build_training(config, objective=build_finetuning).run()
        return
    training = build_training(config)
    model = cast(ClipModel, training.trainer.objective.model)
    state = rng_state()  # finding the groups must not shift a resumed training's random numbers
    training.trainer.hooks.insert(0, build_sparsity(config, model))
    set_rng_state(state)
    training.run()
