"""The benchmarks as configs describe them: cfg -> a function that measures and returns numbers.

Repetitions come from ``BENCHMARK.WARMUP`` and ``BENCHMARK.STEPS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from slowfast.datasets.base import DataError
from slowfast.datasets.batch import Batch
from slowfast.datasets.build import build_dataset, build_loader
from slowfast.datasets.pathways import build_batch_transform
from slowfast.datasets.sampling import ClipSampler
from slowfast.datasets.shards.record import ShardRecord
from slowfast.deploy.backends import SUFFIXES
from slowfast.deploy.benchmarks import decoding
from slowfast.deploy.benchmarks import loader as loading
from slowfast.deploy.benchmarks.exported import build_file_benchmark
from slowfast.deploy.benchmarks.model import benchmark_model
from slowfast.deploy.benchmarks.reference import build_reference_model, reference_step
from slowfast.deploy.benchmarks.train_step import WaitMeter, loop_overhead_s, trainer_steps
from slowfast.deploy.latency import (
    Timing,
    describe_machine,
    speedup,
    time_interleaved,
    time_runs,
)
from slowfast.deploy.profile import build_model_inputs
from slowfast.engine.build import (
    Placement,
    build_objective,
    build_optimizer,
    build_placed_model,
    build_placement,
)
from slowfast.engine.hook import Hook
from slowfast.engine.hooks import LogStats
from slowfast.engine.objective import Supervised
from slowfast.engine.schedule import build_schedule
from slowfast.engine.trainer import Loader, Trainer
from slowfast.engine.weights import build_test_weights
from slowfast.models.base import ClipModel
from slowfast.models.build import build_model
from slowfast.models.tiny import TinyNet
from slowfast.utils.device import training_dtype

if TYPE_CHECKING:
    from yacs.config import CfgNode

Result = dict[str, Any]
Benchmark = Callable[[], Result]
HERE, REFERENCE = "here", "as PySlowFast"
ROUNDS = 5  # of loaders, each BENCHMARK.STEPS batches
LOOP_STEPS = 20


def build_model_benchmark(cfg: CfgNode) -> Benchmark:
    """Cost of the model on a clip of the test crop, with ``TEST.CHECKPOINT_FILE_PATH`` if set.

    That may be an exported file.
    """
    if Path(cfg.TEST.CHECKPOINT_FILE_PATH).suffix in SUFFIXES:
        return build_file_benchmark(cfg)
    placement = build_placement(cfg)

    def load() -> ClipModel:
        model = build_model(cfg)
        if cfg.TEST.CHECKPOINT_FILE_PATH:
            build_test_weights(cfg, model, Path(cfg.OUTPUT_DIR))
        return model

    return partial(
        benchmark_model,
        load,
        build_model_inputs(cfg, cfg.DATA.TEST_CROP_SIZE),
        placement,
        throughput_batch=min(cfg.TEST.BATCH_SIZE, 8),
        warmup=cfg.BENCHMARK.WARMUP,
        repeats=cfg.BENCHMARK.STEPS,
    )


def build_train_step_benchmark(cfg: CfgNode, *, reference: bool = False) -> Benchmark:
    """Training steps per second on ready-made uint8 clips: batch transform, model, optimiser."""
    placement = build_placement(cfg)
    batch = build_random_batch(cfg)
    trainer = build_fixed_trainer(cfg, placement, [batch])
    runs = {HERE: trainer_steps(trainer)}
    if reference:
        transform = build_batch_transform(cfg, False, torch.contiguous_format)
        ready = transform(batch.to(placement.device))
        model = build_reference_model(cfg).to(placement.device)
        runs[REFERENCE] = reference_step(model, ready.clips, ready.labels)

    def measure() -> Result:
        timings = time_interleaved(
            runs,
            warmup=cfg.BENCHMARK.WARMUP,
            repeats=cfg.BENCHMARK.STEPS,
            device=placement.device,
        )
        return _comparison(timings, len(batch.clips[0])) | {
            "precision": str(trainer.amp_dtype or torch.float32),
            "machine": describe_machine(placement.device),
        }

    return measure


def build_decoding_benchmark(cfg: CfgNode, backends: Sequence[str] = ()) -> Benchmark:
    """``BENCHMARK.STEPS`` random clips on one core, part by part, beside two yardsticks.

    Args:
        cfg: the config.
        backends: decoding backends; by default all that are installed.

    Raises:
        DataError: the videos are in shards, which the yardsticks cannot read.
    """
    dataset = build_dataset(cfg, "train")
    if isinstance(dataset.records[0], ShardRecord):
        raise DataError(
            "the yardsticks read files, not shards: set TRAIN.DATASET and DATA.PATH_TO_DATA_DIR to "
            "the dataset the shards were made from. scripts/scaling.py measures reading them"
        )
    low, high = cfg.DATA.TRAIN_JITTER_SCALES

    def measure() -> Result:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # as in a worker
        try:
            return decoding.measure_clips(
                dataset,
                backends,
                clips=cfg.BENCHMARK.STEPS,
                jitter_scales=(low, high),
                crop_size=cfg.DATA.TRAIN_CROP_SIZE,
            ) | {"machine": describe_machine()}
        finally:
            torch.set_num_threads(threads)

    return measure


def build_loader_benchmark(
    cfg: CfgNode, *, reference: bool = False, backends: Sequence[str] = ()
) -> Benchmark:
    """Clips loaded per second, the share of training steps spent waiting, and one core's work.

    Needs ``DATA_LOADER.PERSISTENT_WORKERS`` False, so that loaders do not disturb one another.
    """
    placement, size = build_placement(cfg), cfg.TRAIN.BATCH_SIZE
    one_core = build_decoding_benchmark(cfg, backends)
    loader = build_loader(cfg, "train")
    loaders: dict[str, Iterable[object]] = {HERE: loader}
    if reference:
        low, high = cfg.DATA.TRAIN_JITTER_SCALES
        clips = loading.ReferenceClips(
            [record.path for record in loader.dataset.records],
            ClipSampler.from_cfg(cfg, "train"),
            jitter_scales=(low, high),
            crop_size=cfg.DATA.TRAIN_CROP_SIZE,
        )
        loaders[REFERENCE] = loading.reference_loader(
            clips, batch_size=size, num_workers=cfg.DATA_LOADER.NUM_WORKERS
        )

    def measure() -> Result:
        clips = one_core()
        timings = loading.time_loaders(loaders, batches=cfg.BENCHMARK.STEPS, rounds=ROUNDS)
        meter = WaitMeter()
        short = loading.FirstBatches(loader, cfg.BENCHMARK.STEPS)
        build_fixed_trainer(cfg, placement, short, hooks=[meter]).fit(1)
        return _comparison(timings, size) | {
            "share_of_training_spent_waiting": meter.share,
            "workers": cfg.DATA_LOADER.NUM_WORKERS,
            "machine": describe_machine(placement.device),
            "one_core": clips,
        }

    return measure


def build_test_views_benchmark(cfg: CfgNode, video: str) -> Benchmark:
    """Decoding all test views of ``video``: once, against once per view."""

    def measure() -> Result:
        timings = loading.time_test_views(
            video,
            ClipSampler.from_cfg(cfg, "test"),
            num_crops=cfg.TEST.NUM_SPATIAL_CROPS,
            short_side=cfg.DATA.TEST_CROP_SIZE,
            backend=cfg.DATA.DECODING_BACKEND,
        )
        return {
            **{name: timing.as_dict() for name, timing in timings.items()},
            "speedup": speedup(timings["per_view"], timings["once"]),
            "machine": describe_machine(),
        }

    return measure


def build_loop_benchmark(cfg: CfgNode) -> Benchmark:
    """What the trainer adds to a hand-written loop, per step, and its share of this model's."""
    placement = build_placement(cfg)
    trainer = build_fixed_trainer(cfg, placement, [build_random_batch(cfg)])

    def measure() -> Result:
        step = time_runs(
            trainer_steps(trainer),
            warmup=cfg.BENCHMARK.WARMUP,
            repeats=cfg.BENCHMARK.STEPS,
            device=placement.device,
        )
        overhead = loop_overhead_s(_tiny_trainer(placement.device, cfg.LOG_PERIOD))
        return {
            "loop_overhead_ms": overhead * 1e3,
            "step_ms": step.percentile_ms(50),
            "share_percent": 100 * overhead / step.median_s,
            "machine": describe_machine(placement.device),
        }

    return measure


