"""The declared tree as a flat table, as a config node, and as help text."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from yacs.config import CfgNode

from slowfast.config.keys import LONGEST_SHOWN, ConfigError, Key, Tree, expected
from slowfast.config.sections import TREE


@lru_cache(maxsize=1)
def all_keys() -> dict[str, Key]:
    """``{"DATA.NUM_FRAMES": Key(...), ...}``, in the order of declaration."""
    return dict(_flatten(TREE, ""))


@lru_cache(maxsize=1)
def all_nodes() -> frozenset[str]:
    """``{"DATA", "TENSORBOARD.CONFUSION_MATRIX", ...}``."""
    return frozenset(
        ".".join(parts[:depth])
        for parts in (name.split(".") for name in all_keys())
        for depth in range(1, len(parts))
    )


def get_cfg() -> CfgNode:
    """A fresh, unfrozen copy of the defaults."""
    return _build(TREE)


def get_value(cfg: CfgNode, name: str) -> Any:
    """The value of ``"DATA.NUM_FRAMES"``."""
    node: Any = cfg
    for part in name.split("."):
        node = node[part]
    return node


def set_value(cfg: CfgNode, name: str, value: Any) -> None:
    """Set ``"DATA.NUM_FRAMES"`` of an unfrozen config."""
    *parents, leaf = name.split(".")
    node = get_value(cfg, ".".join(parents)) if parents else cfg
    node[leaf] = value


def describe(name: str) -> str:
    """Help on a key, or on all keys of a node.

    Example:
        >>> print(describe("SLOWFAST.BETA_INV"))
        SLOWFAST.BETA_INV = 8  (an integer, at least 1)
            1/beta: the Fast pathway has 1/BETA_INV of the Slow pathway's channels.
    """
    names = [key for key in all_keys() if key == name or key.startswith(f"{name}.")]
    if not names:
        raise ConfigError(f"unknown config key {name}.{closest(name)}")
    return "\n".join(_describe(key) for key in names)


def closest(name: str) -> str:
    """`` Did you mean A?`` for a name that is not a key, or nothing."""
    if len(name) > LONGEST_SHOWN:
        return ""  # comparing takes the square of its length
    leaf = name.rpartition(".")[2]
    same_leaf = [key for key in all_keys() if key.rpartition(".")[2] == leaf.upper()]
    names = [*all_keys(), *all_nodes()]
    near = difflib.get_close_matches(name.upper(), names, n=1, cutoff=0.8)
    if not near and same_leaf:  # the right leaf under another node: take the likeliest node
        near = difflib.get_close_matches(name, same_leaf, n=1, cutoff=0.0)
    near = near or difflib.get_close_matches(name.upper(), names, n=1, cutoff=0.5)
    return f" Did you mean {near[0]}?" if near else ""


def _flatten(tree: Tree, prefix: str) -> Iterator[tuple[str, Key]]:
    for name, entry in tree.items():
        if isinstance(entry, Key):
            yield prefix + name, entry
        else:
            yield from _flatten(entry, f"{prefix}{name}.")


def _build(tree: Tree) -> CfgNode:
    node = CfgNode()
    for name, entry in tree.items():
        node[name] = copy.deepcopy(entry.default) if isinstance(entry, Key) else _build(entry)
    return node


def _describe(name: str) -> str:
    key = all_keys()[name]
    limits = expected(key)
    if key.low is not None:
        limits += f", at least {key.low:g}"
    if key.high is not None:
        limits += f", at most {key.high:g}"
    return f"{name} = {key.default!r}  ({limits})\n    {key.doc}"
