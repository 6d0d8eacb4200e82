"""What is to be measured, as it is named on the command line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slowfast.deploy.export.info import info_path
from slowfast.utils.errors import UserError
from slowfast.utils.plain_json import parse_json

CLIP, STREAM, REFERENCE, COX3D = FORMS = ("clip", "stream", "reference", "cox3d")
EAGER, COMPILE = "eager", "compile"
FORMATS = {"onnxruntime": "onnx", "openvino": "openvino", "torch_export": "torch_export"}
"""Runtime -> the format it runs."""
RUNTIMES = (EAGER, COMPILE, *FORMATS)
FILE_RUNTIMES = {
    ".onnx": "onnxruntime", ".xml": "openvino", ".bin": "openvino", ".pt2": "torch_export",
}  # fmt: skip
F32, BF16, INT8 = PRECISIONS = ("f32", "bf16", "int8")
INT8_BF16 = "int8+bf16"
"""Of OpenVINO's int8 files: what is not in int8, an LSTM for one, in bf16 instead of f32."""
CONFIGS = (".yaml", ".yml")
SAID = {
    STREAM: " stream",
    REFERENCE: " as PySlowFast",
    COX3D: " as CoX3D",
}


@dataclass(frozen=True)
class Spec:
    """One way of running one model.

    Attributes:
        path: a config (random weights), a checkpoint or an exported file.
        form: one of ``FORMS``: clips; one frame at a time; clips as PySlowFast runs them; frames
            as CoX3D runs them.
        runtime: one of ``RUNTIMES``.
        precision: one of ``PRECISIONS``; that of a file which says it of itself is its own.
            ``INT8_BF16`` of an int8 file asked for in bf16.
        threads: of one prediction; 0: the runtime's own choice.
        batch: clips, or streams, at once.
    """

    path: str
    form: str = CLIP
    runtime: str = EAGER
    precision: str = F32
    threads: int = 0
    batch: int = 1

    @property
    def is_file(self) -> bool:
        """Whether it is exported already."""
        return Path(self.path).suffix in FILE_RUNTIMES

    @property
    def name(self) -> str:
        """For people, without threads and batch."""
        path = Path(self.path)
        stem = path.name if self.is_file else Path(self.path.split("+")[-1]).stem
        if self.form in (REFERENCE, COX3D):
            return stem + SAID[self.form]
        runtime = "" if self.is_file else f" {self.runtime}"
        return f"{stem}{SAID.get(self.form, '')}{runtime} {self.precision}"


def parse_spec(text: str) -> tuple[Spec, bool]:
    """``[FORM:]PATH[@RUNTIME[/PRECISION]]``, and whether it names a runtime.

    Raises:
        UserError: no such form, runtime or precision.

    Example:
        >>> parse_spec("stream:configs/Kinetics/X3D_S.yaml@openvino/bf16")[0].name
        'X3D_S stream openvino bf16'
    """
    form, colon, rest = text.partition(":")
    if not colon or form not in FORMS:
        form, rest = CLIP, text
    path, at, way = rest.partition("@")
    runtime, _, precision = way.partition("/")
    suffix = Path(path).suffix
    own = FILE_RUNTIMES.get(suffix, EAGER)
    runtime, precision = runtime or own, precision or F32
    if runtime not in RUNTIMES or precision not in PRECISIONS:
        raise UserError(
            f"{text}: after @ comes RUNTIME/PRECISION, of {', '.join(RUNTIMES)} and "
            f"{', '.join(PRECISIONS)}"
        )
    if suffix in FILE_RUNTIMES:
        if runtime != own or form in (REFERENCE, COX3D):
            raise UserError(f"{text}: {path} is a file of {own}, and runs as such only")
        found = read_description(path)
        form = STREAM if found.get("streaming") else CLIP
        said = found.get("clip", found).get("precision", "")
        if (said, runtime, precision) == (INT8, "openvino", BF16):
            precision = INT8_BF16
        elif said in PRECISIONS:
            precision = said
    return Spec(path, form, runtime, precision), bool(at)


def read_description(path: str) -> dict[str, Any]:
    """What stands beside an exported file, unchecked; empty where nothing does."""
    try:
        found = parse_json(info_path(Path(path)).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def expand(
    texts: Iterable[str], runtimes: Sequence[str] = (), precisions: Sequence[str] = ()
) -> tuple[list[Spec], dict[str, str]]:
    """Every way of running what is named.

    Args:
        texts: see :func:`parse_spec`. One that names its runtime is run in that way only.
        runtimes: for the others; default: eager, and of a file its own.
        precisions: likewise; default: f32.

    Returns:
        What to measure, and name -> why not of what cannot be.
    """
    for known, given in ((RUNTIMES, runtimes), (PRECISIONS, precisions)):
        if wrong := [word for word in given if word not in known]:
            raise UserError(f"there is no {wrong[0]!r}: give some of {', '.join(known)}")
    specs: list[Spec] = []
    skipped: dict[str, str] = {}
    for text in texts:
        spec, is_chosen = parse_spec(text)
        for way in [spec] if is_chosen else _ways(spec, runtimes, precisions):
            why = cannot(way)
            if why and is_chosen:
                raise UserError(f"{text}: {why}")
            if why:
                skipped[way.name] = why
            elif way not in specs:
                specs.append(way)
    return specs, skipped


def _ways(spec: Spec, runtimes: Sequence[str], precisions: Sequence[str]) -> list[Spec]:
    if spec.form in (REFERENCE, COX3D):
        return [spec]
    if spec.is_file:
        fixed = spec.precision != F32 or spec.runtime != "openvino"
        chosen = [spec.precision] if fixed else [p for p in precisions if p != INT8] or [F32]
        return [replace(spec, precision=precision) for precision in chosen]
    return [
        replace(spec, runtime=runtime, precision=precision)
        for runtime in runtimes or (EAGER,)
        for precision in precisions or (F32,)
    ]


def cannot(spec: Spec) -> str:
    """Why a way of running does not exist; empty where it does."""
    if spec.is_file:
        return ""
    if spec.precision == INT8:
        return "int8 is a file: make one with tools/quantize.py and name it after --files"
    if spec.form == STREAM and spec.runtime in (COMPILE, "torch_export"):
        return "streams run eagerly, in onnxruntime and in openvino"
    if spec.precision == BF16 and spec.form == STREAM and spec.runtime == EAGER:
        return "streams run in bf16 in openvino only"
    if spec.precision == BF16 and spec.runtime in ("onnxruntime", "torch_export"):
        return f"{spec.runtime} runs a file in the precision it has"
    return ""