def _tiny_trainer(device: torch.device, log_period: int) -> Trainer:
    """A trainer with the usual statistics whose steps take about a millisecond."""
    model = TinyNet(num_classes=4, width=2).to(device)
    labels = torch.arange(4)
    batch = Batch([torch.rand(4, 3, 2, 8, 8)], labels, labels, torch.zeros(4, 2), {})
    return Trainer(
        Supervised(model, nn.CrossEntropyLoss()),
        torch.optim.SGD(model.parameters(), 0.01, momentum=0.9),
        lambda epoch: 0.01,
        [batch] * LOOP_STEPS,
        hooks=[LogStats(log_period)],
        device=device,
    )


def build_fixed_trainer(
    cfg: CfgNode, placement: Placement, loader: Loader, hooks: Iterable[Hook] = ()
) -> Trainer:
    """The trainer of ``cfg`` over given batches, without its data and files."""
    objective = build_objective(cfg, build_placed_model(cfg, placement))
    if cfg.MODEL.COMPILE:
        objective.trainable.compile()
    return Trainer(
        objective,
        build_optimizer(cfg, objective.trainable),
        build_schedule(cfg),
        loader,
        batch_transform=build_batch_transform(cfg, True, placement.memory_format),
        hooks=list(hooks),
        clip_grad_norm=cfg.SOLVER.CLIP_GRAD_L2NORM,
        amp_dtype=training_dtype(placement.amp_dtype, cfg.TRAIN.AMP_DTYPE, placement.device),
        device=placement.device,
    )


def build_random_batch(cfg: CfgNode) -> Batch:
    """A training batch of noise, as a loader yields it: uint8, channels last in memory."""
    size, side = cfg.TRAIN.BATCH_SIZE, cfg.DATA.TRAIN_CROP_SIZE
    stored = torch.randint(0, 256, (size, cfg.DATA.NUM_FRAMES, side, side, 3), dtype=torch.uint8)
    classes = cfg.MODEL.NUM_CLASSES
    labels: Any = torch.arange(size) % (classes if isinstance(classes, int) else classes[0])
    if cfg.MODEL.TASKS:
        labels = {
            task: torch.arange(size) % count
            for task, count in zip(cfg.MODEL.TASKS, classes, strict=True)
        }
    ids = torch.arange(size)
    return Batch([stored.permute(0, 4, 1, 2, 3)], labels, ids, torch.zeros(size, 2), {})


def _comparison(timings: dict[str, Timing], clips: int) -> Result:
    """Clips per second of every contender, and how many times faster ours is."""
    result: Result = {
        "batch": clips,
        "clips_per_s": {name: timing.per_second(clips) for name, timing in timings.items()},
    }
    if REFERENCE in timings:
        result["speedup"] = speedup(timings[REFERENCE], timings[HERE])
    return result
