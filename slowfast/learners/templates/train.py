"""``train.py`` of a working directory."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from slowfast.config import change_cfg, load_cfg
from slowfast.learners.templates.arguments import (
    add_data_arguments,
    count_classes,
    data_opts,
    make_parser,
)
from slowfast.learners.templates.template import Template, read_template
from slowfast.utils.errors import UserError, one_line_errors
from slowfast.utils.logging import setup_logging
from slowfast.utils.threads import limit_spinning

if TYPE_CHECKING:
    from yacs.config import CfgNode

logger = logging.getLogger(__name__)

KEPT = 3  # checkpoints of epochs
LATEST = "latest.pth"
DESCRIPTION = r"""Train or finetune the model of this folder.

    python train.py --load-weights snapshot.pth \
        --train-ann-files train.txt --train-data-roots data \
        --val-ann-files val.txt --val-data-roots data --save-checkpoints-to outputs

The number of classes is that of the annotation files. Writes latest.pth and best.pth, and what
continuing needs, to --save-checkpoints-to.
"""


def parse(argv: Sequence[str] | None, template: Template) -> argparse.Namespace:
    """The command line; defaults are the template's."""
    parser = make_parser(DESCRIPTION)
    add = parser.add_argument
    for split in ("train", "val"):
        add_data_arguments(parser, split)
    add("--load-weights", type=Path, help="start from these; the classifier may differ")
    add("--resume-from", type=Path, help="go on with the training that wrote this latest.pth")
    add("--save-checkpoints-to", type=Path, default=Path("outputs"), help="(%(default)s)")
    add("--tensorboard-dir", type=Path, help="write TensorBoard files there")
    add("--gpu-num", type=int, help=f"GPUs (those there are, at most {template.gpu_num})")
    add("--batch-size", type=int, default=template.batch_size, help="clips per GPU (%(default)s)")
    add(
        "--epochs", type=int, default=template.epochs,
        help="warm-ups and steps of the schedule shrink or grow with them (%(default)s)",
    )  # fmt: skip
    add(
        "--base-learning-rate", type=float, default=template.base_learning_rate,
        help="lower it to finetune on little data (%(default)s)",
    )  # fmt: skip
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None, *, folder: Path) -> None:
    """Train as the template in ``folder`` and the command line say."""
    template = read_template(folder)
    args = parse(argv, template)
    with one_line_errors(traceback=args.traceback):
        setup_logging()
        limit_spinning()
        # torch loads here, so that --help and a misspelt flag answer at once.
        from slowfast.engine.run import run
        from slowfast.learners.templates.latest import KeepLatest
        from slowfast.utils.distributed import launch, plan_launch

        output_dir = args.save_checkpoints_to
        prepare_output(output_dir, args.resume_from)
        config = build_train_cfg(args, template, folder)
        hooks = [KeepLatest(output_dir, config.TRAIN.CHECKPOINT_PERIOD)]
        plan = plan_launch(
            config.NUM_GPUS, device=config.DEVICE, cpu_processes=config.CPU_PROCESSES
        )
        launch(partial(run, hooks=hooks), (config,), plan)


def build_train_cfg(args: argparse.Namespace, template: Template, folder: Path) -> CfgNode:
    """The model's YAML, changed by the command line.

    Args:
        args: of :func:`parse`.
        template: of the working directory.
        folder: the working directory.
    """
    base = load_cfg(folder / template.config)
    gpus = args.gpu_num if args.gpu_num is not None else count_gpus(template.gpu_num)
    sources = [
        (args.train_ann_files, args.train_data_roots),
        (args.val_ann_files, args.val_data_roots),
    ]
    opts = [
        *("TRAIN.DATASET", "rawframes", "TEST.ENABLE", "False"),
        *data_opts("train", *sources[0]),
        *data_opts("val", *sources[1]),
        *("DATA.PATH_TO_DATA_DIR", str(Path(args.train_data_roots[0]).resolve())),
        *("MODEL.NUM_CLASSES", str(count_classes(*sources))),
        *("OUTPUT_DIR", str(args.save_checkpoints_to)),
        *("TRAIN.AUTO_RESUME", str(args.resume_from is not None)),
        *("TRAIN.KEEP_CHECKPOINTS", str(KEPT)),
        *("NUM_GPUS", str(gpus)),
        *("TRAIN.BATCH_SIZE", str(args.batch_size * max(gpus, 1))),
        *build_schedule_opts(base, args.epochs, args.base_learning_rate),
    ]
    if args.load_weights is not None:
        if not args.load_weights.is_file():
            raise UserError(
                f"--load-weights {args.load_weights} is not there; instantiate_template.py "
                "--download gets trained weights, and without the flag training starts from none"
            )
        opts += ["TRAIN.CHECKPOINT_FILE_PATH", str(args.load_weights)]
    if args.tensorboard_dir is not None:
        opts += ["TENSORBOARD.ENABLE", "True"]
        opts += ["TENSORBOARD.LOG_DIR", str(args.tensorboard_dir.resolve())]
    cfg = change_cfg(base, [*opts, *args.opts])
    return change_cfg(cfg, build_style_opts(cfg, args.train_data_roots, args.save_checkpoints_to))


