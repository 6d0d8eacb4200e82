"""What takes part in a benchmark: opened, with inputs, ready to be called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slowfast.deploy.backends import RunOptions, memory_format
from slowfast.deploy.benchmarks.cox3d import CoX3DStep
from slowfast.deploy.benchmarks.reference import build_clip_reference
from slowfast.deploy.benchmarks.sources import Sources
from slowfast.deploy.benchmarks.spec import (
    BF16,
    CLIP,
    COMPILE,
    COX3D,
    F32,
    FORMATS,
    INT8_BF16,
    REFERENCE,
    STREAM,
    Spec,
)
from slowfast.deploy.export.info import ExportError, ExportInfo, build_export_info, model_files
from slowfast.deploy.export.streaming import StreamInfo, build_stream_info, read_stream_info
from slowfast.deploy.frames import random_clips
from slowfast.deploy.latency import MIB
from slowfast.deploy.runtime import ExportedModel, LoadedModel, with_costs
from slowfast.deploy.stream import ModelRunner, StreamRunner, open_stream
from slowfast.engine.build import build_placement, place
from slowfast.models.base import ClipModel
from slowfast.models.profile import build_model_inputs, count_macs, count_parameters

Run = Callable[[], object]


@dataclass
class Contender:
    """One way of running one model, ready.

    Attributes:
        spec: what it is.
        name: unique in a benchmark.
        run: one call.
        predictions: per call.
        frames: of a video that a prediction takes: those of a clip, or one.
        facts: what does not change from call to call, for the table.
        device: that ``run`` computes on.
        model: predicts clips; ``None`` of streams and references.
        stream: predicts frames; ``None`` of clip models and references.
        stream_info: what the stream takes; ``None`` of others.
        family: contenders of one network have the same, and ought to give the same answers.
    """

    spec: Spec
    name: str
    run: Run
    predictions: int
    frames: int
    facts: dict[str, Any]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    model: ClipModel | None = None
    stream: StreamRunner | None = None
    stream_info: StreamInfo | None = None
    family: str = ""


class CompiledModel(LoadedModel):
    """Run by what ``torch.compile`` makes of it; the first prediction takes long."""

    def compile_once(self) -> CompiledModel:
        """The same, compiled."""
        self.compiled = torch.compile(self.model.predict, dynamic=False)
        return self

    def predict(self, clips: Any) -> Any:
        return self._run(self.compiled, clips)


def open_contender(spec: Spec, sources: Sources) -> Contender:
    """Whatever ``spec`` says, with clips or frames of noise.

    Raises:
        UserError: it cannot be run so; says why.
        ModuleNotFoundError: its runtime is not installed.
    """
    found = OPENERS[spec.form](spec, sources)
    found.facts = {
        "model": Path(spec.path.split("+")[-1]).name,
        "form": spec.form,
        "runtime": spec.runtime,
        "precision": spec.precision,
        "threads": spec.threads,
        "batch": spec.batch,
    } | found.facts
    file = Path(spec.path)
    if file.is_file():  # which network it is, for reports
        found.facts.setdefault("source", {"file": str(file.resolve())})
    return found


def _open_clip(spec: Spec, sources: Sources) -> Contender:
    if spec.is_file or spec.runtime in FORMATS:
        return _open_file(spec, sources)
    model, config = sources.take(spec.path)
    placement = build_placement(config)
    place(model, placement)
    info = build_export_info(config, model)
    kind = CompiledModel if spec.runtime == COMPILE else LoadedModel
    options = RunOptions(spec.threads, spec.precision)
    loaded = kind(Path(spec.path), model, info, placement, options)
    if isinstance(loaded, CompiledModel):
        loaded.compile_once()
    loaded.info = with_costs(loaded)
    clips = [
        clip.to(placement.device).contiguous(memory_format=placement.memory_format)
        for clip in random_clips(info, spec.batch)
    ]
    weights = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    return Contender(
        spec,
        spec.name,
        lambda: loaded.predict(clips),
        spec.batch,
        info.num_frames,
        clip_facts(loaded.info, weights),
        device=placement.device,
        model=loaded,
        family=spec.path,
    )


def _open_file(spec: Spec, sources: Sources) -> Contender:
    path = Path(spec.path) if spec.is_file else sources.export(spec.path, FORMATS[spec.runtime])
    options = RunOptions(spec.threads, _asked(spec))
    model = ExportedModel(path, options)
    info = model.info
    if info.batch not in (0, spec.batch):
        raise ExportError(f"{spec.path} takes {info.batch} clip(s) at once, not {spec.batch}")
    layout = memory_format(path)
    clips = random_clips(info, spec.batch)
    arrays = [clip.contiguous(memory_format=layout).numpy() for clip in clips]
    size = sum(file.stat().st_size for file in model_files(path))
    return Contender(
        spec,
        spec.name,
        lambda: model.run(arrays),
        spec.batch,
        info.num_frames,
        clip_facts(info, size),
        model=model,
        family=info.config if spec.is_file else spec.path,
    )


def _asked(spec: Spec) -> str:
    """What to ask the runtime for; a file that is int8 or bf16 of itself needs nothing."""
    return BF16 if spec.runtime == "openvino" and spec.precision in (BF16, INT8_BF16) else F32


def _open_stream(spec: Spec, sources: Sources) -> Contender:
    if spec.is_file or spec.runtime in FORMATS:
        path = Path(spec.path)
        if not spec.is_file:
            path = sources.export_stream(spec.path, FORMATS[spec.runtime], spec.batch)
        info, threads = read_stream_info(path), spec.threads or None
        runner: StreamRunner = open_stream(path, threads=threads, precision=_asked(spec))
        size = sum(file.stat().st_size for file in model_files(path))
        frames = stream_noise(info, spec.batch)
        run: Run = lambda: runner.push(frames)  # noqa: E731
    else:
        model, config = sources.load(spec.path)
        network = sources.stream(spec.path)
        info = build_stream_info(config, model, network)
        runner = ModelRunner(network)
        size = sum(t.numel() * t.element_size() for t in network.state_dict().values())
        noise = stream_noise(info, spec.batch)
        single = noise.unbind(2) if info.period > 1 else [noise]
        run = partial(with_threads, spec.threads, partial(_push_all, runner, single))
    runner.reset(spec.batch)
    return Contender(
        spec,
        spec.name,
        run,
        spec.batch * info.period,
        1,
        stream_facts(info, size),
        stream=runner,
        stream_info=info,
        family=info.clip.config if spec.is_file else spec.path,
    )


def _push_all(runner: StreamRunner, frames: Sequence[Tensor]) -> None:
    """As many frames as one call of an exported stream takes, one by one."""
    for frame in frames:
        runner.push(frame)


def stream_noise(info: StreamInfo, batch: int, *, seed: int = 0) -> Tensor:
    """What one call of a stream takes, of noise; in memory as video's frames are."""
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, *info.frame_shape[1:])
    layout = torch.channels_last if len(shape) == 4 else torch.channels_last_3d
    if info.clip.dtype == torch.uint8:
        noise = torch.randint(0, 256, shape, generator=generator).to(torch.uint8)
    else:
        noise = torch.randn(shape, generator=generator)
    return noise.contiguous(memory_format=layout)


