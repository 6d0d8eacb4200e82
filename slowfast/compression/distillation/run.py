"""A whole distillation: ask teachers, train the student, compare them."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader

from slowfast.checkpoint.io import best_path, last_checkpoint
from slowfast.compression.distillation.build import (
    CompanionClips,
    TeacherSource,
    build_checks,
    build_distillation,
    build_example,
    build_losses,
    build_teacher_cfg,
    build_teacher_model,
    build_teacher_sources,
)
from slowfast.compression.distillation.cached import ask, keep, stored_teacher
from slowfast.compression.distillation.objective import DistillationError, Teacher
from slowfast.compression.report import Latency, Row, accuracy, agreement, cost_row
from slowfast.datasets.base import Failure
from slowfast.datasets.batch import Batch
from slowfast.datasets.build import build_dataset, count_workers
from slowfast.datasets.loader import collate
from slowfast.datasets.pathways import build_batch_transform
from slowfast.engine.batches import BatchPreparation
from slowfast.engine.build import Placement, build_evaluation, build_placement, place
from slowfast.engine.objective import Objective
from slowfast.engine.predictions import Predictions
from slowfast.engine.run import build_training
from slowfast.engine.weights import load_model
from slowfast.models.base import ClipModel
from slowfast.models.profile import build_model_inputs, count_macs
from slowfast.utils import distributed
from slowfast.utils.distributed import launch, launched_by_torchrun, plan_launch
from slowfast.utils.files import copy_file, write_text

if TYPE_CHECKING:
    from yacs.config import CfgNode

STUDENT, REPORT, LOGITS = "student.pyth", "distill.json", "teacher_logits.pyth"
SPLIT = "test"
ASK_BATCH = 16  # videos at a time; of no influence on the result


def run(
    config: CfgNode,
    *,
    latency: Callable[[CfgNode], Latency] | None = None,
    machine: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train a student as the config says, with its teachers; what ``tools/distill.py`` does.

    An interrupted run goes on when it is started again. Writes ``student.pyth`` and the report
    ``distill.json`` to ``OUTPUT_DIR``, beside what every training writes.

    Args:
        config: of the student, with ``DISTILLATION.*``.
        latency: config of a network -> what times it; adds the latency to the report.
        machine: what it is measured with, for the report.

    Returns:
        The report: ``rows`` by name (``teacher``, ``student``), ``files``, ``losses`` ...

    Raises:
        DistillationError: something asked for makes no sense.
    """
    build_checks(config)
    if launched_by_torchrun():
        raise DistillationError("distillation starts the processes of its training itself: "
                                "no torchrun")  # fmt: skip
    began = time.perf_counter()
    sources = build_teacher_sources(config)
    out = Path(config.OUTPUT_DIR)
    plan = plan_launch(config.NUM_GPUS, device=config.DEVICE, cpu_processes=config.CPU_PROCESSES)
    launch(train_student, (config,), plan)
    trained = best_path(out, config.TASK)
    if not trained.is_file():
        trained = last_checkpoint(out, config.TASK) or trained
    copy_file(trained, out / STUDENT)
    placement = build_placement(config)
    networks = {
        "teacher" if len(sources) == 1 else f"teacher {i}": (
            build_teacher_cfg(config, source.config),
            build_teacher_model(source, placement),
        )
        for i, source in enumerate(sources, 1)
    }
    networks["student"] = (config, place(load_model(out / STUDENT)[0], placement))
    report = {
        "losses": build_losses(config),
        "alpha": config.DISTILLATION.ALPHA,
        "temperature": config.DISTILLATION.TEMPERATURE,
        "teachers": [str(source.path) for source in sources],
        "split": SPLIT,
        "rows": rows_of(networks, placement, latency),
        "machine": dict(machine or {}),
        "files": {"student": str(out / STUDENT), "report": str(out / REPORT)},
        "seconds": time.perf_counter() - began,
    }
    write_text(out / REPORT, json.dumps(report, indent=1) + "\n")
    return report


def train_student(config: CfgNode) -> None:
    """The training; runs in every process of it."""
    placement = build_placement(config)
    sources = build_teacher_sources(config)
    teachers = [
        Teacher(build_teacher_model(source, placement), CompanionClips(number))
        for number, source in enumerate(sources)
    ]
    companions = [source.config for source in sources]
    if config.DISTILLATION.CACHE_TEACHER:
        dataset_size = len(build_dataset(config, "train"))
        table = keep(
            Path(config.OUTPUT_DIR) / LOGITS,
            build_facts(config, sources),
            lambda: ask(teachers, build_views(config, companions, placement), dataset_size),
        )
        teachers, companions = [stored_teacher(table)], []
    example = build_example(config, placement, companions)

    def build_objective(cfg: CfgNode, model: ClipModel) -> Objective:
        return build_distillation(cfg, model, teachers, example)

    build_training(config, objective=build_objective, companions=companions).run()


def build_views(cfg: CfgNode, companions: list[CfgNode], placement: Placement) -> Iterator[Batch]:
    """This process's share of the training videos as the objective gets them, each once.

    Args:
        cfg: of the student.
        companions: configs of the teachers.
        placement: of the run.
    """
    dataset = build_dataset(cfg, "train", companions)
    world = distributed.world_size()
    keys = [(0, index) for index in range(distributed.rank(), len(dataset), world)]
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_sampler=[keys[i : i + ASK_BATCH] for i in range(0, len(keys), ASK_BATCH)],
        collate_fn=collate,
        num_workers=count_workers(cfg.DATA_LOADER.NUM_WORKERS, world),
        generator=torch.Generator(),
    )
    transform = build_batch_transform(cfg, True, placement.memory_format, companions)
    prepare = BatchPreparation(placement.device, transform)
    for batch in loader:
        if isinstance(batch, Failure):
            raise batch.error
        yield prepare(batch, torch.Generator())


def build_facts(cfg: CfgNode, sources: list[TeacherSource]) -> object:
    """Everything that the teachers' logits depend on."""
    return {
        "teachers": [
            [hashlib.sha256(source.path.read_bytes()).hexdigest(), source.config.dump()]
            for source in sources
        ],
        "views": [cfg.DATA.dump(), cfg.AUG.dump(), cfg.TRAIN.DATASET, cfg.RNG_SEED],
    }


def rows_of(
    networks: Mapping[str, tuple[CfgNode, ClipModel]],
    placement: Placement,
    latency: Callable[[CfgNode], Latency] | None,
) -> dict[str, Row]:
    """Costs, accuracy and agreement with the first of every network, each with its own views."""
    rows: dict[str, Row] = {}
    reference: Predictions | None = None
    for name, (config, model) in networks.items():
        found: Any = build_evaluation(config, model, SPLIT, placement)()
        predictions, metrics = found
        reference = reference or predictions
        macs = count_macs(model, build_model_inputs(config, config.DATA.TEST_CROP_SIZE))
        rows[name] = cost_row(model, macs) | accuracy(metrics)
        if predictions is not None and reference is not None:
            rows[name]["agreement"] = agreement(predictions, reference)
        rows[name]["metrics"] = metrics
        if latency is not None:
            rows[name]["latency"] = latency(config)({name: model})[name]
    return rows
