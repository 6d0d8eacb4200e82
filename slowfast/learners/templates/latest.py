"""Checkpoints under the names that the commands of a working directory use."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from slowfast.checkpoint.io import best_path, last_checkpoint
from slowfast.engine.hook import Hook
from slowfast.engine.trainer import Trainer
from slowfast.utils import distributed


class KeepLatest(Hook):
    """``latest.pth`` and ``best.pth`` in the output folder are always the newest such files.

    Put it after the hook that saves.

    Args:
        output_dir: ``OUTPUT_DIR``.
        period: ``TRAIN.CHECKPOINT_PERIOD``.
    """

    def __init__(self, output_dir: Path, period: int = 1) -> None:
        self.output_dir, self.period = output_dir, period

    def after_epoch(self, trainer: Trainer) -> None:
        if not trainer.is_due(self.period) or not distributed.is_main():
            return
        for source, name in (
            (last_checkpoint(self.output_dir), "latest.pth"),
            (best_path(self.output_dir), "best.pth"),
        ):
            if source is not None and source.is_file():
                put_beside(source, self.output_dir / name)


def put_beside(source: Path, target: Path) -> None:
    """Make ``target`` the same file as ``source``, a copy where the disk has no links."""
    if target.exists() and target.samefile(source):
        return  # renaming would do nothing and leave the partial name behind
    partial = target.with_name(f".{target.name}.tmp")
    partial.unlink(missing_ok=True)
    try:
        os.link(source, partial)
    except OSError:
        shutil.copyfile(source, partial)
    partial.replace(target)
