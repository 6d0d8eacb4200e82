"""Whether a ``.pt2`` file can be read without running what somebody wrote into it."""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from slowfast.deploy.export.info import ExportError
from slowfast.utils.archives import BombError, check_unpacked
from slowfast.utils.plain_json import parse_json

PLAIN = (
    r"[^/]+/data/weights/(weight_\d+|model_weights_config\.json)",
    r"[^/]+/data/constants/(tensor_\d+|model_constants_config\.json)",
    r"[^/]+/data/sample_inputs/model\.pt",
    r"[^/]+/models/model\.json",
    r"[^/]+/(archive_format|archive_version|byteorder|\.data/version|\.data/serialization_id)",
)
"""Names in an archive of weights and a graph. Others hold objects, or compiled code."""

NAMES = {
    "Symbol", "Integer", "Rational", "Add", "Mul", "Pow", "Mod", "Max", "Min", "FloorDiv",
    "PythonMod", "CleanDiv", "Equality", "Unequality", "GreaterThan", "LessThan",
    "StrictGreaterThan", "StrictLessThan", "integer", "positive", "nonnegative", "nonzero", "zero",
    "True", "False", "true", "false",
}  # fmt: skip
"""In the expressions of sizes, which sympy's ``srepr`` wrote."""

PICKLED = "holds pickled objects, which may run anything: not loaded"
_NAME = re.compile(r"[^\W\d]\w*")
_SYMBOL = re.compile(r"[su]\d+")
_TEXT = re.compile(r"[\w\s'(),=-]*")


def check_program(path: Path) -> None:
    """Refuse what ``torch.export.load`` would execute.

    It unpickles weights and constants that say they are pickled, and example inputs whatever they
    are, and evaluates the expressions of sizes (torch 2.13).

    Raises:
        ExportError: such is in the file, or it is no archive of torch's.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            check_unpacked(archive, path)
            names = archive.namelist()
            strange = [name for name in names if not any(re.fullmatch(p, name) for p in PLAIN)]
            if strange:
                raise ExportError(f"{path} holds more than weights and a graph: {strange[0]}")
            for name in names:
                if name.endswith(".json"):
                    _check_json(path, parse_json(archive.read(name)))
                elif name.endswith(".pt"):
                    torch.load(io.BytesIO(archive.read(name)), weights_only=True)
    except pickle.UnpicklingError as error:
        raise ExportError(f"{path} {PICKLED}") from error
    except BombError as error:
        raise ExportError(str(error)) from error
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, RuntimeError, LookupError) as error:
        raise ExportError(f"{path} is no file of torch.export: {error}. Export it again") from error


def _check_json(path: Path, found: Any) -> None:
    for key, value in _entries(found):
        if key == "use_pickle" and value is not False:
            raise ExportError(f"{path} {PICKLED}")
        if key == "expr_str" and not is_plain_expression(value):
            raise ExportError(f"{path} holds an expression that is no size: {value!r:.60}")


def _entries(found: Any) -> Iterator[tuple[str, Any]]:
    """All keys of nested objects, with their values."""
    stack = [found]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            yield from value.items()
            stack += value.values()
        elif isinstance(value, list):
            stack += value


def is_plain_expression(text: Any) -> bool:
    """Whether a text is arithmetic over sizes.

    Example:
        >>> is_plain_expression("Mul(Integer(4), Symbol('s7'))"), is_plain_expression("exec('1')")
        (True, False)
    """
    return (
        isinstance(text, str)
        and _TEXT.fullmatch(text) is not None
        and all(name in NAMES or _SYMBOL.fullmatch(name) for name in _NAME.findall(text))
    )
