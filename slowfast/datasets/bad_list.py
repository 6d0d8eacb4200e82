"""A text file of videos to leave out, one per line: ``DATA.BAD_VIDEOS_FILE``."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from slowfast.datasets.annotations import AnnotationError, read_lines
from slowfast.datasets.base import ClipRecord, Family
from slowfast.datasets.missing import MissingVideosError
from slowfast.utils.files import write_text

log = logging.getLogger(__name__)


def read_bad_list(path: str | Path) -> set[str]:
    """Paths and record names; lines that start with ``#`` are comments.

    Raises:
        AnnotationError: there is no such file.
    """
    if not Path(path).is_file():
        raise AnnotationError(
            f"DATA.BAD_VIDEOS_FILE {path}: no such file; tools/check_data.py writes one"
        )
    return {line for _, line in read_lines(Path(path)) if not line.startswith("#")}


def write_bad_list(path: str | Path, bad: Iterable[tuple[str, str]]) -> None:
    """Write ``(path or record name, reason)`` pairs, each video once, below its reason."""
    reasons = {name: " ".join(reason.split()) for name, reason in reversed([*bad])}
    lines = [f"# {reason}\n{name}\n" for name, reason in sorted(reasons.items())]
    write_text(Path(path), "".join(lines))


def records_to_train_on(family: Family, path: str | Path) -> list[ClipRecord]:
    """The training records without those the list names, of which the videos may be missing.

    Args:
        family: the dataset.
        path: the list, see :func:`leave_out`.

    Raises:
        MissingVideosError: others are missing, too.
    """
    try:
        records = family.records("train")
    except MissingVideosError as error:
        if not path or error.videos.keys() - read_bad_list(path):
            raise
        log.warning("%s: %d videos that are not there left out", path, len(error.videos))
        records = error.found
    return leave_out(records, path)


def leave_out(records: Sequence[ClipRecord], path: str | Path) -> list[ClipRecord]:
    """``records`` without those whose path or name the list names; says how many it left out.

    Args:
        records: of one split.
        path: the list; empty: nothing is left out.

    Raises:
        AnnotationError: no such list, or nothing remains.
    """
    if not path:
        return list(records)
    bad = read_bad_list(path)
    absolute = {os.path.abspath(name) for name in bad}
    kept = [
        record
        for record in records
        if record.name not in bad and os.path.abspath(record.path) not in absolute
    ]
    if records and not kept:
        raise AnnotationError(f"{path} names all {len(records)} videos of the split")
    if len(kept) < len(records):
        log.warning("%s: %d of %d videos left out", path, len(records) - len(kept), len(records))
    return kept
