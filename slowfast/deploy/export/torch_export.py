"""torch's own format: runs wherever torch does, without this package."""

from __future__ import annotations

from pathlib import Path

import torch

from slowfast.deploy.export.graph import Source
from slowfast.deploy.export.table import Format


def write(source: Source, path: Path) -> Path:
    """Write the captured graph as ``path`` (``.pt2``); ``torch.export.load`` reads it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.export.save(source.program, path)
    return path


FORMAT = Format(suffix=".pt2", write=write)
