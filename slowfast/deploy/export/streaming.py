"""Streaming networks as files: one step, its state as named inputs and outputs, or inside.

ONNX has the state outside: inputs ``frames`` and one per entry of the state, outputs one per task
and ``next.{entry}``. OpenVINO keeps it inside (ReadValue and Assign): frames in, predictions out.
A network with temporal strides takes a whole period of frames at a time, ``(B, C, period, H, W)``,
unless it is dense.
"""

from __future__ import annotations

import json
import logging
import math
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import torch
from torch import Tensor

from slowfast.deploy.export.executorch import lower
from slowfast.deploy.export.info import (
    LOGITS,
    PROBABILITIES,
    ExportError,
    ExportInfo,
    FileForm,
    build_export_info,
    checksums,
    info_path,
    known_entries,
    parse_info,
    with_cost,
)
from slowfast.deploy.export.step import StepGraph, live_state, step_frames
from slowfast.models.base import ClipModel
from slowfast.models.streaming import StreamingModel
from slowfast.models.streaming.cost import count_step_macs
from slowfast.utils.files import write_text
from slowfast.utils.openvino_graph import keep_states_apart
from slowfast.utils.optional import require
from slowfast.utils.plain_json import parse_json

if TYPE_CHECKING:
    from yacs.config import CfgNode

logger = logging.getLogger(__name__)

FRAMES, NEXT = "frames", "next."
PARITY_STEPS, TOLERANCE = 12, 1e-4


@dataclass(frozen=True)
class StreamInfo:
    """What stands beside an exported stream, as JSON.

    Attributes:
        clip: description of the clip model it was made of: how frames are prepared, classes, what
            comes out. Its ``inputs`` are those of the file, without the state; its ``parameters``
            and ``macs`` those of the clip model.
        states: entry of the state that calls read -> its shape without the batch.
        period: frames that one call takes.
        window: frames that a prediction is about.
        delay: from the first of them to the newest frame.
        receptive_field: frames that a prediction depends on; 0: all there were.
        macs: per frame; a multiply-add counts once.
        state_bytes: of one stream.
        parity: steps compared with PyTorch and the largest difference.
        sha256: file name -> checksum.
        streaming: tells this description from a clip model's.
    """

    clip: ExportInfo
    states: dict[str, list[int]]
    period: int
    window: int
    delay: int
    receptive_field: int
    macs: int
    state_bytes: int
    parity: dict[str, Any] = field(default_factory=dict)
    sha256: dict[str, str] = field(default_factory=dict)
    streaming: bool = True

    @property
    def frame_shape(self) -> list[int]:
        """Of the frames of one call, with a batch of 1."""
        return self.clip.inputs[FRAMES]


def build_stream_info(
    cfg: CfgNode,
    model: ClipModel,
    stream: StreamingModel,
    *,
    class_names: Mapping[str, Sequence[str]] | None = None,
    **form: Unpack[FileForm],
) -> StreamInfo:
    """What users of an exported stream must know, but for what is measured later.

    Args:
        cfg: the clip model was trained with.
        model: the clip model.
        stream: made of it.
        class_names: task -> names by class id.
        **form: see :class:`~slowfast.deploy.export.info.FileForm`.
    """
    kind = form.get("kind", LOGITS)
    if kind not in (LOGITS, PROBABILITIES):
        raise ExportError(f"an exported stream has no output {kind!r}: logits or probabilities")
    spec = stream.spec
    period = step_frames(stream)
    clip = with_cost(build_export_info(cfg, model, class_names=class_names, **form), model)
    size = list(spec.frame_size)
    frames = [1, spec.channels, *([period] if period > 1 else []), *size]
    clip = replace(
        clip,
        inputs={FRAMES: frames},
        pathway_frames={FRAMES: list(range(period))},
        num_frames=period,
        crop=size,
        layout="BCTHW" if period > 1 else "BCHW",
    )
    return StreamInfo(
        clip=clip,
        states=live_state(stream),
        period=period,
        window=spec.window,
        delay=spec.delay,
        receptive_field=0 if math.isinf(spec.receptive_field) else int(spec.receptive_field),
        macs=count_step_macs(stream),
        state_bytes=stream.state_bytes(),
    )


