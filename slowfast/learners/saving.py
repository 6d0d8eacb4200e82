"""The folder of a saved learner: weights, the ONNX file of an optimised one, and JSON about both.

``name/model_name.pth`` is a checkpoint as ``tools/run_net.py`` writes it, config included;
``name/name.json`` says what a learner must know to go on with it. Saved again, the files get
``_1``, ``_2``, ...; what is loaded from a folder is the newest.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slowfast.learners.learner import LearnerError
from slowfast.utils.files import write_text
from slowfast.utils.plain_json import parse_json

WEIGHTS = (".pth", ".pyth", ".pt")
_VERSION = re.compile(r"_(\d+)$")


@dataclass(frozen=True)
class Place:
    """Files of one saving. Attributes: of the description; of weights; of the ONNX; its number."""

    metadata: Path
    weights: Path
    onnx: Path
    version: int


def free_place(folder: Path) -> Place:
    """Where to save next; nothing that is there is replaced.

    Raises:
        LearnerError: ``folder`` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise LearnerError(f"{folder} is a file: give a folder to save to")
    name = folder.resolve().name
    taken = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
    versions = [_version(path) for path in find_descriptions(folder)]
    version = max(versions, default=-1) + 1
    while True:
        stem = f"{name}_{version}" if version else name
        place = Place(
            folder / f"{stem}.json",
            folder / f"model_{stem}.pth",
            folder / f"model_{stem}.onnx",
            version,
        )
        if not taken & {place.metadata.name, place.weights.name, place.onnx.name}:
            return place
        version += 1


def write_metadata(path: Path, metadata: Mapping[str, Any]) -> None:
    """Write a description; a reader finds the old one or the whole new one."""
    text = json.dumps(metadata, indent=4, sort_keys=True) + "\n"
    write_text(path, text)


def read_metadata(path: Path) -> dict[str, Any]:
    """The description in a file.

    Raises:
        LearnerError: it is not there, or something else.
    """
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LearnerError(f"{path} is not the description of a saved learner: {error}") from error
    if not _is_description(found):
        raise LearnerError(
            f"{path} is not the description of a saved learner: it lacks model_paths, "
            "inference_params or optimizer_info"
        )
    return dict(found)


def _is_description(found: Any) -> bool:
    sections = ("inference_params", "optimizer_info")
    return (
        isinstance(found, dict)
        and isinstance(found.get("model_paths"), str | list)
        and all(isinstance(found.get(name), dict) for name in sections)
    )


def find_descriptions(folder: Path) -> list[Path]:
    """Descriptions of saved learners in ``folder``, oldest first."""
    found = []
    for path in folder.glob("*.json") if folder.is_dir() else ():
        try:
            if _is_description(parse_json(path.read_text(encoding="utf-8"))):
                found.append(path)
        except (OSError, ValueError):
            continue  # somebody else's file
    return sorted(found, key=lambda path: (_version(path), path.stat().st_mtime_ns))


def _version(path: Path) -> int:
    """The number the description carries; of other programs', the one its name ends with."""
    known = parse_json(path.read_text(encoding="utf-8")).get("version")
    match = _VERSION.search(path.stem)
    return known if isinstance(known, int) else int(match[1]) if match else 0


def find_saved(path: Path, backbone: str) -> Path:
    """The description, or the weights, that ``path`` means.

    Args:
        path: one of these, or a folder. The newest description in it, else the weights that
            ``download`` names after the backbone, else the only weights there are.
        backbone: of the learner.

    Raises:
        LearnerError: nothing to load; says what there is.
    """
    if path.is_file():
        if path.suffix in (".json", *WEIGHTS):
            return path
        hint = ": load the folder, whose weights come with it" if path.suffix == ".onnx" else ""
        raise LearnerError(f"{path} is neither a .json nor weights ({', '.join(WEIGHTS)}){hint}")
    if not path.is_dir():
        raise LearnerError(f"there is no {path} to load")
    if descriptions := find_descriptions(path):
        return descriptions[-1]
    weights = sorted(file for file in path.iterdir() if file.suffix in WEIGHTS)
    named = [file for file in weights if file.stem == f"x3d_{backbone}"]
    if len(chosen := named or weights) != 1:
        there = ", ".join(file.name for file in weights) or "no weights"
        raise LearnerError(
            f"{path} has no saved learner and no x3d_{backbone} weights, but {there}: give the "
            "file, or build the learner with that backbone"
        )
    return chosen[0]


def file_of(description: Path, metadata: Mapping[str, Any], suffixes: tuple[str, ...]) -> Path:
    """The file with one of ``suffixes`` beside a description, which is as it was written.

    Raises:
        LearnerError: it names none, it is gone, or it has changed.
    """
    paths = metadata["model_paths"]
    names = [paths] if isinstance(paths, str) else paths
    name = next((name for name in names if Path(str(name)).suffix in suffixes), None)
    if name is None:
        raise LearnerError(f"{description} names no {' or '.join(suffixes)} file, but {names}")
    path = description.parent / Path(str(name)).name
    if not path.is_file():
        raise LearnerError(f"{description} needs {path.name} beside it, which is not there")
    known = (metadata.get("sha256") or {}).get(path.name)
    if known is not None and known != sha256_of(path):
        raise LearnerError(
            f"{path} is not the file that {description.name} was written with: its SHA-256 differs"
        )
    return path


def sha256_of(path: Path) -> str:
    """Of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
