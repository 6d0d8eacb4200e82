"""The formats a model can be exported in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowfast.registry import Registry

if TYPE_CHECKING:
    from slowfast.deploy.export.graph import Source


@dataclass(frozen=True)
class Format:
    """How models are written in one format.

    Attributes:
        suffix: of the file.
        write: writes it, without its description.
        libraries: what writes it; their versions go into the description.
        fixed_batch: the format cannot leave the number of clips open.
        verify: what can be checked of a file that is not run here, as ``Parity.as_dict``; raises
            :class:`~slowfast.deploy.export.info.ExportError` where something is wrong. ``None``:
            the file is run and compared.
    """

    suffix: str
    write: Callable[[Source, Path], Path]
    libraries: tuple[str, ...] = ("torch",)
    fixed_batch: bool = False
    verify: Callable[[Source, Path], dict[str, Any]] | None = None


EXPORTERS: Registry[Format] = Registry(
    "export format",
    {
        "onnx": "slowfast.deploy.export.onnx:FORMAT",
        "openvino": "slowfast.deploy.export.openvino:FORMAT",
        "torch_export": "slowfast.deploy.export.torch_export:FORMAT",
        "coreml": "slowfast.deploy.export.coreml:FORMAT",
        "executorch": "slowfast.deploy.export.executorch:FORMAT",
    },
)
