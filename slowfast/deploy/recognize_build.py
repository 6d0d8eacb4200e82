"""Config and the file of a model -> what recognises with it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from slowfast.checkpoint.io import CheckpointError, read_checkpoint
from slowfast.config import cfg_from_yaml, change_cfg
from slowfast.datasets.base import DataError, read_class_names
from slowfast.deploy.backends import PRECISIONS
from slowfast.deploy.export.build import build_names_of_data
from slowfast.deploy.export.info import ExportInfo, info_path, main_file, read_info
from slowfast.deploy.export.streaming import build_stream_info
from slowfast.deploy.recognize import (
    MODES,
    Recognizer,
    StreamRecognizer,
    WindowRecognizer,
)
from slowfast.deploy.runtime import SUFFIXES, load_runtime
from slowfast.deploy.stream import FileRunner, ModelRunner, open_stream
from slowfast.deploy.streamed import StreamPlan
from slowfast.engine.build import build_placement
from slowfast.engine.weights import build_test_weights
from slowfast.models.base import Preds
from slowfast.models.build import build_model
from slowfast.models.streaming import StreamingModel, build_streaming
from slowfast.utils.errors import UserError
from slowfast.utils.plain_json import names_by_id, parse_json

if TYPE_CHECKING:
    from yacs.config import CfgNode

logger = logging.getLogger(__name__)

STREAM, WINDOW = "stream", "window"
AMP = {"bf16": torch.bfloat16, "f16": torch.float16}


class PlacedRunner(ModelRunner):
    """A stream in memory, on its device.

    Args:
        model: there.
        threads: of a step; 0: torch's choice.
        precision: one of ``PRECISIONS``.
    """

    def __init__(self, model: StreamingModel, *, threads: int = 0, precision: str = "f32") -> None:
        super().__init__(model)
        self.threads, self.amp_dtype = threads, AMP.get(precision)
        self.device = next(model.parameters()).device

    def push(self, frames: Tensor) -> Preds:
        threads, amp = torch.get_num_threads(), self.amp_dtype
        try:
            torch.set_num_threads(self.threads or threads)
            with torch.autocast(self.device.type, amp, enabled=amp is not None):
                return super().push(frames.to(self.device))
        finally:
            torch.set_num_threads(threads)


def build_recognizer(
    cfg: CfgNode | None,
    path: Path,
    *,
    mode: str = "auto",
    threads: int = 0,
    precision: str = "f32",
    every_s: float | None = None,
    opts: Sequence[str] = (),
    window_s: float = 0.0,
) -> Recognizer:
    """What :func:`~slowfast.deploy.recognize.open_recognizer` opens.

    Args:
        cfg: of the run; ``None``: that in the file, changed by ``opts``.
        path: of the model.
        mode: one of ``MODES``.
        threads: of one prediction.
        precision: one of ``PRECISIONS``.
        every_s: see :class:`~slowfast.deploy.recognize.Recognizer`.
        opts: ``KEY VALUE`` words, where there is no ``cfg``.
        window_s: see :class:`~slowfast.deploy.recognize.WindowRecognizer`.

    Raises:
        UserError: no such file, or of no use this way; says what to do.
    """
    if mode not in MODES or precision not in PRECISIONS:
        wrong, options = (mode, MODES) if mode not in MODES else (precision, PRECISIONS)
        raise UserError(f"{wrong!r} is none of {', '.join(options)}")
    is_file, streams = path.suffix in SUFFIXES, is_stream_file(path)
    check_mode(path, mode, is_file=is_file, streams=streams)
    if streams:
        runner = build_file_stream(path, threads, precision)
        cfg = cfg or change_cfg(cfg_from_yaml(runner.info.clip.config), opts)
        names = build_recognized_names(cfg, runner.info.clip)
        return StreamRecognizer(runner, StreamPlan.of_file(runner.info), names, every_s=every_s)
    if cfg is None:
        cfg = change_cfg(cfg_from_yaml(config_text(path)), opts)
    if not is_file and (mode == STREAM or (mode == "auto" and cfg.MODEL.STREAMING.ENABLE)):
        placed, plan = build_checkpoint_stream(cfg, path, threads, precision)
        names = build_recognized_names(cfg, plan.clip)
        return StreamRecognizer(placed, plan, names, every_s=every_s)
    runtime = load_runtime(path, config=cfg, threads=threads, precision=precision)
    clip, data = runtime.info, cfg.DATA
    if every_s is None and cfg.DEMO.BUFFER_SIZE:
        shared = min(cfg.DEMO.BUFFER_SIZE, clip.num_frames * clip.stride / 2)
        every_s = (clip.num_frames * clip.stride - shared) / (clip.target_fps or 30.0)
    return WindowRecognizer(
        runtime,
        build_recognized_names(cfg, clip),
        every_s=every_s,
        segment=data.SAMPLING_MODE == "segment",
        window_s=window_s,
    )


def check_mode(path: Path, mode: str, *, is_file: bool, streams: bool) -> None:
    """Raise where a file is not for that way of recognising."""
    if streams and mode == WINDOW:
        raise UserError(
            f"{path} is an exported stream, which takes frame by frame: leave mode window out, or "
            "give the checkpoint or an exported clip model"
        )
    if is_file and not streams and mode == STREAM:
        raise UserError(
            f"{path} is an exported clip model: for mode stream give the checkpoint, or a stream "
            "exported from it (tools/export.py --stream)"
        )


def is_stream_file(path: Path) -> bool:
    """Whether the description beside an exported file is a stream's."""
    if path.suffix not in SUFFIXES:
        return False
    try:
        found = parse_json(info_path(path).read_text("utf-8"))
    except (OSError, ValueError):
        return False  # opening the file says what is wrong
    return isinstance(found, dict) and bool(found.get("streaming"))


