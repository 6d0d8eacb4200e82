"""The one door to torchvision, whose compiled operators may not fit the torch beside it."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import torch

from slowfast.utils.optional import require

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_libraries: list[torch.library.Library] = []  # a library's schemas go when it is collected


def functional() -> ModuleType:
    """``torchvision.transforms.v2.functional``, imported on the first call (about a second)."""
    _declare_missing_operators()
    return require("torchvision.transforms.v2.functional", extra="video")


@cache
def _declare_missing_operators() -> None:
    """Lets torchvision be imported where its compiled library cannot be loaded.

    The registry's torchvision is built against CUDA, so beside a CPU-only torch its library
    does not load, and the import fails with "operator torchvision::nms does not exist" as
    it registers shape functions for ``nms`` and ``qnms``. Declaring their schemas is enough:
    nothing here calls them. Where the library loads, nothing is declared, since a namespace
    can be defined only once.
    """
    if "torchvision" in sys.modules or _compiled_operators_load():
        return
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for schema in SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    _libraries.append(library)


def _compiled_operators_load() -> bool:
    """Whether torchvision's own library registers its operators: tried as torchvision does."""
    spec = importlib.util.find_spec("torchvision")  # finds it without importing it
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for file in sorted(Path(folder).glob("_C*.*")):
            try:
                torch.ops.load_library(str(file))  # type: ignore[no-untyped-call]
            except OSError:
                return False
            return True
    return False
