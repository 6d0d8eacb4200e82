"""Config files: safe YAML that remembers its line numbers, and their ``_BASE_`` chains."""

from __future__ import annotations

import difflib
import logging
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slowfast.config.keys import ConfigError, called, shown
from slowfast.config.safe_yaml import BoundedLoader, parse_yaml

logger = logging.getLogger(__name__)

BASE = "_BASE_"
LARGEST = 1 << 20  # bytes of a file
MOST_FILES = 100  # of a chain
IsNode = Callable[[str], bool]


@dataclass(frozen=True)
class Setting:
    """One value of one key. ``where``: ``"configs/a.yaml:12"`` or ``"the command line"``."""

    name: str
    value: Any
    where: str


class Lines(dict[str, Any]):
    """A YAML mapping that knows the line of each of its keys, counted from 1."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, int] = {}


class _Loader(BoundedLoader):
    """Safe YAML whose mappings are :class:`Lines`; tuples (old dumps have them) are lists."""

    source = "the text"

    def construct_lines(self, node: yaml.MappingNode) -> Iterator[Lines]:
        mapping = Lines()
        yield mapping  # filled later, so that anchors may refer to it
        self.flatten_mapping(node)
        for key_node, value_node in node.value:
            name = _name(self.construct_object(key_node, deep=True))
            value = self.construct_object(value_node, deep=True)
            line = key_node.start_mark.line + 1
            if name in mapping and mapping[name] != value:
                logger.warning(
                    "%s:%d: %s is set twice (first in line %d); the last one counts",
                    self.source, line, name, mapping.lines[name],
                )  # fmt: skip
            mapping[name] = value
            mapping.lines[name] = line

    def construct_tuple(self, node: yaml.SequenceNode) -> list[Any]:
        return list(self.construct_sequence(node, deep=True))


def _name(value: Any) -> str:
    return value if isinstance(value, str) else shown(value)


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_lines)
_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _Loader.construct_tuple)

_CONFLICT = re.compile(r"^(<{7}|={7}|>{7})( |$)", re.MULTILINE)


def read_file(path: Path | str, is_node: IsNode) -> list[Setting]:
    """The settings of a YAML and, before them, those of its bases: later ones win.

    Args:
        path: the file; its ``_BASE_`` is a path, or a list of paths, relative to its folder.
        is_node: tells whether a dotted name is a node, so that its mapping is opened.
    """
    return _read_chain(Path(path), is_node, (), [])


def read_text(text: str, source: str, is_node: IsNode) -> list[Setting]:
    """The settings of a YAML text; ``_BASE_`` is not followed."""
    return list(_settings(_parse(text, source), "", source, is_node))


def _read_chain(
    path: Path, is_node: IsNode, chain: tuple[Path, ...], seen: list[Path]
) -> list[Setting]:
    path, resolved = _located(path, chain)
    seen.append(resolved)
    if len(seen) > MOST_FILES:
        raise ConfigError(f"{seen[0]}: more than {MOST_FILES} files by {BASE}; name fewer")
    if resolved in chain:
        names = " -> ".join(str(step) for step in (*chain, resolved))
        raise ConfigError(f"{BASE} goes in a circle: {names}")
    mapping = _parse(_read(path, chain), str(path))
    bases = mapping.pop(BASE, None) or []
    if isinstance(bases, str):
        bases = [bases]
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise ConfigError(f"{path}: {BASE} must be a path or a list of paths, got {shown(bases)}")
    settings = []
    for base in bases:
        settings += _read_chain(_below(path.parent, base), is_node, (*chain, resolved), seen)
    return settings + list(_settings(mapping, "", str(path), is_node))


def _below(folder: Path, base: str) -> Path:
    """A base of a file in ``folder``; one that starts in somebody's home is not below it."""
    return Path(base) if base.startswith("~") else folder / base


def _located(path: Path, chain: tuple[Path, ...]) -> tuple[Path, Path]:
    try:
        path = path.expanduser()
        return path, path.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a zero byte, an unknown user, a loop
        raise ConfigError(
            f"no config file {shown(str(path))}{_wanted(chain)}: {error}. Correct the path"
        ) from None


def _wanted(chain: tuple[Path, ...]) -> str:
    return f" ({BASE} of {chain[-1]})" if chain else ""


def _read(path: Path, chain: tuple[Path, ...]) -> str:
    wanted = _wanted(chain)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError
        if not stat.S_ISREG(status.st_mode) or status.st_size > LARGEST:
            raise ConfigError(
                f"{path}{wanted} is no config file: a text of at most {LARGEST} bytes is expected"
            )
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"no config file {path}{wanted}.{_similar(path)}") from None
    except IsADirectoryError:
        raise ConfigError(f"config file {path}{wanted} is a folder.{_yamls(path)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read config file {path}{wanted}: {error}") from None


def _similar(path: Path) -> str:
    """Files that may have been meant: the same folder, whatever the case of the path."""
    folder = path.parent
    if not folder.is_dir():
        parent = next((p for p in path.parents if p.is_dir()), None)
        return f" There is no folder {folder}." + (_yamls(parent) if parent else "")
    names = {p.name.lower(): p.name for p in folder.iterdir() if p.suffix in (".yaml", ".yml")}
    near = difflib.get_close_matches(path.name.lower(), names, n=3, cutoff=0.5)
    if near:
        return f" In that folder: {', '.join(names[name] for name in near)}."
    return _yamls(folder)


def _yamls(folder: Path) -> str:
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() or p.suffix in (".yaml", ".yml"))
    more = " ..." if len(names) > 8 else ""
    return f" In {folder}: {', '.join(names[:8])}{more}." if names else ""


def _parse(text: str, source: str) -> Lines:
    conflict = _CONFLICT.search(text)
    if conflict:
        line = text.count("\n", 0, conflict.start()) + 1
        raise ConfigError(
            f"{source}:{line}: git conflict marker {conflict.group(1)}: the merge of this file was "
            "not finished; keep one side and delete the marker lines"
        )
    try:
        mapping = parse_yaml(text, _Loader, source)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{_place(source, error)}: not valid YAML: {_reason(error)}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{source}: not valid YAML: {error}") from None
    if mapping is None:
        return Lines()
    if not isinstance(mapping, Lines):
        raise ConfigError(
            f"{source}: expected config nodes such as MODEL:, got {type(mapping).__name__} "
            f"{shown(mapping)}"
        )
    return mapping


def _place(source: str, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    return f"{source}:{mark.line + 1}" if mark else source


def _reason(error: yaml.MarkedYAMLError) -> str:
    reason = " ".join(part for part in (error.context, error.problem) if part)
    if "\\t" in reason:
        reason += " (indent with spaces, not tabs)"
    return reason


def _settings(
    mapping: Mapping[str, Any], prefix: str, source: str, is_node: IsNode
) -> Iterator[Setting]:
    lines = mapping.lines if isinstance(mapping, Lines) else {}
    for part, value in mapping.items():
        name = prefix + part
        where = f"{source}:{lines[part]}" if part in lines else source
        if is_node(name) or isinstance(value, Mapping):
            if value is None:
                continue  # "TRAIN:" with everything below it commented out
            if not isinstance(value, Mapping):
                raise ConfigError(
                    f"{called(name)} in {where} is a node with keys below it, got {shown(value)}"
                )
            yield from _settings(value, f"{name}.", source, is_node)
        else:
            yield Setting(name, value, where)
