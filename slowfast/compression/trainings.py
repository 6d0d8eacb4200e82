"""Trainings within a compression: resumed when the same command runs again, anew otherwise."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from slowfast.utils.files import write_text

if TYPE_CHECKING:
    from yacs.config import CfgNode

STAMP = "interrupted.txt"
"""In the folder of a training: there until the whole compression is done."""


def begin_training(folder: Path, facts: str) -> None:
    """Clear ``folder`` of checkpoints, unless an interrupted training that was the same left them.

    Args:
        folder: of the training.
        facts: everything that it depends on.
    """
    stamp = folder / STAMP
    if stamp.is_file() and stamp.read_text("utf-8", errors="replace") == facts:
        return
    for old in (folder / "checkpoints").glob("*.pyth"):
        old.unlink()  # its best could pass for this one's
    write_text(stamp, facts)


def end_trainings(out: Path) -> None:
    """All trainings in ``out`` are of use to nobody but what they were for: the next begin anew."""
    for stamp in out.glob(f"*/{STAMP}"):
        stamp.unlink()


def build_facts(cfg: CfgNode, *others: object) -> str:
    """Config, first weights and whatever else a training depends on, as one number.

    Args:
        cfg: of the training; ``TRAIN.CHECKPOINT_FILE_PATH`` is what it starts from.
        others: with a ``repr`` that tells them apart.
    """
    digest = hashlib.sha256(cfg.dump().encode())
    digest.update(Path(cfg.TRAIN.CHECKPOINT_FILE_PATH).read_bytes())
    digest.update(repr(others).encode() if others else b"")
    return digest.hexdigest()