def config_text(path: Path) -> str:
    """The config that a file carries, as YAML.

    Raises:
        UserError: it carries none, or cannot be read.
    """
    if path.suffix in SUFFIXES:
        return read_info(main_file(path)).config
    if path.is_dir() or path.suffix in (".pte", ".mlpackage"):
        raise UserError(f"{path} does not run here: give a checkpoint, .onnx, .xml or .pt2")
    text = read_checkpoint(path).get("cfg")
    if not isinstance(text, str) or not text.strip():
        raise CheckpointError(f"{path} carries no config: give that of its training as --cfg")
    return text


def build_file_stream(path: Path, threads: int, precision: str) -> FileRunner:
    """An exported stream, running."""
    if path.suffix == ".onnx" and precision != "f32":
        raise UserError(
            f"{path} runs in the precision it has; {precision} is chosen when running OpenVINO's "
            ".xml, or a checkpoint"
        )
    return open_stream(path, threads=threads or None, precision=precision)


def build_checkpoint_stream(
    cfg: CfgNode, path: Path, threads: int, precision: str
) -> tuple[PlacedRunner, StreamPlan]:
    """The stream of a checkpoint, and how to feed it."""
    cfg = change_cfg(cfg, ["TEST.CHECKPOINT_FILE_PATH", str(path)])
    model = build_model(cfg).eval()
    build_test_weights(cfg, model, path.parent)
    stream = build_streaming(cfg, model)
    info = build_stream_info(cfg, model, stream)
    clip = info.clip
    if clip.is_reversed:  # the stream itself takes what the network takes
        clip = replace(clip, channels=clip.model_channels, mean=clip.mean[::-1], std=clip.std[::-1])
    stream.to(build_placement(cfg).device)
    plan = StreamPlan(clip, period=1, window=info.window, delay=info.delay)
    return PlacedRunner(stream, threads=threads, precision=precision), plan


def build_recognized_names(cfg: CfgNode, info: ExportInfo) -> dict[str, list[str]]:
    """Task -> names by class id, as far as they are known.

    Of ``DEMO.LABEL_FILE_PATH``; else what the file says; else of ``DATA.CLASS_NAMES_PATH``; else
    what the data say.
    """
    tasks = dict(zip(info.tasks, info.num_classes, strict=True))
    if cfg.DEMO.LABEL_FILE_PATH:
        return read_task_names(Path(cfg.DEMO.LABEL_FILE_PATH), tasks)
    if info.class_names:
        return info.class_names
    if cfg.DATA.CLASS_NAMES_PATH:
        try:
            return read_task_names(Path(cfg.DATA.CLASS_NAMES_PATH), tasks)
        except DataError as error:  # of the machine that trained, perhaps
            logger.warning("%s", error)
    names = build_names_of_data(cfg, tasks)
    if len(names) < len(tasks):
        logger.warning(
            "no names for the classes of %s: they are shown as numbers. Give a file with one name "
            "per line as --class_names",
            ", ".join(sorted(tasks.keys() - names.keys())),
        )
    return names


def read_task_names(path: Path, tasks: Mapping[str, int]) -> dict[str, list[str]]:
    """Task -> names by class id.

    Args:
        path: of one task see :func:`~slowfast.datasets.base.read_class_names`; of several JSON:
            task -> list of names, or name -> id.
        tasks: task -> number of classes.

    Raises:
        DataError: missing, unreadable, or of other tasks or classes; says which.
    """
    if len(tasks) == 1:
        found: dict[str, Any] = {task: read_class_names(path) for task in tasks}
    else:
        try:
            found = parse_json(path.read_text("utf-8-sig"))
        except (OSError, ValueError) as error:
            raise DataError(f"class names {path} cannot be read: {error}") from error
        if not isinstance(found, dict) or set(found) != set(tasks):
            raise DataError(f"{path}: expected JSON, names of each of {', '.join(tasks)}")
        try:
            found = {task: names_by_id(names) for task, names in found.items()}
        except ValueError as error:
            raise DataError(f"{path}: {error}, for each of {', '.join(tasks)}") from error
    for task, count in tasks.items():
        if len(found[task]) != count:
            raise DataError(
                f"{path}: {len(found[task])} names for the {count} classes of {task!r}: one per "
                "class, in the order of their ids"
            )
    return found
