"""A whole training, a whole test, and one after the other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slowfast.config import diff_cfg, get_cfg
from slowfast.engine.build import (
    STATS_FILE,
    Evaluation,
    build_evaluation,
    build_hooks,
    build_objective,
    build_placed_model,
    build_placement,
    build_trainer,
)
from slowfast.engine.epic import build_epic_challenge
from slowfast.engine.hook import Hook
from slowfast.engine.hooks.checkpoints import SaveCheckpoint
from slowfast.engine.hooks.logs import write_stats
from slowfast.engine.hooks.tensorboard import Draw, DrawBatch
from slowfast.engine.objective import Objective
from slowfast.engine.predictions import Predictions
from slowfast.engine.regression import RegressionEvaluation
from slowfast.engine.trainer import Trainer
from slowfast.engine.weights import (
    build_initial_weights,
    build_resume_point,
    build_test_path,
    build_test_weights,
    resume,
)
from slowfast.models.base import ClipModel
from slowfast.utils import distributed
from slowfast.utils.files import write_text
from slowfast.utils.logging import setup_logging
from slowfast.utils.seed import seed_everything

if TYPE_CHECKING:
    from yacs.config import CfgNode

logger = logging.getLogger(__name__)

CONFIG_FILE = "config.yaml"
BuildObjective = Callable[["CfgNode", ClipModel], Objective]
OpenFile = Callable[["CfgNode", Path], ClipModel]
"""A model from a file that is no checkpoint; it must be what the config describes."""
ALL_VIEWS = (1, 3, 5, 7, 10)
"""What ``TEST.NUM_ENSEMBLE_VIEWS -1`` means in PySlowFast."""


@dataclass
class Training:
    """Everything a training needs, restored and ready to go.

    Attributes:
        trainer: the loop with its hooks.
        start_epoch: 0, or where a resumed run goes on.
        max_epoch: where it ends.
    """

    trainer: Trainer
    start_epoch: int
    max_epoch: int

    def run(self) -> dict[str, float]:
        """Train to the end; the last validation's metrics, and ``best_epoch`` counted from 1."""
        self.trainer.fit(self.max_epoch, self.start_epoch)
        found = dict(self.trainer.metrics)
        for hook in self.trainer.hooks:
            if isinstance(hook, SaveCheckpoint) and hook.best is not None:
                found |= {f"best_{hook.best_metric}": hook.best, "best_epoch": hook.best_epoch + 1}
        return found


def build_training(
    cfg: CfgNode,
    *,
    output_dir: Path | str | None = None,
    objective: BuildObjective = build_objective,
    draw: Sequence[Draw] = (),
    draw_batch: Sequence[DrawBatch] = (),
    hooks: Sequence[Hook] = (),
    companions: Sequence[CfgNode] = (),
) -> Training:
    """A training as the config says, resumed when ``OUTPUT_DIR`` has a checkpoint.

    Args:
        cfg: the config.
        output_dir: instead of ``OUTPUT_DIR``.
        objective: makes the objective of a model; the default fits the labels.
        draw: for TensorBoard: ``(writer, predictions, step)``, after evaluations.
        draw_batch: for TensorBoard: ``(writer, batch, step)``, once per epoch.
        hooks: further ones, after those of the config.
        companions: configs of other networks that the objective asks, see :func:`build_trainer`.
    """
    output_dir = Path(output_dir or cfg.OUTPUT_DIR)
    seed_everything(cfg.RNG_SEED)  # the same first weights in every process
    placement = build_placement(cfg)
    model = build_placed_model(cfg, placement)
    resumed = build_resume_point(cfg, model, output_dir)
    if resumed is None:
        build_initial_weights(cfg, model)
    goal = objective(cfg, model).to(placement.device)
    validates = cfg.TRAIN.EVAL_PERIOD > 0
    evaluation = build_evaluation(cfg, model, "val", placement) if validates else None
    own = build_hooks(cfg, goal, evaluation, output_dir, draw=draw, draw_batch=draw_batch)
    trainer = build_trainer(cfg, goal, placement, hooks=[*own, *hooks], companions=companions)
    seed_everything(cfg.RNG_SEED + distributed.rank())  # other dropout in every process
    start_epoch = resume(trainer, resumed) if resumed else 0
    return Training(trainer, start_epoch, cfg.SOLVER.MAX_EPOCH)


