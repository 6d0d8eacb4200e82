"""How a config key is declared, and how a raw YAML or command-line value becomes its type."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Union

import yaml

from slowfast.config.safe_yaml import parse_yaml
from slowfast.utils.errors import shortened


class ConfigError(ValueError):
    """A config cannot be used; the message names the key or file, the reason and the fix."""


LONGEST_SHOWN = 160  # characters of a value in a message
LARGEST = 2**64 - 1


def shown(value: Any) -> str:
    """A value for a message, which stays short whatever the value is."""
    return shortened(value, LONGEST_SHOWN)


def called(name: str) -> str:
    """The name of a key for a message; of what can be no key, its beginning in quotes."""
    return name if len(name) <= LONGEST_SHOWN and name.isprintable() and name else shown(name)


@dataclass(frozen=True)
class Key:
    """One leaf of the config tree.

    Args:
        default: value when no YAML and no override sets the key; its type is the key's type.
        doc: meaning, unit, what the options do, symbol in the paper.
        options: the only values allowed; empty when any value of the type is.
        types: the types allowed, when the default does not tell (``None``, or several types).
        item: type of the (innermost) elements of a list, when the default does not tell.
        low: smallest number allowed, inclusive. Also bounds the elements of a list.
        high: largest number allowed, inclusive.
        structural: a different value is a different network, even where no shape shows it.
    """

    default: Any
    doc: str
    options: tuple[Any, ...] = ()
    types: tuple[type, ...] = ()
    item: type | None = None
    low: float | None = None
    high: float | None = None
    structural: bool = False

    @property
    def allowed(self) -> tuple[type, ...]:
        """The types a value may have, ``NoneType`` included where ``None`` is the default."""
        return (type(self.default), *self.types)

    @property
    def element(self) -> type | None:
        """Type of the innermost elements of a list; ``None`` when any."""
        if self.item is not None:
            return self.item
        value = self.default
        while isinstance(value, (list, tuple)) and value:
            value = value[0]
        return None if isinstance(value, (list, tuple)) else type(value)

    @property
    def is_flat(self) -> bool:
        """Whether it is a list without lists in it; an empty default does not tell."""
        return bool(_is_sequence(self.default) and self.default) and not any(
            map(_is_sequence, self.default)
        )


def _is_sequence(value: Any) -> bool:
    return isinstance(value, (list, tuple))


Tree = Mapping[str, Union[Key, "Tree"]]
"""Node name -> key or sub-node."""

_NUMBER = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?|[-+]?(inf|nan)", re.IGNORECASE)
_BOOLS = {"true": True, "false": False, "1": True, "0": False}
_NAMES = {bool: "True or False", int: "an integer", float: "a number", str: "text"}


def coerce(value: Any, key: Key) -> Any:
    """``value`` as the type of ``key``, where nothing is lost by the conversion.

    Integers become floats; lists and tuples each other; text such as ``"1e-4"`` (text under the
    rules of YAML 1.1) or ``"(3, 7, 7)"`` what it spells. A number never becomes a flag.

    Raises:
        ConfigError: the value does not fit; the message says what was expected, not where.
    """
    if value is None:
        if type(None) in key.allowed:
            return None
        if str in key.allowed:
            _check_value("", key)
            return ""  # "CHECKPOINT_FILE_PATH:" with nothing behind it
    for kind in sorted(key.allowed, key=_specificity):
        converted = _convert(value, kind, key.element)
        if converted is not _NO:
            _check_value(converted, key)
            return converted
    raise ConfigError(f"expected {expected(key)}, got {shown(value)} ({type(value).__name__})")


def expected(key: Key) -> str:
    """What a value of ``key`` may be, in words."""
    if key.options:
        return "one of " + ", ".join(str(option) for option in key.options)
    words = []
    for kind in sorted(key.allowed, key=_specificity):
        if kind in (list, tuple):
            element = key.element
            words.append("a list" + (f" of {_plural(element)}" if element else ""))
        else:
            words.append(_NAMES.get(kind, "None"))
    return " or ".join(words)


def _plural(kind: type) -> str:
    return {int: "integers", float: "numbers", str: "texts"}.get(kind, kind.__name__)


_NO = object()


def _specificity(kind: type) -> int:
    """Order in which types are tried: text last, since every token is text."""
    return [type(None), bool, int, float, list, tuple, str].index(kind)


def _convert(value: Any, kind: type, element: type | None) -> Any:
    if kind in (list, tuple):
        return _to_sequence(value, kind, element)
    if isinstance(value, str) and kind is not str:
        return _from_text(value.strip(), kind)
    if kind is float and type(value) is int:
        return float(value) if abs(value) <= LARGEST else _NO
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is kind else _NO


def _from_text(text: str, kind: type) -> Any:
    if kind is bool:
        return _BOOLS.get(text.lower(), _NO)
    if kind is type(None):
        return None if text.lower() in ("none", "null", "~") else _NO
    if len(text) > LONGEST_SHOWN or not _NUMBER.fullmatch(text):
        return _NO
    if kind is float:
        return float(text)
    if text.lstrip("+-").replace("_", "").isdigit():
        return int(text)  # exact, where a float would round
    return int(float(text)) if float(text).is_integer() else _NO


def _to_sequence(value: Any, kind: type, element: type | None) -> Any:
    if isinstance(value, str):
        value = _spelled_sequence(value.strip())
    if not isinstance(value, (list, tuple)):
        return _NO
    items = [_element(item, element) for item in value]
    return _NO if any(item is _NO for item in items) else kind(items)


def _spelled_sequence(text: str) -> Any:
    """``"(3, 7, 7)"`` as Python spells it, or ``"[verb, noun]"`` as YAML does."""
    if text[:1] + text[-1:] not in ("[]", "()"):
        return _NO
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        pass
    try:
        return parse_yaml(text) if text[0] == "[" else _NO
    except yaml.YAMLError:
        return _NO


def _element(value: Any, element: type | None) -> Any:
    if isinstance(value, (list, tuple)):
        items = [_element(item, element) for item in value]
        return _NO if any(item is _NO for item in items) else items
    return value if element is None else _convert(value, element, None)


def _check_value(value: Any, key: Key) -> None:
    if key.options and value not in key.options:
        raise ConfigError(f"expected {expected(key)}, got {shown(value)}")
    if key.is_flat and _is_sequence(value) and any(map(_is_sequence, value)):
        raise ConfigError(f"expected {expected(key)}, got lists in a list: {shown(value)}")
    for number in _numbers(value):
        if isinstance(number, int) and abs(number) > LARGEST:
            raise ConfigError(f"must be at most {LARGEST}, got {shown(number)}")
        if not math.isfinite(number):
            raise ConfigError(f"must be finite, got {number}")
        if key.low is not None and number < key.low:
            raise ConfigError(f"must be at least {key.low:g}, got {number:g}")
        if key.high is not None and number > key.high:
            raise ConfigError(f"must be at most {key.high:g}, got {number:g}")


def _numbers(value: Any) -> list[float]:
    if isinstance(value, (list, tuple)):
        return [number for item in value for number in _numbers(item)]
    return [value] if type(value) in (int, float) else []
