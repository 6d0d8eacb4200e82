"""Config -> the parts of a training or a test. With ``run``, all of the engine that reads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import nn
from torch.optim import Optimizer

from slowfast.datasets.build import build_loader
from slowfast.datasets.loader import Loader
from slowfast.datasets.pathways import build_batch_transform
from slowfast.engine import parallel
from slowfast.engine.batches import BatchPreparation
from slowfast.engine.evaluate import evaluate
from slowfast.engine.guard import LossGuard
from slowfast.engine.hook import Hook
from slowfast.engine.hooks import (
    EMA,
    Evaluate,
    FrozenBN,
    JsonLog,
    LogStats,
    PreciseBN,
    ProgressBar,
    SaveCheckpoint,
    TensorBoard,
)
from slowfast.engine.hooks.preemption import Preemption
from slowfast.engine.hooks.recipe import build_recipe_hooks
from slowfast.engine.hooks.sample_filter import build_sample_filter
from slowfast.engine.hooks.tensorboard import Draw, DrawBatch
from slowfast.engine.hooks.weights import training_clips
from slowfast.engine.losses import find_loss
from slowfast.engine.metric_learning import build_metric_learning
from slowfast.engine.objective import Criterion, Objective, Supervised
from slowfast.engine.optimizer import make_optimizer, param_groups
from slowfast.engine.predictions import Predictions
from slowfast.engine.regression import (
    FeatureRegression,
    RegressionEvaluation,
    build_is_regression,
    build_regression_evaluation,
)
from slowfast.engine.schedule import build_schedule
from slowfast.engine.trainer import Trainer
from slowfast.engine.watch import build_early_stopping, build_metric_name
from slowfast.models.base import ClipModel
from slowfast.models.build import build_model, preferred_memory_format
from slowfast.models.layers.batchnorm import sync_batchnorm
from slowfast.utils import distributed
from slowfast.utils.device import resolve_amp_dtype, resolve_device, training_dtype
from slowfast.utils.progress import open_progress

if TYPE_CHECKING:
    from yacs.config import CfgNode

MEMORY_FORMATS = {
    "contiguous": torch.contiguous_format,
    "channels_last_3d": torch.channels_last_3d,
}
STATS_FILE = "json_stats.log"
DatasetMetrics = Callable[[Predictions], dict[str, float]]


@dataclass(frozen=True)
class Placement:
    """Where a run computes and how.

    Attributes:
        device: of the model.
        memory_format: of weights and clips.
        amp_dtype: of forward passes in training and validation; ``None`` for full precision.
    """

    device: torch.device
    memory_format: torch.memory_format
    amp_dtype: torch.dtype | None


def build_placement(cfg: CfgNode) -> Placement:
    """Device, memory layout and precision of this process."""
    name = "cpu" if cfg.DEVICE == "auto" and cfg.NUM_GPUS == 0 else cfg.DEVICE
    device = resolve_device(name, local_rank=distributed.local_rank())
    layout = cfg.MODEL.MEMORY_FORMAT
    auto = preferred_memory_format(cfg.MODEL.MODEL_NAME, device)
    amp_dtype = resolve_amp_dtype(cfg.TRAIN.MIXED_PRECISION, cfg.TRAIN.AMP_DTYPE, device)
    return Placement(device, MEMORY_FORMATS.get(layout, auto), amp_dtype)


def build_placed_model(cfg: CfgNode, placement: Placement) -> ClipModel:
    """A fresh model on its device, in its memory layout."""
    model = build_model(cfg)
    if cfg.BN.NORM_TYPE == "sync_batchnorm" and distributed.world_size() > 1:
        return place(cast(ClipModel, sync_batchnorm(model, placement.device)), placement)
    return place(model, placement)


def place(model: ClipModel, placement: Placement) -> ClipModel:
    """Move ``model``, in place; 5-D weights get the memory layout."""
    model.to(placement.device)
    for parameter in model.parameters():
        if parameter.ndim == 5:
            parameter.data = parameter.data.contiguous(memory_format=placement.memory_format)
    return model


def build_optimizer(cfg: CfgNode, module: nn.Module) -> Optimizer:
    """The optimiser of ``SOLVER.*`` over what ``module`` trains."""
    solver = cfg.SOLVER
    groups = param_groups(
        module,
        weight_decay=solver.WEIGHT_DECAY,
        bn_weight_decay=cfg.BN.WEIGHT_DECAY,
        zero_wd_1d=solver.ZERO_WD_1D_PARAM,
    )
    return make_optimizer(
        groups,
        method=solver.OPTIMIZING_METHOD,
        lr=solver.BASE_LR,
        momentum=solver.MOMENTUM,
        dampening=solver.DAMPENING,
        nesterov=solver.NESTEROV,
        betas=tuple(solver.BETAS),
    )


def build_criterion(cfg: CfgNode, train: bool = True) -> Criterion:
    """``MODEL.LOSS_FUNC``; evaluation does not smooth labels."""
    smoothing = cfg.MODEL.LABEL_SMOOTHING if train else 0.0
    return find_loss(cfg.MODEL.LOSS_FUNC, label_smoothing=smoothing)


def build_objective(cfg: CfgNode, model: ClipModel) -> Objective:
    """Fit the labels, or stored features, by ``MODEL.LOSS_FUNC``."""
    if cfg.MODEL.LOSS_FUNC == "am_softmax":
        return build_metric_learning(cfg, model)
    if build_is_regression(cfg):
        return FeatureRegression(model, build_criterion(cfg))
    return Supervised(model, build_criterion(cfg))


@dataclass
class Evaluation:
    """A model, a split and how to score one on the other. Called, it gives the numbers.

    Attributes:
        model: scored.
        loader: of the split.
        prepare: device and batch transform.
        ks: of top-k.
        num_views: per video.
        method: ``sum`` or ``max`` over views.
        max_clips: per forward pass.
        amp_dtype: of the forward pass.
        criterion: for the loss.
        by_position: see :func:`evaluate`.
        progress: mode of the bar.
        title: beside the bar.
        dataset_metrics: what the dataset's own rules give beside the usual metrics.
    """

    model: ClipModel
    loader: Loader
    prepare: BatchPreparation
    ks: Sequence[int] = (1, 5)
    num_views: int = 1
    method: str = "sum"
    max_clips: int | None = None
    amp_dtype: torch.dtype | None = None
    criterion: Criterion | None = None
    by_position: bool = False
    progress: str = "none"
    title: str = "val"
    dataset_metrics: DatasetMetrics | None = None

    def __call__(self) -> tuple[Predictions | None, dict[str, float]]:
        """Predictions on the main process, metrics on every process."""
        dataset = self.loader.dataset
        mode = self.progress if distributed.is_main() else "none"
        with open_progress(len(self.loader), self.title, mode) as bar:
            predictions = evaluate(
                self.model,
                self.loader,
                prepare=self.prepare,
                amp_dtype=self.amp_dtype,
                num_views=self.num_views,
                method=self.method,
                max_clips_per_forward=self.max_clips,
                names=[record.name or record.path for record in dataset.records],
                class_names=dataset.class_names or {},
                criterion=self.criterion,
                by_position=self.by_position,
                on_batch=lambda _: bar.update(),
            )
        if predictions is not None and self.dataset_metrics is not None:
            found = self.dataset_metrics(predictions)
            predictions = replace(predictions, dataset_metrics=found)
        metrics = predictions.metrics(self.ks) if predictions is not None else {}
        return predictions, distributed.broadcast_object(metrics)


def build_evaluation(
    cfg: CfgNode,
    model: ClipModel,
    split: str,
    placement: Placement,
    dataset_metrics: DatasetMetrics | None = None,
) -> Evaluation | RegressionEvaluation:
    """Validation (``val``, one view) or multi-view test (``test``) of ``model``.

    Validation runs in the training's precision, a test always in full.

    Args:
        cfg: the config.
        model: on its device.
        split: ``val`` or ``test``.
        placement: of the run.
        dataset_metrics: see :class:`Evaluation`.
    """
    if build_is_regression(cfg):
        return build_regression_evaluation(cfg, model, split, placement)
    loader = build_loader(cfg, split, rank=distributed.rank(), world_size=distributed.world_size())
    transform = build_batch_transform(cfg, train=False, memory_format=placement.memory_format)
    is_test = split == "test"
    return Evaluation(
        model,
        loader,
        BatchPreparation(placement.device, transform),
        ks=cfg.TEST.TOPK,
        num_views=loader.dataset.num_views,
        method=cfg.DATA.ENSEMBLE_METHOD,
        max_clips=cfg.TEST.BATCH_SIZE if is_test else None,
        amp_dtype=None if is_test else placement.amp_dtype,
        criterion=build_criterion(cfg, train=False),
        by_position=is_test,
        progress=cfg.PROGRESS,
        title=split,
        dataset_metrics=dataset_metrics,
    )


def build_trainer(
    cfg: CfgNode,
    objective: Objective,
    placement: Placement,
    *,
    hooks: Sequence[Hook] = (),
    companions: Sequence[CfgNode] = (),
) -> Trainer:
    """The loop of ``SOLVER.*`` and ``TRAIN.*`` over the training split.

    Wraps ``objective.trainable`` for DDP and compiles it, where asked for; the optimiser is
    built on it as it is now, so load weights and change its structure before.

    Args:
        cfg: the config.
        objective: on its device.
        placement: of the run.
        hooks: see :func:`build_hooks`.
        companions: configs of other networks, whose clips come along; see
            :class:`~slowfast.datasets.companion.Companion`.
    """
    if cfg.MODEL.COMPILE:
        objective.trainable.compile()
    bare = objective.trainable
    parallelism = parallel.build_parallelism(cfg)
    objective.trainable = parallel.wrap(bare, placement.device, parallelism)
    optimizer = build_optimizer(cfg, bare)  # of the shards, where it was sharded
    loader = build_loader(
        cfg,
        "train",
        rank=distributed.rank(),
        world_size=distributed.world_size(),
        companions=companions,
    )
    return Trainer(
        objective,
        optimizer,
        build_schedule(cfg),
        loader,
        batch_transform=build_batch_transform(cfg, True, placement.memory_format, companions),
        hooks=hooks,
        clip_grad_norm=cfg.SOLVER.CLIP_GRAD_L2NORM,
        clip_grad_value=cfg.SOLVER.CLIP_GRAD_VAL,
        amp_dtype=training_dtype(placement.amp_dtype, cfg.TRAIN.AMP_DTYPE, placement.device),
        accumulate_steps=cfg.SOLVER.ACCUMULATE_STEPS,
        device=placement.device,
        seed=cfg.RNG_SEED,
        guard=LossGuard(
            1 if placement.device.type == "cpu" else 10,
            cfg.TRAIN.KILL_LOSS_EXPLOSION_FACTOR,
            cfg.TRAIN.MAX_SKIPPED_LOSSES,
        ),
    )


def build_hooks(
    cfg: CfgNode,
    objective: Objective,
    evaluation: Callable[[], tuple[Predictions | None, dict[str, float]]] | None,
    output_dir: Path,
    *,
    draw: Sequence[Draw] = (),
    draw_batch: Sequence[DrawBatch] = (),
) -> list[Hook]:
    """Every hook the config asks for, in the order they need.

    The average of the weights comes before what estimates, evaluates and saves them; what has
    a state before what saves states.

    Args:
        cfg: the config.
        objective: trained.
        evaluation: validation; ``None`` without one.
        output_dir: of files.
        draw: for TensorBoard, after evaluations.
        draw_batch: for TensorBoard, once per epoch.
    """
    train = cfg.TRAIN
    unranked = cfg.DATA.MULTI_LABEL or build_is_regression(cfg)
    hooks: list[Hook] = [
        ProgressBar(partial(open_progress, mode=cfg.PROGRESS)),
        JsonLog(output_dir / STATS_FILE),
        LogStats(cfg.LOG_PERIOD, () if unranked else cfg.TEST.TOPK),
    ]
    if cfg.MODEL.FROZEN_BN:
        hooks.append(FrozenBN())
    hooks += build_recipe_hooks(cfg)
    if cfg.TENSORBOARD.ENABLE:
        log_dir = cfg.TENSORBOARD.LOG_DIR or f"runs-{train.DATASET}"
        hooks.append(TensorBoard(output_dir / log_dir, draw, draw_batch))
    if train.EMA.ENABLE:
        hooks.append(EMA(objective.model, train.EMA.DECAY))
    if cfg.BN.USE_PRECISE_STATS:
        periods = (train.EVAL_PERIOD, train.CHECKPOINT_PERIOD)
        hooks.append(PreciseBN(training_clips, cfg.BN.NUM_BATCHES_PRECISE, periods))
    if train.SAMPLE_FILTER.ENABLE:
        hooks.append(build_sample_filter(cfg))
    if evaluation is not None:
        hooks.append(Evaluate(evaluation, train.EVAL_PERIOD))
        if cfg.SOLVER.EARLY_STOPPING.ENABLE:
            hooks.append(build_early_stopping(cfg))
    save = SaveCheckpoint(
        output_dir,
        cfg.dump(),
        period=train.CHECKPOINT_PERIOD,
        steps=train.CHECKPOINT_STEPS,
        keep=train.KEEP_CHECKPOINTS,
        best_metric=build_metric_name(cfg, train.BEST_METRIC) if evaluation is not None else "",
        task=cfg.TASK,
    )
    return [*hooks, save, Preemption(save.save_within_epoch)]
