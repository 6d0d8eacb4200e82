"""A whole quantisation as the config says, with a report."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowfast.compression.quantization.build import (
    CPU,
    build_checks,
    build_original,
    build_qat_epochs,
)
from slowfast.compression.quantization.calibration import build_calibration
from slowfast.compression.quantization.errors import QuantizationError
from slowfast.compression.quantization.steps import BF16, Evaluate, Files, Quantization
from slowfast.compression.quantization.training import build_trained_file
from slowfast.compression.report import cost_row
from slowfast.compression.trainings import end_trainings
from slowfast.engine.build import Evaluation, build_evaluation
from slowfast.engine.predictions import Predictions
from slowfast.models.base import ClipModel
from slowfast.models.profile import build_model_inputs, count_macs
from slowfast.utils.distributed import launched_by_torchrun
from slowfast.utils.files import write_text
from slowfast.utils.seed import seed_everything

if TYPE_CHECKING:
    from yacs.config import CfgNode

REPORT = "quantize.json"


def run(config: CfgNode, files: Files) -> dict[str, Any]:
    """Quantise ``QUANTIZATION.CHECKPOINT_FILE_PATH`` as the config says: ``tools/quantize.py``.

    Writes ``int8`` or ``bf16`` with the suffix of the runtime, ``float32`` beside it, and the
    report ``quantize.json`` to ``OUTPUT_DIR``.

    Args:
        config: the config.
        files: exports, opens and times.

    Returns:
        The report: ``rows`` by name, ``faster``, ``sentences``, ``float_layers``, ``files`` ...

    Raises:
        QuantizationError: something asked for makes no sense.
        ModuleNotFoundError: a library is missing; says how to install it.
    """
    build_checks(config)
    if launched_by_torchrun():
        raise QuantizationError(
            "quantising starts the processes of its training itself: no torchrun"
        )
    began = time.perf_counter()
    seed_everything(config.RNG_SEED)
    node = config.QUANTIZATION
    job = build_quantization(config, files)
    if node.PRECISION == BF16:
        made = job.make_bf16()
    else:
        made = job.make_int8(
            build_calibration(config),
            max_drop=node.MAX_DROP,
            ranking_clips=node.RANKING_CLIPS,
            train=partial(build_trained_file, config) if build_qat_epochs(config) else None,
        )
    shapes = build_model_inputs(config, config.DATA.TEST_CROP_SIZE)
    costs = cost_row(job.original, count_macs(job.original, shapes))
    del costs["size_mib"]  # that of the file is told
    report = job.report(made, costs=costs, split=node.EVAL_SPLIT, max_drop=node.MAX_DROP)
    report |= {
        "calibration_clips": node.CALIBRATION_CLIPS,
        "qat_epochs": build_qat_epochs(config),
        "seconds": time.perf_counter() - began,
    }
    write_text(job.out / REPORT, json.dumps(report, indent=1) + "\n")
    end_trainings(job.out)
    return report


def build_quantization(cfg: CfgNode, files: Files) -> Quantization:
    """The steps of ``QUANTIZATION.*``."""
    original = build_original(cfg, CPU)
    return Quantization(
        original,
        files,
        Path(cfg.OUTPUT_DIR),
        runtime=cfg.QUANTIZATION.RUNTIME,
        precision=cfg.QUANTIZATION.PRECISION,
        evaluate=build_evaluate(cfg),
    )


def build_evaluate(cfg: CfgNode) -> Evaluate:
    """Scores models on splits, on the CPU."""
    evaluations: dict[str, Evaluation] = {}

    def evaluate(model: ClipModel, split: str) -> tuple[Predictions, dict[str, float]]:
        if split not in evaluations:
            evaluation = build_evaluation(cfg, model, split, CPU)
            assert isinstance(evaluation, Evaluation)  # build_checks refuses the other
            evaluations[split] = evaluation
        evaluations[split].model = model
        predictions, metrics = evaluations[split]()
        assert predictions is not None  # one process
        return predictions, metrics

    return evaluate