@dataclass
class Testing:
    """Everything a test needs, with the weights loaded.

    Attributes:
        evaluations: one per number of temporal views.
        checkpoint: where the weights came from.
        output_dir: of the statistics file.
        results: where predictions are saved; ``None`` saves none.
        savers: write further files beside them: ``(predictions, path) -> file``.
        on_predictions: called on the main process with every result.
    """

    evaluations: Sequence[Evaluation | RegressionEvaluation]
    checkpoint: Path
    output_dir: Path
    results: Path | None = None
    savers: Sequence[Callable[[Predictions, Path], Path]] = ()
    on_predictions: Sequence[Callable[[Predictions], None]] = ()

    def run(self) -> dict[str, float]:
        """Test, write and log the result; the metrics (of the most views, when there are several).

        Files of several numbers of views carry the number: ``preds_30views.npz``.
        """
        metrics: dict[str, float] = {}
        for evaluation in self.evaluations:
            predictions, metrics = evaluation()
            if predictions is not None:
                self._report(predictions, metrics)
            elif distributed.is_main():  # features were regressed: nothing to rank or save
                stats = {"_type": "test_final", "split": "test_final"} | metrics
                write_stats(stats, self.output_dir / STATS_FILE)
        return metrics

    def _report(self, predictions: Predictions, metrics: dict[str, float]) -> None:
        stats = {"_type": "test_final", "split": "test_final"} | metrics
        stats |= {"num_views": predictions.num_views, "num_videos": len(predictions)}
        write_stats(stats, self.output_dir / STATS_FILE)
        if self.results is not None:
            path = self.results
            if len(self.evaluations) > 1:
                path = path.with_name(f"{path.stem}_{predictions.num_views}views{path.suffix}")
            extra = {"metrics": metrics, "checkpoint": str(self.checkpoint)}
            files = predictions.save(path, extra=extra)
            files += [save(predictions, path) for save in self.savers]
            logger.info("predictions: %s", ", ".join(map(str, files)))
        for function in self.on_predictions:
            function(predictions)


def build_testing(
    cfg: CfgNode,
    *,
    output_dir: Path | str | None = None,
    on_predictions: Sequence[Callable[[Predictions], None]] = (),
    open_files: Mapping[str, OpenFile] | None = None,
) -> Testing:
    """A multi-view test as the config says. Which weights: ``weights.build_test_path``.

    Args:
        cfg: the config.
        output_dir: instead of ``OUTPUT_DIR``.
        on_predictions: called on the main process with every result.
        open_files: suffix -> what opens such files in the place of a checkpoint.
    """
    output_dir = Path(output_dir or cfg.OUTPUT_DIR)
    seed_everything(cfg.RNG_SEED)
    placement = build_placement(cfg)
    checkpoint = build_test_path(cfg, output_dir)
    open_file = (open_files or {}).get(checkpoint.suffix)
    if open_file is not None:
        model = open_file(cfg, checkpoint)
        logger.info("testing %s", checkpoint)
    else:
        model = build_placed_model(cfg, placement)
        checkpoint = build_test_weights(cfg, model, output_dir)
    challenge = build_epic_challenge(cfg)
    dataset_metrics = challenge.metrics if challenge else None
    evaluations = [
        build_evaluation(views, model, "test", placement, dataset_metrics)
        for views in build_view_counts(cfg)
    ]
    save_path = cfg.TEST.SAVE_RESULTS_PATH
    results = output_dir / save_path if save_path else None
    savers = [challenge.save] if challenge else []
    return Testing(evaluations, checkpoint, output_dir, results, savers, on_predictions)


def build_view_counts(cfg: CfgNode) -> list[CfgNode]:
    """One config per number of temporal views to test: ``TEST.NUM_TEMPORAL_CLIPS``, if any."""
    counts = list(cfg.TEST.NUM_TEMPORAL_CLIPS)
    if cfg.TEST.NUM_ENSEMBLE_VIEWS == -1:
        counts = counts or list(ALL_VIEWS)
    if not counts:
        return [cfg]
    configs = []
    for count in counts:
        copy = cfg.clone()
        copy.defrost()
        copy.TEST.NUM_ENSEMBLE_VIEWS = count
        copy.freeze()
        configs.append(copy)
    return configs


def build_summary(cfg: CfgNode) -> str:
    """The keys that differ from the defaults, one per line."""
    differing = diff_cfg(get_cfg(), cfg, sections=[*cfg])
    return "".join(f"\n  {key} {value}" for key, (_, value) in differing.items())


def run(
    config: CfgNode,
    *,
    draw: Sequence[Draw] = (),
    draw_batch: Sequence[DrawBatch] = (),
    on_predictions: Sequence[Callable[[Predictions], None]] = (),
    hooks: Sequence[Hook] = (),
    open_files: Mapping[str, OpenFile] | None = None,
) -> dict[str, float]:
    """Train (``TRAIN.ENABLE``), then test (``TEST.ENABLE``): what ``tools/run_net.py`` does.

    Runs in every process of a launch.

    Args:
        config: the config.
        draw: see :func:`build_training`.
        draw_batch: see :func:`build_training`.
        on_predictions: see :func:`build_testing`.
        hooks: see :func:`build_training`.
        open_files: see :func:`build_testing`.

    Returns:
        Metrics: of validation as ``val_...``, of the test under their own names.
    """
    setup_logging(config.OUTPUT_DIR, main=distributed.is_main())
    if distributed.is_main():
        path = Path(config.OUTPUT_DIR) / CONFIG_FILE
        write_text(path, config.dump())
        logger.info("config (all of it in %s):%s", path, build_summary(config))
    found: dict[str, float] = {}
    if config.TRAIN.ENABLE:
        training = build_training(config, draw=draw, draw_batch=draw_batch, hooks=hooks)
        found |= {f"val_{name}": value for name, value in training.run().items()}
        del training  # its loader processes and optimiser
    if config.TEST.ENABLE:
        testing = build_testing(config, on_predictions=on_predictions, open_files=open_files)
        found |= testing.run()
    return found
