"""Finding files and folders in datasets that people have unpacked in their own way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from slowfast.datasets.video_folder import VIDEO_SUFFIXES


class Folder:
    """Names in folders without regard to case; every folder is listed once.

    Example:
        >>> Folder().find(Path("/"), ["TMP", "tmp"])
        PosixPath('/tmp')
    """

    def __init__(self) -> None:
        self._entries: dict[Path, dict[str, Path]] = {}

    def entries(self, folder: Path) -> dict[str, Path]:
        """Lower-case name -> path of what ``folder`` holds; empty when it is no folder."""
        if folder not in self._entries:
            entries = sorted(folder.iterdir()) if folder.is_dir() else []
            self._entries[folder] = {entry.name.lower(): entry for entry in entries}
        return self._entries[folder]

    def find(self, folder: Path, names: Iterable[str]) -> Path | None:
        """The entry of ``folder`` with the first of ``names`` that is there, in any case."""
        entries = self.entries(folder)
        return next((entries[name.lower()] for name in names if name.lower() in entries), None)

    def folders(self, folder: Path) -> list[Path]:
        """``folder`` and its direct subfolders, sorted."""
        return [folder, *(entry for entry in self.entries(folder).values() if entry.is_dir())]

    def video(self, folder: Path, stem: str) -> Path | None:
        """The video file ``stem`` + a video suffix in ``folder``, in any case."""
        return self.find(folder, (stem + suffix for suffix in VIDEO_SUFFIXES))


def tried(places: Iterable[Path | str], *, shown: int = 8) -> str:
    """The places looked in, for an error message."""
    unique = list(dict.fromkeys(str(place) for place in places))
    more = f" and {len(unique) - shown} more" if len(unique) > shown else ""
    return ", ".join(unique[:shown]) + more


def existing(places: Iterable[Path]) -> Iterator[Path]:
    """Those of ``places`` that are folders, each once."""
    yield from (place for place in dict.fromkeys(places) if place.is_dir())
