"""The config tree: defaults, YAML files and command-line overrides. Reads files, writes none."""

from slowfast.config.check import num_pathways
from slowfast.config.cli import KeyOption, add_cfg_arguments, load_cfg_from_args, parse_args
from slowfast.config.keys import ConfigError
from slowfast.config.load import (
    cfg_from_yaml,
    change_cfg,
    diff_cfg,
    load_cfg,
    read_foreign_cfg,
)
from slowfast.config.tree import all_keys, describe, get_cfg

__all__ = [
    "ConfigError",
    "KeyOption",
    "add_cfg_arguments",
    "all_keys",
    "cfg_from_yaml",
    "change_cfg",
    "describe",
    "diff_cfg",
    "get_cfg",
    "load_cfg",
    "load_cfg_from_args",
    "num_pathways",
    "parse_args",
    "read_foreign_cfg",
]
