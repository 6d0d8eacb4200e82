"""The command-line arguments that every tool shares."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from yacs.config import CfgNode

from slowfast.config.load import load_cfg
from slowfast.config.tree import all_keys

INIT_METHOD = "tcp://localhost:9999"
_KEY_OPTS = "key_opts"
_NUMBER = re.compile(r"-(\d|\.\d|inf)", re.IGNORECASE)
_KEY = re.compile(r"[A-Z][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*")


def add_cfg_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--cfg``, ``--opts`` and the arguments of runs on several machines.

    Parse with :func:`parse_args`, not with ``parser.parse_args``: it also takes overrides as bare
    ``KEY VALUE`` pairs, anywhere.
    """
    group = parser.add_argument_group("config")
    group.add_argument(
        "--cfg",
        nargs="+",
        default=[],
        metavar="YAML",
        help="config files; later ones win. KEY VALUE pairs may follow",
    )
    group.add_argument(
        "--opts",
        nargs="*",
        default=[],
        metavar="KEY VALUE",
        help="override config keys, e.g. SOLVER.BASE_LR 0.01; the word --opts may be left out",
    )
    group.add_argument("--num_shards", type=int, help="machines of the run (NUM_SHARDS)")
    group.add_argument("--shard_id", type=int, help="number of this machine, from 0 (SHARD_ID)")
    group.add_argument(
        "--init_method",
        default=INIT_METHOD,
        help="where the processes of a run meet (default: %(default)s)",
    )


class KeyOption(argparse.Action):
    """An option of a tool that sets config keys, over all other overrides.

    ``add("--alpha", action=KeyOption, key="DISTILLATION.ALPHA")``: the value is checked and
    documented where the key is. Needs :func:`parse_args`.

    Args:
        option_strings, dest, nargs, help: see :mod:`argparse`.
        key: that gets the value; with several values (``nargs``) the list of them.
        pairs: instead of ``key``: value -> ``{key: its value}``.
        others: of argparse.
    """

    def __init__(
        self,
        option_strings: Sequence[str],
        dest: str,
        *,
        key: str = "",
        pairs: Callable[[Any], Mapping[str, object]] | None = None,
        help: str | None = None,  # argparse's name
        **others: Any,
    ) -> None:
        self.pairs = pairs or (lambda value: {key: value})
        declared = all_keys()[key] if key else None
        if declared and declared.options:
            others.setdefault("metavar", "{" + ",".join(map(str, declared.options)) + "}")
        text = help or (declared.doc.rstrip(".").replace("%", "%%") if declared else None)
        super().__init__(option_strings, dest, help=text, **others)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, values)
        words = [str(word) for pair in self.pairs(values).items() for word in pair]
        setattr(namespace, _KEY_OPTS, [*getattr(namespace, _KEY_OPTS, []), *words])


def parse_args(
    argv: Sequence[str] | None = None, parser: argparse.ArgumentParser | None = None
) -> argparse.Namespace:
    """Parse a command line; ``.cfg`` lists the YAML files, ``.opts`` the words of the overrides.

    Config files, options and ``KEY VALUE`` pairs may come in any order:
    ``--cfg a.yaml NUM_GPUS 1 --eval TEST.CHECKPOINT_FILE_PATH p.pyth``.

    Args:
        argv: words of the command line without the program; default ``sys.argv[1:]``.
        parser: a tool's parser, to which :func:`add_cfg_arguments` was applied; default: only
            those arguments.
    """
    if parser is None:
        parser = argparse.ArgumentParser()
        add_cfg_arguments(parser)
    words = _Words(parser)
    words.split(list(sys.argv[1:] if argv is None else argv))
    args = parser.parse_args(words.rest)
    args.cfg = words.files
    args.opts = [*words.opts, *getattr(args, _KEY_OPTS, [])]
    return args


def load_cfg_from_args(args: argparse.Namespace) -> CfgNode:
    """The frozen config of a parsed command line; ``--num_shards`` and ``--shard_id`` win."""
    opts = list(args.opts)
    if args.num_shards is not None:
        opts += ["NUM_SHARDS", str(args.num_shards)]
    if args.shard_id is not None:
        opts += ["SHARD_ID", str(args.shard_id)]
    return load_cfg(args.cfg, opts)


@dataclass
class _Words:
    """Sorts the words of a command line into config files, overrides and the tool's options.

    argparse cannot: an option with ``nargs="+"`` swallows the pairs that follow it.
    """

    parser: argparse.ArgumentParser
    files: list[str] = field(default_factory=list)
    opts: list[str] = field(default_factory=list)
    rest: list[str] = field(default_factory=list)

    def split(self, words: list[str]) -> None:
        has_positionals = any(not a.option_strings for a in self.parser._actions)
        in_cfg = False
        while words:
            word = words.pop(0)
            if word.startswith("--cfg="):
                words[:0] = ["--cfg", word.removeprefix("--cfg=")]
            elif word == "--cfg":
                self._first_file(words)
                in_cfg = True
            elif word == "--opts":
                in_cfg = False
            elif _is_option(word):
                self._option(word, words)
                in_cfg = False
            elif in_cfg and word.endswith((".yaml", ".yml")):
                self.files.append(word)
            elif has_positionals and not _KEY.fullmatch(word.partition("=")[0]):
                self.rest.append(word)
            else:
                self._pair(word, words)

    def _first_file(self, words: list[str]) -> None:
        if not words or _is_option(words[0]):
            self.parser.error("--cfg needs a YAML file")
        if _KEY.fullmatch(words[0]) and not words[0].endswith((".yaml", ".yml")):
            self.parser.error(f"--cfg needs a YAML file before the overrides, got {words[0]}")
        self.files.append(words.pop(0))

    def _option(self, word: str, words: list[str]) -> None:
        """Move an option of the tool, and the values that belong to it, to ``rest``."""
        self.rest.append(word)
        action = self._find(word)
        if action is None or "=" in word:
            return
        if action.nargs in (None, "?") or isinstance(action.nargs, int):
            count = action.nargs if isinstance(action.nargs, int) else 1
            if action.nargs == "?" and (not words or _KEY.fullmatch(words[0])):
                count = 0
            self.rest += words[:count]
            del words[:count]
            return
        while words and not _is_option(words[0]) and not _KEY.fullmatch(words[0]):
            self.rest.append(words.pop(0))

    def _find(self, word: str) -> argparse.Action | None:
        """The action of an option, which may be abbreviated."""
        name = word.partition("=")[0]
        actions = self.parser._option_string_actions
        if name in actions:
            return actions[name]
        longer = {id(a): a for n, a in actions.items() if n.startswith(name)}
        return next(iter(longer.values())) if len(longer) == 1 else None

    def _pair(self, word: str, words: list[str]) -> None:
        name, equals, value = word.partition("=")
        if equals:
            self.opts += [name, value]
        elif not words or _is_option(words[0]):
            self.parser.error(f"override {word} has no value: overrides come as KEY VALUE pairs")
        else:
            self.opts += [word, words.pop(0)]


def _is_option(word: str) -> bool:
    return len(word) > 1 and word.startswith("-") and not _NUMBER.match(word)
