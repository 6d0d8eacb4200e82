"""The PySlowFast checkpoint schema, written and read here only.

``<output_dir>/checkpoints/checkpoint_epoch_00010.pyth`` is the state *after* ten epochs:

===================  ============================================================
``epoch``            index of the last finished epoch, from 0 (so 9 in that file)
``model_state``      the weights evaluation scored (their moving average when EMA is on),
                     names of the bare model, no ``module.`` prefix
``optimizer_state``  absent in ``best.pyth``
``scaler_state``     only when training in float16
``cfg``              the run's config, as YAML text
``widths``           ours, when the network was pruned: JSON, see :mod:`slowfast.checkpoint.resize`
``trainer_state``    ours, absent in PySlowFast's files: what an exact resume needs beyond
                     these (see ``Trainer.state_dict``); in ``best.pyth`` the metrics instead
===================  ============================================================

Keys may be added, never renamed: old files must load, and old loaders must read new files.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import nn

from slowfast.utils.errors import UserError
from slowfast.utils.widths import read_widths

logger = logging.getLogger(__name__)

_NAME = re.compile(r"checkpoint_epoch_(\d+)\.pyth")


class CheckpointError(UserError, RuntimeError):
    """A checkpoint file that cannot be used; the message names it and says what to do."""


def checkpoint_path(output_dir: Path | str, epoch: int, task: str = "") -> Path:
    """PySlowFast's name for the state after ``epoch`` (from 0).

    Args:
        output_dir: ``OUTPUT_DIR``.
        epoch: index of the finished epoch.
        task: ``TASK``; a prefix of the name when not empty.

    Example:
        >>> checkpoint_path("out", 9).as_posix()
        'out/checkpoints/checkpoint_epoch_00010.pyth'
    """
    return Path(output_dir, "checkpoints", f"{_prefix(task)}checkpoint_epoch_{epoch + 1:05d}.pyth")


def best_path(output_dir: Path | str, task: str = "") -> Path:
    """Where the weights with the best validation metric are kept."""
    return Path(output_dir, "checkpoints", f"{_prefix(task)}best.pyth")


def _prefix(task: str) -> str:
    return f"{task}_" if task else ""


def list_checkpoints(output_dir: Path | str, task: str = "") -> list[Path]:
    """The epoch checkpoints of a run, oldest epoch first."""
    found = []
    for path in Path(output_dir, "checkpoints").glob(f"{_prefix(task)}checkpoint_epoch_*.pyth"):
        match = _NAME.fullmatch(path.name.removeprefix(_prefix(task)))
        if match:
            found.append((int(match[1]), path))
    return [path for _, path in sorted(found)]


def last_checkpoint(output_dir: Path | str, task: str = "") -> Path | None:
    """The newest epoch's file, or ``None`` when there is none to resume from."""
    return max(list_checkpoints(output_dir, task), key=_epoch_in_name, default=None)


def _epoch_in_name(path: Path) -> int:
    return int(path.stem.rpartition("_")[2])


def write_checkpoint(
    target: Path | str,
    *,
    epoch: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer | None,
    cfg_yaml: str,
    scaler: torch.amp.GradScaler | None = None,
    extra: Mapping[str, Any] | None = None,
    task: str = "",
) -> Path:
    """Save the state after ``epoch`` (from 0) and return the file's path.

    Args:
        target: a ``.pyth`` file, or the ``OUTPUT_DIR`` under which the file gets its usual name.
        epoch: index of the finished epoch.
        model: bare model, not its DDP wrapper.
        optimizer: ``None`` for files that only carry weights.
        cfg_yaml: the run's config.
        scaler: of float16 training.
        extra: further keys, e.g. ``trainer_state``: tensors and plain values only.
        task: ``TASK``, part of the usual name.
    """
    state: dict[str, Any] = {"epoch": epoch, "model_state": model.state_dict(), "cfg": cfg_yaml}
    if optimizer is not None:
        state["optimizer_state"] = optimizer.state_dict()
    if scaler is not None and scaler.is_enabled():
        state["scaler_state"] = scaler.state_dict()
    if getattr(model, "is_pruned", False):
        state["widths"] = json.dumps(read_widths(model))
    state.update(extra or {})
    path = Path(target)
    if path.suffix != ".pyth":
        path = checkpoint_path(path, epoch, task)
    save_atomically(state, path)
    return path