def export_streaming_onnx(stream: StreamingModel, path: Path, info: StreamInfo) -> Path:
    """Write a stream as one ONNX file and compare it with PyTorch.

    Args:
        stream: not changed.
        path: ``.onnx``; its folder is made. Its description is written beside it.
        info: see :func:`build_stream_info`.

    Raises:
        ExportError: the file computes something else.
        ModuleNotFoundError: ``onnx`` or ``onnxscript`` is not installed; says how.
    """
    _write_onnx(stream, path, info)
    return _finish(stream, path, info, "onnx")


def export_streaming_openvino(
    stream: StreamingModel, path: Path, info: StreamInfo, *, onnx_path: Path | None = None
) -> Path:
    """Write a stream as OpenVINO's ``.xml`` and ``.bin`` with the state inside.

    For as many streams at once as ``info`` says, one where it leaves that open.

    Args:
        stream: not changed.
        path: ``.xml``; its description is written beside it.
        info: see :func:`build_stream_info`.
        onnx_path: an ONNX file of the same stream, if there is one, for any batch.

    Raises:
        ExportError: the files compute something else.
        ModuleNotFoundError: ``openvino`` is not installed; says how.
    """
    openvino = require("openvino", extra="deploy")
    transformations = require("openvino._offline_transformations", extra="deploy")
    batch = info.clip.batch or 1
    info = replace(info, clip=replace(info.clip, batch=batch))
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        if onnx_path is None:
            onnx_path = Path(folder) / "step.onnx"
            _write_onnx(stream, onnx_path, replace(info, clip=replace(info.clip, batch=0)))
        model = openvino.convert_model(str(onnx_path))
        shapes = {name: [batch, *shape] for name, shape in info.states.items()}
        model.reshape(shapes | {FRAMES: [batch, *info.frame_shape[1:]]})
        transformations.apply_make_stateful_transformation(
            model, {name: NEXT + name for name in info.states}
        )
        keep_states_apart(model)
        openvino.save_model(model, str(path), compress_to_fp16=False)
    return _finish(stream, path, info, "openvino")


@dataclass(frozen=True)
class StreamFormat:
    """How streams are written in one format. Attributes: ending of the file, and what writes it."""

    suffix: str
    write: Callable[[StreamingModel, Path, StreamInfo], Path]


def export_streaming_executorch(stream: StreamingModel, path: Path, info: StreamInfo) -> Path:
    """Write a stream as ExecuTorch's ``.pte``, the state outside as in ONNX.

    For as many streams at once as ``info`` says, one where it leaves that open.

    Args:
        stream: not changed.
        path: ``.pte``; its description is written beside it.
        info: see :func:`build_stream_info`.

    Raises:
        ExportError: the file computes something else, or cannot be written.
        ModuleNotFoundError: ``executorch`` is not installed; says how.
    """
    info = replace(info, clip=replace(info.clip, batch=info.clip.batch or 1))
    lower(capture_step(stream, info), path, f"the stream of {info.clip.model}")
    return _finish(stream, path, info, "executorch")


STREAM_EXPORTERS = {
    "onnx": StreamFormat(".onnx", export_streaming_onnx),
    "openvino": StreamFormat(".xml", export_streaming_openvino),
    "executorch": StreamFormat(".pte", export_streaming_executorch),
}


def capture_step(stream: StreamingModel, info: StreamInfo) -> torch.export.ExportedProgram:
    """A step as torch's intermediate representation, of any batch unless ``info`` fixes it.

    Raises:
        ExportError: the stream does something that cannot be captured.
    """
    batch = info.clip.batch or 2  # the number one would be taken for fixed
    frames = torch.zeros(batch, *info.frame_shape[1:], dtype=info.clip.dtype)
    state = tuple(torch.zeros(batch, *shape) for shape in info.states.values())
    shapes = None
    if not info.clip.batch:
        free = {0: torch.export.Dim("batch")}
        shapes = (free, tuple(free for _ in state))
    graph = StepGraph(stream, info.clip, list(info.states))
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of deprecations within torch
            return torch.export.export(graph, (frames, *state), dynamic_shapes=shapes)
    except Exception as error:  # of many kinds
        raise ExportError(f"the stream cannot be captured for export: {error}") from error


