"""What is not where a dataset says it is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from slowfast.datasets.base import ClipRecord, DataError, Family
from slowfast.utils.errors import UserError

_THREADS = 16


class MissingVideosError(UserError, FileNotFoundError):
    """Some videos of a split are not there.

    Attributes:
        videos: name of a missing video -> the line that asks for it.
        found: records of the videos that are there.
    """

    def __init__(self, text: str, videos: Mapping[str, str], found: Sequence[ClipRecord]) -> None:
        super().__init__(text)
        self.videos = dict(videos)
        self.found = list(found)


def records_there(family: Family, split: str) -> tuple[list[ClipRecord], dict[str, str]]:
    """The records whose videos are there, and ``name -> line`` of the videos that are not."""
    try:
        return family.records(split), {}
    except MissingVideosError as error:
        return error.found, error.videos


def records_of_all(families: Sequence[Family], split: str) -> list[ClipRecord]:
    """The records of several families.

    Raises:
        MissingVideosError: of all of them together.
    """
    records: list[ClipRecord] = []
    errors: list[MissingVideosError] = []
    for family in families:
        try:
            records += family.records(split)
        except MissingVideosError as error:
            records += error.found
            errors.append(error)
    if errors:
        videos = {video: source for error in errors for video, source in error.videos.items()}
        raise MissingVideosError("; ".join(map(str, errors)), videos, records)
    return records


def check_files(records: Sequence[ClipRecord]) -> None:
    """Makes sure that all video files are there before any of them is needed.

    Raises:
        MissingVideosError: some are not.
    """
    with ThreadPoolExecutor(_THREADS) as pool:  # network disks answer slowly
        there = list(pool.map(os.path.exists, [record.path for record in records]))
    missing: dict[str, str] = {}
    for record, exists in zip(records, there, strict=True):
        if not exists:
            missing.setdefault(record.path, record.source)
    if missing:
        names = list(missing)
        raise MissingVideosError(
            f"{missing[names[0]]}: no file {names[0]}{and_others(names)}",
            missing,
            [record for record, exists in zip(records, there, strict=True) if exists],
        )


def and_others(names: Sequence[str], *, shown: int = 5) -> str:
    """The names after the first, for an error about the first.

    Example:
        >>> and_others(["a", "b", "c"]), and_others(["a"])
        (' and 2 more: b, c', '')
    """
    rest = list(names[1:])
    dots = ", ..." if len(rest) > shown else ""
    return f" and {len(rest)} more: {', '.join(rest[:shown])}{dots}" if rest else ""


def check_folder(path: Path, key: str) -> None:
    """Makes sure that a configured folder is there.

    Args:
        path: the folder.
        key: that names it.

    Raises:
        DataError: no such folder.
    """
    if not path.is_dir():
        raise DataError(f"{key} {str(path)!r} is not a folder")
