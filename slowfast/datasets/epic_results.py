"""Result files of the EPIC-KITCHENS-100 challenge: scores by narration id, read and written.

The challenge's programs save ``verb_output (N, 97)``, ``noun_output (N, 300)`` and
``narration_id (N,)`` as one dict, or as a list of N dicts. Scores are logits (or log-probabilities,
which rank alike).
"""

from __future__ import annotations

import json
import os
import pickle
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slowfast.utils.archives import check_allocations, check_scores_archive
from slowfast.utils.errors import UserError, shortened
from slowfast.utils.plain_json import parse_json
from slowfast.utils.safe_pickle import load_pickle

KEYS = ("verb_output", "noun_output", "narration_id")
SUFFIXES = (".npz", ".json", ".pkl", ".pickle", ".pt", ".pth", ".pyth")


class ResultsError(UserError, ValueError):
    """A results file that cannot be used; the text names the file and what is wrong in it.

    ``exit_status`` is that of the challenge's own program for the same trouble.
    """

    exit_status = 3


class MissingKeysError(ResultsError):
    """Not all of ``KEYS`` are in the file."""

    exit_status = 2


class ResultsExistError(UserError, FileExistsError):
    """The file to write is there already."""


@dataclass(frozen=True, eq=False)
class Results:
    """Scores of N segments, in the precision of the file.

    Attributes:
        verb_output: ``(N, verbs)``.
        noun_output: ``(N, nouns)``.
        narration_id: N names, each once.
        source: the file, for messages.
    """

    verb_output: NDArray[np.floating]
    noun_output: NDArray[np.floating]
    narration_id: tuple[str, ...]
    source: str = "results"

    def __post_init__(self) -> None:
        for key in ("verb_output", "noun_output"):
            scores = getattr(self, key)
            if scores.ndim != 2 or len(scores) != len(self.narration_id):
                raise ResultsError(
                    f"{self.source}: {key} has shape {scores.shape} for "
                    f"{len(self.narration_id)} narration ids"
                )
            if not np.isfinite(scores).all():
                row = int(np.flatnonzero(~np.isfinite(scores).all(axis=1))[0])
                raise ResultsError(
                    f"{self.source}: {key} of {self.narration_id[row]} is not finite; save logits, "
                    "or log-probabilities of probabilities kept above 0"
                )
        if len(set(self.narration_id)) < len(self.narration_id):
            counts = Counter(self.narration_id)
            twice = [name for name, count in counts.items() if count > 1][:5]
            raise ResultsError(f"{self.source}: narration ids more than once: {', '.join(twice)}")

    def __len__(self) -> int:
        return len(self.narration_id)

    def in_order(self, narration_ids: Sequence[str]) -> Results:
        """The same rows in the order of ``narration_ids``, which must all be here."""
        rows = {name: row for row, name in enumerate(self.narration_id)}
        order = [rows[name] for name in narration_ids]
        return Results(
            self.verb_output[order], self.noun_output[order], tuple(narration_ids), self.source
        )


def read_results(path: str | Path) -> Results:
    """Results of a ``.npz``, ``.json``, pickle or torch file, in either of the two forms.

    Pickles and torch files are read as plain data only: what they name is never run.

    Raises:
        ResultsError: unknown kind of file, a key missing, shapes that do not fit.
        UnsafePickleError: a pickle with more than plain data.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ResultsError(f"{path}: results are read from {', '.join(SUFFIXES)}")
    data = _collate(str(path), _READERS[suffix](path))
    missing = [key for key in KEYS if key not in data]
    if missing:
        raise MissingKeysError(f"{path}: no entry {', '.join(missing)}; there are {sorted(data)}")
    names = data["narration_id"]
    if isinstance(names, str | bytes) or not isinstance(names, Iterable) or _is_single(names):
        raise ResultsError(f"{path}: narration_id is {shortened(names)}, expected a list of ids")
    return Results(
        _scores(str(path), "verb_output", data["verb_output"]),
        _scores(str(path), "noun_output", data["noun_output"]),
        tuple(_text(name) for name in names),
        str(path),
    )


def write_results(path: str | Path, results: Results, *, force: bool = False) -> None:
    """Writes ``.npz``, ``.json`` or ``.pkl`` (the challenge's own form), whole or not at all.

    Raises:
        FileExistsError: the file is there and ``force`` is not set.
        ResultsError: another suffix.
    """
    path = Path(path)
    data = {
        "verb_output": results.verb_output,
        "noun_output": results.noun_output,
        "narration_id": np.array(results.narration_id, dtype=str),
    }
    if path.suffix.lower() not in (".npz", ".json", ".pkl", ".pickle"):
        raise ResultsError(f"{path}: results are written as .npz, .json or .pkl")
    check_free(path, force=force)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with open(part, "wb") as file:
        if path.suffix.lower() == ".npz":
            np.savez_compressed(file, allow_pickle=False, **data)
        elif path.suffix.lower() == ".json":
            file.write(json.dumps({key: value.tolist() for key, value in data.items()}).encode())
        else:
            pickle.dump(data, file, protocol=4)
    os.replace(part, path)


def check_free(path: Path, *, force: bool) -> None:
    """Refuses to overwrite ``path`` unless ``force``."""
    if path.exists() and not force:
        raise ResultsExistError(f"{path} already exists; --force overwrites it")


def _read_npz(path: Path) -> Any:
    try:
        check_scores_archive(path)
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except Exception as error:  # of many kinds: the archive's, and those of the arrays' headers
        raise ResultsError(f"{path}: cannot be read as plain arrays ({error!s:.300})") from error


def _read_json(path: Path) -> Any:
    try:
        return parse_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ResultsError(f"{path}: not JSON ({error})") from error


def _read_torch(path: Path) -> Any:
    names = (np.ndarray, np.dtype, *(type(np.dtype(code)) for code in "efdilU"))
    allowed: list[Any] = [*names, np.array(0).__reduce__()[0], np.float32(0).__reduce__()[0]]
    try:
        check_allocations(path)
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds: any bytes are taken for opcodes
        raise ResultsError(f"{path}: not a torch file of plain data ({error})") from error


_READERS = {
    ".npz": _read_npz,
    ".json": _read_json,
    ".pkl": load_pickle,
    ".pickle": load_pickle,
    ".pt": _read_torch,
    ".pth": _read_torch,
    ".pyth": _read_torch,
}


def _collate(source: str, data: Any) -> Mapping[str, Any]:
    if isinstance(data, list) and data and all(isinstance(item, Mapping) for item in data):
        missing = [key for key in KEYS if any(key not in item for item in data)]
        if missing:
            raise MissingKeysError(f"{source}: segments without {', '.join(missing)}")
        return {key: [item[key] for item in data] for key in KEYS}
    if isinstance(data, Mapping):
        return data
    raise MissingKeysError(
        f"{source}: neither a dict with {', '.join(KEYS)} nor a list of such dicts"
    )


def _scores(source: str, key: str, values: Any) -> NDArray[np.floating]:
    try:
        scores = np.asarray(values)  # tensors, arrays or numbers, or lists of any of these
        if not np.issubdtype(scores.dtype, np.number):
            scores = scores.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise ResultsError(
            f"{source}: {key} is not a table of numbers ({shortened(str(error))})"
        ) from error
    return scores if np.issubdtype(scores.dtype, np.floating) else scores.astype(np.float64)


def _is_single(values: Any) -> bool:
    return getattr(values, "ndim", 1) == 0


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