def build_schedule_opts(cfg: CfgNode, epochs: int, learning_rate: float) -> list[str]:
    """Keys that stretch the schedule of ``cfg`` to ``epochs`` and scale it to ``learning_rate``."""
    solver = cfg.SOLVER
    share = epochs / solver.MAX_EPOCH
    factor = learning_rate / solver.BASE_LR
    values = {
        "SOLVER.MAX_EPOCH": epochs,
        "SOLVER.HEAD_WARMUP_EPOCHS": round(solver.HEAD_WARMUP_EPOCHS * share),
        "SOLVER.WARMUP_EPOCHS": solver.WARMUP_EPOCHS * share,
        "SOLVER.STEPS": [step * share for step in solver.STEPS],
        "AM_SOFTMAX.SCALE_EPOCHS": cfg.AM_SOFTMAX.SCALE_EPOCHS * share,
        "SOLVER.BASE_LR": learning_rate,
        "SOLVER.WARMUP_START_LR": solver.WARMUP_START_LR * factor,
        "SOLVER.COSINE_END_LR": solver.COSINE_END_LR * factor,
    }
    return [word for key, value in values.items() for word in (key, str(value))]


def build_style_opts(cfg: CfgNode, roots: Sequence[str], output_dir: Path) -> list[str]:
    """The key of CrossNorm's list: the one in a data root, else one made from the training clips.

    Args:
        cfg: with the training data.
        roots: data roots.
        output_dir: where a new list goes.
    """
    if not cfg.AUG.CROSSNORM_PROB or cfg.AUG.CROSSNORM_FILE:
        return []
    from slowfast.datasets.augment.crossnorm import FILE_NAME, write_styles
    from slowfast.datasets.styles import build_style_of, measure_styles
    from slowfast.utils.parallel import default_workers

    made = output_dir.resolve() / FILE_NAME
    found = [path for root in roots if (path := Path(root).resolve() / FILE_NAME).is_file()]
    path = found[0] if found else made
    if not path.is_file():
        logger.info("no %s in the data roots: measuring the training clips", FILE_NAME)
        records, style_of = build_style_of(cfg)
        styles, _ = measure_styles(
            records, style_of, workers=default_workers(), progress=cfg.PROGRESS
        )
        if not styles:
            raise UserError(
                "no training clip has colour statistics for CrossNorm: set AUG.CROSSNORM_PROB 0"
            )
        write_styles(made, styles)
    return ["AUG.CROSSNORM_FILE", str(path)]


def count_gpus(limit: int) -> int:
    """GPUs there are, at most ``limit``."""
    import torch

    return min(torch.cuda.device_count(), limit)


def prepare_output(output_dir: Path, resume_from: Path | None) -> None:
    """Make ``output_dir`` one from which the training goes on, or one without a training.

    Raises:
        UserError: it holds a training that was not asked to go on, or one that went on further.
    """
    from slowfast.checkpoint.io import checkpoint_path, last_checkpoint, read_checkpoint

    newest = last_checkpoint(output_dir)
    if resume_from is None:
        if newest is not None:
            raise UserError(
                f"{output_dir} holds a training already ({newest}): give another "
                f"--save-checkpoints-to, or --resume-from {output_dir / LATEST} to go on with it"
            )
        return
    target = checkpoint_path(output_dir, int(read_checkpoint(resume_from)["epoch"]))
    if newest is not None and newest.name > target.name:
        raise UserError(
            f"--resume-from {resume_from} is older than {newest}: give {output_dir / LATEST}, or "
            "another --save-checkpoints-to to train again from there"
        )
    if newest is None or newest.name < target.name:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial_path = target.with_suffix(".tmp")
        shutil.copyfile(resume_from, partial_path)
        os.replace(partial_path, target)
