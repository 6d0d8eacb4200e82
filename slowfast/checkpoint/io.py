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

``checkpoint_epoch_00010_iter_00250.pyth`` is the state 250 batches later, within the eleventh
epoch: of a run that was asked to stop, or of ``TRAIN.CHECKPOINT_STEPS``. It goes when an epoch's
file is newer.

Keys may be added, never renamed: old files must load, and old loaders must read new files.
"""

from __future__ import annotations

import json
import logging
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from slowfast.utils.archives import BombError, check_allocations, check_tensors, check_unpacked
from slowfast.utils.errors import UserError
from slowfast.utils.files import write_atomically
from slowfast.utils.widths import read_widths

logger = logging.getLogger(__name__)

_NAME = re.compile(r"checkpoint_epoch_(\d+)(?:_iter_(\d+))?\.pyth")
KEPT_WITHIN_EPOCH = 2
"""Newest files within an epoch that stay: one may turn out to be damaged."""


class CheckpointError(UserError, RuntimeError):
    """A checkpoint file that cannot be used; the message names it and says what to do."""


class MissingCheckpointError(UserError, FileNotFoundError):
    """There are no weights where they were looked for."""


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


def within_epoch_path(output_dir: Path | str, epoch: int, iteration: int, task: str = "") -> Path:
    """The file of the state after ``iteration`` batches of ``epoch`` (from 0).

    Example:
        >>> within_epoch_path("out", 10, 250).name
        'checkpoint_epoch_00010_iter_00250.pyth'
    """
    path = checkpoint_path(output_dir, epoch - 1, task)
    return path.with_name(f"{path.stem}_iter_{iteration:05d}.pyth")


def best_path(output_dir: Path | str, task: str = "") -> Path:
    """Where the weights with the best validation metric are kept."""
    return Path(output_dir, "checkpoints", f"{_prefix(task)}best.pyth")


def _prefix(task: str) -> str:
    return f"{task}_" if task else ""


def list_checkpoints(output_dir: Path | str, task: str = "") -> list[Path]:
    """The epoch checkpoints of a run, oldest epoch first."""
    return [path for (_, iteration), path in _list_states(output_dir, task) if not iteration]


def list_states(output_dir: Path | str, task: str = "") -> list[Path]:
    """All that a run can be resumed from, also within an epoch, oldest state first."""
    return [path for _, path in _list_states(output_dir, task)]


def _list_states(output_dir: Path | str, task: str) -> list[tuple[tuple[int, int], Path]]:
    """Pairs of (epochs done, batches of the next) and the file."""
    found = []
    for path in Path(output_dir, "checkpoints").glob(f"{_prefix(task)}checkpoint_epoch_*.pyth"):
        match = _NAME.fullmatch(path.name.removeprefix(_prefix(task)))
        if match:
            found.append(((int(match[1]), int(match[2] or 0)), path))
    return sorted(found)


def last_checkpoint(output_dir: Path | str, task: str = "") -> Path | None:
    """The newest epoch's file, or ``None`` when there is none."""
    return next(reversed(list_checkpoints(output_dir, task)), None)


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


def read_checkpoint(path: Path | str) -> dict[str, Any]:
    """The dictionary described above, on the CPU.

    Only tensors and plain values are read: a pickle can run code, and a checkpoint that came
    by mail or from the web must not.

    Raises:
        MissingCheckpointError: no such file.
        CheckpointError: truncated, damaged, or holding Python objects.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingCheckpointError(f"no checkpoint at {path}.{_alternatives(path)}")
    check_integrity(path)
    try:
        check_allocations(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        check_tensors(state, path)
    except BombError as error:
        raise CheckpointError(str(error)) from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(_refusal(path, error)) from error
    except Exception as error:  # of many kinds: any bytes are taken for opcodes
        raise _damaged(path, str(error)) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds a {type(state).__name__}, not a checkpoint dictionary")
    return state


def check_integrity(path: Path) -> None:
    """Compare a checkpoint with its checksums, which torch writes and does not look at.

    Without this, training would go on with a flipped bit.

    Raises:
        CheckpointError: cut short or damaged.
    """
    with path.open("rb") as file:
        is_archive = file.read(2) == b"PK"
    if not is_archive:
        return  # formats before torch 1.6 and caffe2 carry no checksum
    try:
        with zipfile.ZipFile(path) as archive:
            check_unpacked(archive, path)
            broken = archive.testzip()
    except BombError as error:
        raise CheckpointError(str(error)) from error
    except zipfile.BadZipFile as error:
        raise _damaged(path, "the file is cut short") from error
    except Exception as error:  # of many kinds: a flipped bit may announce any compression
        raise _damaged(path, f"its list of contents is wrong ({error})") from error
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
    """The newest state that can be read, also within an epoch, or ``None`` when there are no files.

    Newer files that are damaged are passed over; warnings name them and what is taken instead.

    Raises:
        CheckpointError: there are files, and none can be read: starting from scratch instead
            would overwrite what may still be rescued.
    """
    paths = list_states(output_dir, task)
    passed: list[str] = []
    for path in reversed(paths):
        try:
            state = read_checkpoint(path)
        except CheckpointError as error:
            logger.warning("passing over an unreadable checkpoint: %s", error)
            passed.append(path.name)
            continue
        if passed:
            logger.warning("falling back to %s instead of %s", path, ", ".join(passed))
        return path, state
    if paths:
        raise CheckpointError(
            f"none of the {len(paths)} checkpoints in {paths[0].parent} can be read. "
            "Move them away, or set TRAIN.AUTO_RESUME False, to start from scratch."
        )
    return None


def prune_checkpoints(output_dir: Path | str, keep: int, task: str = "") -> list[Path]:
    """Delete all but the ``keep`` newest epoch checkpoints (0 keeps all); returns the deleted.

    Of the files within epochs go those that are older than an epoch's, or not among the newest two.
    """
    doomed = list_checkpoints(output_dir, task)[:-keep] if keep > 0 else []
    states = _list_states(output_dir, task)
    newest = max((place for place, _ in states if not place[1]), default=(0, 0))
    within = [(place, path) for place, path in states if place[1]]
    doomed += [path for place, path in within[:-KEPT_WITHIN_EPOCH] if place > newest]
    doomed += [path for place, path in within if place < newest]
    for path in doomed:
        path.unlink(missing_ok=True)
    return doomed
