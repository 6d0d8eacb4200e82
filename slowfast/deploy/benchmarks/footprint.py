"""Memory of one way of running one model, in a process that does nothing else."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from slowfast.deploy.benchmarks.contender import open_contender
from slowfast.deploy.benchmarks.sources import Settings, Sources
from slowfast.deploy.benchmarks.spec import CLIP, FORMATS, STREAM, Spec
from slowfast.deploy.latency import PeakMemory


def peak_memory_mib(spec: Spec, sources: Sources) -> float | None:
    """Highest memory while a model is opened and predicts once, weights included, in MiB.

    In a new process, above what that needs to have its libraries loaded (but for those of the
    runtime). Exported files are opened as they are; exporting does not count.

    Returns:
        ``None`` where the system does not say, or the process did not end well.
    """
    if spec.runtime in FORMATS and not spec.is_file:
        kind = FORMATS[spec.runtime]
        file = (
            sources.export_stream(spec.path, kind, spec.batch)
            if spec.form == STREAM
            else sources.export(spec.path, kind)
        )
        spec = replace(spec, path=str(file))
    settings = replace(sources.settings, settle=False)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(measure_here, spec, settings).result()
        except BrokenProcessPool:
            return None


def measure_here(spec: Spec, settings: Settings) -> float | None:
    """:func:`peak_memory_mib` in this process."""
    with TemporaryDirectory() as folder:
        sources = Sources(settings, Path(folder), keep=False)
        device = "cpu"
        if spec.form == CLIP and not spec.is_file:
            device = find_device(sources, spec.path)
        with PeakMemory(device) as memory:
            open_contender(spec, sources).run()
    return memory.mib


def find_device(sources: Sources, path: str) -> str:
    """Where the model of a config or checkpoint runs."""
    from slowfast.engine.build import build_placement

    return str(build_placement(sources.config(path)).device)
