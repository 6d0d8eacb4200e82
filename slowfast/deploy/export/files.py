"""A trained model, written in the formats asked for, each one run before it gets its name."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from slowfast.deploy.backends import open_run
from slowfast.deploy.export import EXPORTERS
from slowfast.deploy.export.graph import Source
from slowfast.deploy.export.info import (
    ExportInfo,
    info_path,
    model_files,
    with_cost,
    write_info,
)
from slowfast.deploy.export.table import Format
from slowfast.deploy.parity import TOLERANCE, measure_parity, require_parity
from slowfast.models.base import ClipModel
from slowfast.utils.files import staging_folder, told_if_disk_full

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exported:
    """A file of a model. Attributes: where it is, what it is, and its bytes, all parts together."""

    path: Path
    info: ExportInfo
    size: int


def export_files(
    model: ClipModel,
    info: ExportInfo,
    folder: Path,
    stem: str,
    formats: Sequence[str],
    *,
    tolerance: float = TOLERANCE,
    plain: bool = False,
) -> list[Exported]:
    """Write ``folder/stem`` with the suffix of every format, and its description.

    A file that computes something else than ``model``, or cannot be run where it should, is not
    left behind; one that was there before stays as it was.

    Args:
        model: in any mode; not changed.
        info: from ``build_export_info``.
        folder: made when missing.
        stem: file name without suffix.
        formats: entries of ``EXPORTERS``.
        tolerance: of outputs, relative to the largest, see :class:`~slowfast.deploy.parity.Parity`.
        plain: see :class:`~slowfast.deploy.export.graph.Source`.

    Raises:
        KeyError: unknown format.
        ModuleNotFoundError: a library is missing; says how to install it.
        ParityError: outputs differ by more than ``tolerance``.
        ExportError: a file could not be written or run.
    """
    chosen = {name: EXPORTERS.get(name) for name in dict.fromkeys(formats)}
    folder.mkdir(parents=True, exist_ok=True)
    info = with_cost(info, model)
    sources: dict[int, Source] = {}
    found = []
    for name, how in chosen.items():
        batch = info.batch or (1 if how.fixed_batch else 0)
        if batch not in sources:
            sources[batch] = Source(model, replace(info, batch=batch), plain=plain)
        found.append(_export(sources[batch], folder / f"{stem}{how.suffix}", name, how, tolerance))
    return found


def _export(source: Source, target: Path, name: str, how: Format, tolerance: float) -> Exported:
    with told_if_disk_full(target), staging_folder(target) as staging:
        path = how.write(source, staging / target.name)
        info = replace(source.info, format=name)
        if how.verify is not None:
            parity = how.verify(source, path)
        else:
            measured = measure_parity(source.graph, open_run(path, info), info, tolerance=tolerance)
            parity = require_parity(measured, target).as_dict()
        versions = {library: version(library) for library in how.libraries}
        info = replace(info, parity=parity, versions=versions)
        write_info(path, info)
        move_files(path, target.parent)
    if name == "onnx":
        source.onnx_path = target
    size = sum(file.stat().st_size for file in model_files(target))
    logger.info("wrote %s (%.1f MB)", target, size / 1e6)
    return Exported(target, info, size)


def move_files(path: Path, folder: Path) -> None:
    """Give an exported model, all its files and its description, their place.

    The description comes last: where it is, the model is whole, however this may be interrupted.
    """
    info_path(folder / path.name).unlink(missing_ok=True)  # until the others are what it describes
    for file in [*reversed(model_files(path)), path, info_path(path)]:
        if not file.exists() or (path.is_dir() and path in file.parents):
            continue  # the folder takes along what is in it
        target = folder / file.name
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(file, target)


def describe(exported: Exported) -> str:
    """One line for people: where, how large, how near to the model."""
    parity = exported.info.parity
    if parity.get("executed"):
        checked = (
            f"outputs differ by {parity['max_difference']:.1e} of {parity['largest']:.3g}, scores "
            f"by {parity['max_score_difference']:.1e}, the best class agrees in "
            f"{parity['top1_agreement']:.0%} of {parity['clips']} clips"
        )
    else:
        checked = f"NOT RUN: {parity.get('reason', '')}"
    sidecar = info_path(exported.path).name
    return f"{exported.path} ({exported.size / 1e6:.1f} MB, described in {sidecar}): {checked}"
