"""Config and checkpoint -> exported files: what ``tools/export.py`` does."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from slowfast.config import change_cfg
from slowfast.datasets.base import read_class_names
from slowfast.datasets.build import build_family
from slowfast.deploy.export import EXPORTERS
from slowfast.deploy.export.files import Exported, export_files
from slowfast.deploy.export.info import FileForm, build_export_info, with_source
from slowfast.deploy.parity import TOLERANCE
from slowfast.engine.weights import build_test_weights, load_model
from slowfast.models.base import ClipModel
from slowfast.models.build import build_model
from slowfast.utils.errors import UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode

logger = logging.getLogger(__name__)


def build_exports(
    cfg: CfgNode | None,
    model_path: Path | None,
    formats: Sequence[str],
    *,
    opts: Sequence[str] = (),
    output: Path | None = None,
    tolerance: float = TOLERANCE,
    **form: Unpack[FileForm],
) -> list[Exported]:
    """Write a checkpoint in ``formats``, each file run and compared.

    Args:
        cfg: the config; ``None``: the checkpoint's own, changed by ``opts``.
        model_path: checkpoint, of a pruned network too; ``None``: what ``run_net.py --eval`` tests.
        formats: entries of ``EXPORTERS``.
        opts: ``KEY VALUE`` words; those in ``cfg`` already count without them.
        output: a file (of several formats, each gets its suffix) or a folder, where files are
            named as the checkpoint. ``None``: beside the checkpoint.
        tolerance: see :func:`~slowfast.deploy.export.files.export_files`.
        **form: of every file, see :class:`~slowfast.deploy.export.info.FileForm`.

    Raises:
        UserError: something is missing or does not fit; nothing is left half-written.
    """
    model, cfg, source = build_model_to_export(cfg, model_path, opts)
    info = build_export_info(cfg, model, class_names=build_class_names(cfg, model), **form)
    folder, stem = build_place(source, output)
    info = with_source(info, source)
    return export_files(model, info, folder, stem, formats, tolerance=tolerance)


def build_model_to_export(
    cfg: CfgNode | None, model_path: Path | None, opts: Sequence[str] = ()
) -> tuple[ClipModel, CfgNode, Path]:
    """A model with its weights, on the CPU, its config, and the file it came from.

    Args:
        cfg: see :func:`build_exports`.
        model_path: likewise.
        opts: likewise.
    """
    if cfg is None:
        if model_path is None:
            raise UserError("give a checkpoint as --model_path, or a config as --cfg, or both")
        model, own = load_model(model_path)
        return model, change_cfg(own, opts) if opts else own, model_path
    if model_path is not None:
        cfg = change_cfg(cfg, ["TEST.CHECKPOINT_FILE_PATH", str(model_path)])
    model = build_model(cfg)
    return model.eval(), cfg, build_test_weights(cfg, model, Path(cfg.OUTPUT_DIR))


def build_class_names(cfg: CfgNode, model: ClipModel) -> dict[str, list[str]]:
    """Task -> names by class id: of ``DATA.CLASS_NAMES_PATH``, or what the data say.

    Empty where neither is at hand: an export does not need the data.
    """
    tasks = {task: layer.out_features for task, layer in model.classifiers.items()}
    if cfg.DATA.CLASS_NAMES_PATH and len(tasks) == 1:
        return {task: read_class_names(cfg.DATA.CLASS_NAMES_PATH) for task in tasks}
    fitting = build_names_of_data(cfg, tasks)
    if not fitting:
        logger.warning("no class names in the description: give them as DATA.CLASS_NAMES_PATH")
    return fitting


def build_names_of_data(cfg: CfgNode, tasks: Mapping[str, int]) -> dict[str, list[str]]:
    """Task -> names by class id that the data say, where they are at hand and their number fits.

    Args:
        cfg: of the run.
        tasks: task -> number of classes.
    """
    names: dict[str, list[str]] = {}
    try:
        family = build_family(cfg, "test")
        if family.class_names is None:
            family.records("test")  # some read them together with the labels
        names = family.class_names or {}
    except (UserError, OSError) as error:
        logger.info("the data are not at hand (%s)", error)
    if len(tasks) == 1 and len(names) == 1:
        names = dict(zip(tasks, names.values(), strict=True))  # "action" in the data
    return {task: found for task, found in names.items() if len(found) == tasks.get(task)}


def build_place(checkpoint: Path, output: Path | None) -> tuple[Path, str]:
    """Folder and file name, without suffix, of the exported files."""
    if output is None:
        return checkpoint.parent, checkpoint.stem
    if output.suffix in {EXPORTERS.get(name).suffix for name in EXPORTERS}:
        return output.parent, output.stem
    return output, checkpoint.stem
