"""Flags that the commands of a working directory share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from slowfast.utils.parser import tool_parser


def make_parser(description: str) -> argparse.ArgumentParser:
    """A parser with what every command takes."""
    parser = tool_parser(description)
    parser.add_argument(
        "--opts", nargs=argparse.REMAINDER, default=[], metavar="KEY VALUE",
        help="further config keys, last; python -m slowfast.config explains them",
    )  # fmt: skip
    return parser


def add_data_arguments(parser: argparse.ArgumentParser, split: str) -> None:
    """``--<split>-ann-files`` and ``--<split>-data-roots``."""
    parser.add_argument(
        f"--{split}-ann-files", type=split_commas, required=True, metavar="FILE[,FILE]",
        help="annotation files, relative to the data roots or absolute",
    )  # fmt: skip
    parser.add_argument(
        f"--{split}-data-roots", type=split_commas, required=True, metavar="DIR[,DIR]",
        help="folders with rawframes/ or custom_dataset/: one, or one per file",
    )  # fmt: skip


def split_commas(text: str) -> list[str]:
    """``"a, b"`` -> ``["a", "b"]``."""
    return [part.strip() for part in text.split(",") if part.strip()]


def data_opts(split: str, files: Sequence[str], roots: Sequence[str]) -> list[str]:
    """The config keys that make ``split`` read these files."""
    name = split.upper()
    absolute = [str(Path(root).resolve()) for root in roots]
    return [f"RAWFRAMES.{name}_LISTS", str(list(files)), f"RAWFRAMES.{name}_ROOTS", str(absolute)]


def count_classes(*sources: tuple[Sequence[str], Sequence[str]]) -> int:
    """The largest label in annotation files, plus one.

    Args:
        sources: ``(files, roots)`` of every split.
    """
    from slowfast.datasets.rawframes import RawFrames, pair_up

    parts = [pair for files, roots in sources for pair in pair_up(roots, files)]
    lines = RawFrames(parts[0][0], parts={"train": parts}).lines("train")
    return max(line.label for line in lines) + 1