def _write_onnx(stream: StreamingModel, path: Path, info: StreamInfo) -> None:
    for library in ("onnx", "onnxscript"):
        require(library, extra="deploy")
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.getLogger("onnx_ir").setLevel(logging.WARNING)  # a line for every constant shared
    path.parent.mkdir(parents=True, exist_ok=True)
    program = capture_step(stream, info)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            program,
            (),
            str(path),
            dynamo=True,
            external_data=False,
            input_names=[FRAMES, *info.states],
            output_names=[*info.clip.outputs, *(NEXT + name for name in info.states)],
            verbose=False,
        )


def _finish(stream: StreamingModel, path: Path, info: StreamInfo, kind: str) -> Path:
    """Write the description, run the file, and write what that gave."""
    info = replace(info, clip=replace(info.clip, format=kind))
    write_stream_info(path, info)
    parity = check_stream_parity(stream, path)
    write_stream_info(path, replace(info, parity=parity))
    return path


def write_stream_info(path: Path, info: StreamInfo) -> Path:
    """Write the description of the exported stream at ``path`` beside it."""
    info = replace(info, sha256=dict(checksums(path)))
    target = info_path(path)
    write_text(target, json.dumps(asdict(info), indent=1) + "\n")
    return target


def read_stream_info(path: Path) -> StreamInfo:
    """The description of the exported stream at ``path``.

    Raises:
        ExportError: it is not there, that of a clip model, or of other files.
    """
    source = info_path(path)
    try:
        found = parse_json(source.read_text(encoding="utf-8"))
        if not (isinstance(found, dict) and found.get("streaming")):
            raise ExportError(
                f"{path} is the file of a clip model, not of a stream: export it as a stream"
            )
        clip = parse_info(json.dumps(found.pop("clip")))
        info = StreamInfo(clip=clip, **known_entries(found, StreamInfo))
        sizes = [size for shape in info.states.values() for size in shape]
        if min(info.period, info.window, *sizes) < 1 or min(info.delay, info.receptive_field) < 0:
            raise ValueError("its period, window, delay or states cannot be those of a stream")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ExportError(
            f"{path} cannot be used without its description {source}: {error}. Export it again"
        ) from error
    if dict(checksums(path)) != info.sha256:
        raise ExportError(f"{path} is not the file that {source} describes: export it again")
    return info


def check_stream_parity(
    stream: StreamingModel, path: Path, *, steps: int = PARITY_STEPS, tolerance: float = TOLERANCE
) -> dict[str, Any]:
    """Run an exported stream beside the one it was made from, on random frames.

    Args:
        stream: the original.
        path: the file.
        steps: calls, of ``period`` frames each.
        tolerance: of any output, relative to the largest, or absolute where that is below 1.

    Returns:
        ``steps``, the largest difference ``max``, and ``scale``, the largest output.

    Raises:
        ExportError: they differ by more.
    """
    from slowfast.deploy.stream import open_stream

    info = read_stream_info(path)
    batch = info.clip.batch or 2
    graph, runner = StepGraph(stream, info.clip, list(info.states)), open_stream(path)
    state = [torch.zeros(batch, *shape) for shape in info.states.values()]
    runner.reset(batch)
    generator = torch.Generator().manual_seed(0)
    largest, scale, count = 0.0, 1.0, len(info.clip.outputs)
    for _ in range(steps):
        frames = torch.randn(batch, *info.frame_shape[1:], generator=generator)
        if info.clip.normalized_inside:
            frames = (frames * 64 + 128).clamp(0, 255).to(torch.uint8)
        with torch.no_grad():
            outputs, state = _split(graph(frames, *state), count)
        found = runner.push(frames)
        answers = list(found.values()) if isinstance(found, dict) else [found]
        for expected, answer in zip(outputs, answers, strict=True):
            largest = max(largest, float((expected - answer).abs().max()))
            scale = max(scale, float(expected.abs().max()))
    if not largest <= tolerance * scale:
        raise ExportError(
            f"{path} computes something else than the stream it was made from: after {steps} "
            f"steps outputs differ by {largest:.3g} of {scale:.3g}"
        )
    return {"steps": steps, "max": largest, "scale": scale}


def _split(values: tuple[Tensor, ...], count: int) -> tuple[list[Tensor], list[Tensor]]:
    return list(values[:count]), list(values[count:])