def _open_reference(spec: Spec, sources: Sources) -> Contender:
    model, config = sources.load(spec.path)
    run, layers = build_clip_reference(config, model, batch=spec.batch)
    shapes = build_model_inputs(config, config.DATA.TEST_CROP_SIZE)
    macs = count_macs(model, shapes) / 1e9
    return Contender(
        spec,
        spec.name,
        partial(with_threads, spec.threads, run),
        spec.batch,
        config.DATA.NUM_FRAMES,
        {
            "runtime": f"eager, {layers}",
            "input": describe_shapes(shapes),
            "params_m": count_parameters(model) / 1e6,
            "macs_g": macs,
            "flops_g": 2 * macs,
        },
    )


def _open_cox3d(spec: Spec, sources: Sources) -> Contender:
    model, config = sources.take(spec.path)
    info = build_stream_info(config, model, sources.stream(spec.path))
    step = CoX3DStep(model)
    frame = torch.randn(spec.batch, *info.frame_shape[1:])
    facts = {"runtime": "eager, continual-inference", "input": describe_shapes([info.frame_shape])}
    run = partial(with_threads, spec.threads, partial(step.push, frame))
    return Contender(spec, spec.name, run, spec.batch, 1, facts)


def with_threads(threads: int, run: Run) -> object:
    """``run()`` with so many threads of torch; 0: as many as there are."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads or before)
        return run()
    finally:
        torch.set_num_threads(before)


def clip_facts(info: ExportInfo, size: int) -> dict[str, Any]:
    """Cost of a clip model on paper."""
    macs = info.macs / 1e9
    origin = {"source": info.source} if info.source else {}
    return origin | {
        "input": describe_shapes(list(info.inputs.values())),
        "params_m": info.parameters / 1e6,
        "macs_g": macs,
        "flops_g": 2 * macs,
        "size_mib": size / MIB,
    }


def stream_facts(info: StreamInfo, size: int) -> dict[str, Any]:
    """Cost of a frame on paper."""
    macs = info.macs / 1e9
    origin = {"source": info.clip.source} if info.clip.source else {}
    return origin | {
        "input": describe_shapes([info.frame_shape]),
        "params_m": info.clip.parameters / 1e6,
        "macs_g": macs,
        "flops_g": 2 * macs,
        "size_mib": size / MIB,
        "state_mb": info.state_bytes / 1e6,
        "delay": info.delay,
        "receptive_field": info.receptive_field,
    }


def describe_shapes(shapes: Sequence[Sequence[int]]) -> str:
    """``3x13x160x160``; of several pathways with ``and`` between."""
    return " and ".join("x".join(map(str, shape[1:])) for shape in shapes)


OPENERS: dict[str, Callable[[Spec, Sources], Contender]] = {
    CLIP: _open_clip,
    STREAM: _open_stream,
    REFERENCE: _open_reference,
    COX3D: _open_cox3d,
}
