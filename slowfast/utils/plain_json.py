"""JSON of strangers: whatever is wrong with it is a ``ValueError``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def parse_json(text: str | bytes, *, finite: bool = False) -> Any:
    """What a JSON text describes.

    Args:
        text: of one value.
        finite: refuse NaN and infinities, which JSON does not have but Python reads.

    Raises:
        ValueError: it is no JSON, or nested so deep that Python would run out of stack.

    Example:
        >>> parse_json('{"a": [1, 2]}')
        {'a': [1, 2]}
    """
    try:
        return json.loads(text, parse_constant=_refuse if finite else None)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def names_by_id(names: Any) -> list[str]:
    """Class names by id from what JSON says: a list, or name -> id.

    Raises:
        ValueError: neither; or not all are texts, or the ids are not 0 to N - 1.

    Example:
        >>> names_by_id({"right": 1, "left": 0})
        ['left', 'right']
    """
    if isinstance(names, list) and all(isinstance(name, str) for name in names):
        return list(names)
    ids: list[Any] = list(names.values()) if isinstance(names, Mapping) else [None]
    if not all(type(number) is int for number in ids) or sorted(ids) != list(range(len(ids))):
        raise ValueError("expected a list of names, or names with ids 0 to N - 1")
    table: dict[str, int] = dict(names)
    return sorted(table, key=lambda name: table[name])


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
