"""Config and checkpoint -> files of its stream: what ``tools/export.py --stream`` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from slowfast.deploy.export.build import build_class_names, build_model_to_export, build_place
from slowfast.deploy.export.files import move_files
from slowfast.deploy.export.info import FileForm, model_files, with_source
from slowfast.deploy.export.streaming import (
    STREAM_EXPORTERS,
    StreamInfo,
    build_stream_info,
    read_stream_info,
)
from slowfast.models.streaming import build_streaming
from slowfast.utils.errors import UserError
from slowfast.utils.files import staging_folder, told_if_disk_full

if TYPE_CHECKING:
    from yacs.config import CfgNode

SUFFIX = "_stream"
"""Of the file name, so that the stream and the clip model of a checkpoint lie side by side."""


@dataclass(frozen=True)
class ExportedStream:
    """A file of a stream. Attributes: where it is, what it is, and its bytes."""

    path: Path
    info: StreamInfo
    size: int


def build_stream_exports(
    cfg: CfgNode | None,
    model_path: Path | None,
    formats: Sequence[str],
    *,
    opts: Sequence[str] = (),
    output: Path | None = None,
    dense: bool = False,
    **form: Unpack[FileForm],
) -> list[ExportedStream]:
    """Write the stream of a checkpoint in ``formats``, each file run step by step and compared.

    Args:
        cfg: see :func:`~slowfast.deploy.export.build.build_exports`, as for what is not here.
        model_path: likewise.
        formats: entries of ``STREAM_EXPORTERS``.
        opts: likewise.
        output: a file (of several formats, each gets its suffix) or a folder, where files are
            named as the checkpoint with ``_stream``. ``None``: beside the checkpoint.
        dense: run the layers behind temporal strides for every frame.
        **form: of every file, see :class:`~slowfast.deploy.export.info.FileForm`.

    Raises:
        UserError: something is missing or does not fit; nothing is left half-written.
        StreamingError: the network does not go frame by frame; says why.
    """
    unknown = [name for name in formats if name not in STREAM_EXPORTERS]
    if unknown:
        raise UserError(f"streams are not written as {unknown[0]}: {', '.join(STREAM_EXPORTERS)}")
    model, cfg, source = build_model_to_export(cfg, model_path, opts)
    stream = build_streaming(cfg, model, dense=dense)
    names = build_class_names(cfg, model)
    info = build_stream_info(cfg, model, stream, class_names=names, **form)
    info = replace(info, clip=with_source(info.clip, source))
    folder, stem = build_place(source, output)
    stem = stem if output is not None and output.suffix else stem + SUFFIX
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for name in dict.fromkeys(formats):
        how = STREAM_EXPORTERS[name]
        target = folder / f"{stem}{how.suffix}"
        with told_if_disk_full(target), staging_folder(target) as staging:
            path = how.write(stream, staging / target.name, info)
            written = read_stream_info(path)
            move_files(path, folder)
        size = sum(file.stat().st_size for file in model_files(target))
        found.append(ExportedStream(target, written, size))
    return found


def describe_stream(exported: ExportedStream) -> str:
    """One line for people: where, how large, what it costs, how near to the model."""
    info = exported.info
    parity = info.parity
    return (
        f"{exported.path} ({exported.size / 1e6:.1f} MB): a stream, {info.macs / 1e9:.3f} GMACs "
        f"per frame, {info.state_bytes / 1e6:.1f} MB of state, delay {info.delay} frames; outputs "
        f"of {parity['steps']} steps differ by {parity['max']:.1e} of {parity['scale']:.3g}"
    )