def save_atomically(state: Mapping[str, Any], path: Path) -> None:
    """``torch.save`` such that ``path`` holds the old file or the whole new one, never a part."""
    write_atomically(path, lambda file: torch.save(dict(state), file))


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file such that ``path`` holds the old one or the whole new one, never a part.

    The bytes are on the disk before the name is: also a power cut leaves one of the two.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.tmp")
    try:
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise CheckpointError(f"cannot write {path}: {error}. Is the disk full?") from error
    partial.replace(path)
    _fsync_directory(path.parent)


def _fsync_directory(directory: Path) -> None:
    if os.name != "posix":
        return  # other systems cannot open a directory
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_checkpoint(path: Path | str) -> dict[str, Any]:
    """The dictionary described above, on the CPU.

    Only tensors and plain values are read: a pickle can run code, and a checkpoint that came
    by mail or from the web must not.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: truncated, damaged, or holding Python objects.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}.{_alternatives(path)}")
    _check_integrity(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(path, error)) from error
    except Exception as error:  # of many kinds: any bytes are taken for opcodes
        raise _damaged(path, str(error)) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds a {type(state).__name__}, not a checkpoint dictionary")
    return state


def _check_integrity(path: Path) -> None:
    """torch does not look at the checksums it writes; a flipped bit would train on."""
    with path.open("rb") as file:
        is_archive = file.read(2) == b"PK"
    if not is_archive:
        return  # formats before torch 1.6 and caffe2 carry no checksum
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
    except zipfile.BadZipFile as error:
        raise _damaged(path, "the file is cut short") from error
    if broken is not None:
        raise _damaged(path, f"wrong checksum of {broken}")


def _damaged(path: Path, cause: str) -> CheckpointError:
    size = path.stat().st_size
    return CheckpointError(
        f"{path} ({size} bytes) is damaged: {cause}. Copy or download it again."
        f"{_alternatives(path)}"
    )


def _refusal(path: Path, error: Exception) -> str:
    needed = re.search(r"GLOBAL (\S+)|Unsupported (?:global|class|operand)[: ]+(\S+)", str(error))
    what = f" ({next(filter(None, needed.groups()))})" if needed else ""
    return (
        f"{path} holds Python objects{what}, and loading those can run any code, so it is refused. "
        "Save the weights alone from the program that wrote it, "
        'torch.save({"model_state": model.state_dict()}, path), or, for a caffe2 .pkl, '
        "set TRAIN.CHECKPOINT_TYPE caffe2."
    )


def _alternatives(path: Path) -> str:
    siblings = [p for p in path.parent.glob("*.pyth") if p != path] if path.parent.is_dir() else []
    if not siblings:
        return ""
    newest = max(siblings, key=lambda p: p.stat().st_mtime)
    return f" {path.parent} also has {newest.name}" + (
        f" and {len(siblings) - 1} others." if len(siblings) > 1 else "."
    )


def read_last_checkpoint(
    output_dir: Path | str, task: str = ""
) -> tuple[Path, dict[str, Any]] | None:
    """The newest epoch checkpoint that can be read, or ``None`` when there are no files.

    Newer files that are damaged are named in a warning and passed over.

    Raises:
        CheckpointError: there are files, and none can be read: starting from scratch instead
            would overwrite what may still be rescued.
    """
    paths = list_checkpoints(output_dir, task)
    for path in reversed(paths):
        try:
            return path, read_checkpoint(path)
        except CheckpointError as error:
            logger.warning("passing over an unreadable checkpoint: %s", error)
    if paths:
        raise CheckpointError(
            f"none of the {len(paths)} checkpoints in {paths[0].parent} can be read. "
            "Move them away, or set TRAIN.AUTO_RESUME False, to start from scratch."
        )
    return None


def prune_checkpoints(output_dir: Path | str, keep: int, task: str = "") -> list[Path]:
    """Delete all but the ``keep`` newest epoch checkpoints (0 keeps all); returns the deleted."""
    doomed = list_checkpoints(output_dir, task)[:-keep] if keep > 0 else []
    for path in doomed:
        path.unlink(missing_ok=True)
    return doomed
