"""torch's own format: runs wherever torch does, without this package."""

from __future__ import annotations

import io
from pathlib import Path

import torch

from slowfast.deploy.export.graph import Source
from slowfast.deploy.export.table import Format


def write(source: Source, path: Path) -> Path:
    """Write the captured graph as ``path`` (``.pt2``); ``torch.export.load`` reads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    archive = io.BytesIO()  # where the disk is full, torch's own writer ends the whole process
    torch.export.save(source.program, archive)
    path.write_bytes(archive.getbuffer())
    return path


FORMAT = Format(suffix=".pt2", write=write)
