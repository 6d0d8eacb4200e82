"""A whole dataset folder re-encoded: videos and images in parallel, lists with the new names."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from slowfast.datasets.base import DataError
from slowfast.datasets.decode import VideoError
from slowfast.datasets.decode.frames import name_pattern
from slowfast.datasets.missing import check_folder
from slowfast.datasets.prepare.encode import Recipe, encode_video, is_copy, stamp
from slowfast.datasets.prepare.images import numbered_images, scale_images
from slowfast.datasets.video_folder import VIDEO_SUFFIXES
from slowfast.utils.files import copy_file, write_bytes
from slowfast.utils.parallel import WorkerDied, run_parallel

log = logging.getLogger(__name__)

KEPT_SUFFIXES = (".mp4", ".m4v", ".mov")  # an MP4 may go by these names: lists stay as they are
TEXT_SUFFIXES = (".csv", ".txt", ".tsv", ".json")
OTHER_LISTS = (".pkl", ".pickle", ".yaml", ".yml", ".npy", ".npz", ".md")
_NAME_END = re.compile(
    rf"(?P<stem>[^/\\,;|\t\"'\n]*)(?P<suffix>{'|'.join(map(re.escape, VIDEO_SUFFIXES))})"
    r"(?=$|[\s,;|\"'])",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Plan:
    """What is to be done with a folder; paths relative to it.

    Attributes:
        videos: ``(source, target)``.
        images: folders with numbered images, which keep their names.
        lists: files to copy; video names that change are changed in the text ones.
        ignored: files left out.
    """

    videos: list[tuple[str, str]]
    images: list[str]
    lists: list[str]
    ignored: list[str]


@dataclass
class Prepared:
    """What came of it.

    Attributes:
        done: ``(source, target)`` of the copies there are now, absolute; videos, and folders of
            images.
        reused: how many of them were there before.
        dropped: source -> reason.
    """

    done: list[tuple[str, str]] = field(default_factory=list)
    reused: int = 0
    dropped: dict[str, str] = field(default_factory=dict)

    def sizes(self) -> tuple[int, int]:
        """Bytes of the sources and of their copies."""
        sources, copies = zip(*self.done, strict=True) if self.done else ((), ())
        return sum(map(_size, sources)), sum(map(_size, copies))


def _size(path: str) -> int:
    """Bytes of a video, or of the images in a folder."""
    if not os.path.isdir(path):
        return os.path.getsize(path)
    return sum(os.path.getsize(os.path.join(path, name)) for name in numbered_images(path))


def plan_folder(data_dir: Path, output_dir: Path) -> Plan:
    """What ``data_dir`` holds and what it will be called in ``output_dir``.

    Raises:
        DataError: neither videos nor images, or the folders contain each other.
    """
    check_folder(data_dir, "--data_dir")
    inside, outside = data_dir.resolve(), output_dir.resolve()
    if inside == outside or inside in outside.parents or outside in inside.parents:
        raise DataError(f"--output_dir {output_dir} must be neither in nor above {data_dir}")
    files = sorted(
        os.path.relpath(os.path.join(place, name), data_dir)
        for place, _, names in os.walk(data_dir, followlinks=True)
        for name in names
        if not name.startswith(".")
    )
    videos = [name for name in files if name.lower().endswith(VIDEO_SUFFIXES)]
    images = {name for name in files if name_pattern(os.path.basename(name))}
    if not videos and not images:
        raise DataError(f"{data_dir}: no video files and no numbered images in this folder")
    rest = [n for n in files if n not in images and not n.lower().endswith(VIDEO_SUFFIXES)]
    lists = [name for name in rest if name.lower().endswith(TEXT_SUFFIXES + OTHER_LISTS)]
    folders = sorted({os.path.dirname(name) for name in images})
    return Plan(copy_names(videos), folders, lists, sorted(set(rest) - set(lists)))


def copy_names(videos: Sequence[str]) -> list[tuple[str, str]]:
    """``(source, target)``; a name without folder becomes the same one in all folders.

    Example:
        >>> copy_names(["a.avi", "b.avi", "b.mp4"])
        [('a.avi', 'a.mp4'), ('b.avi', 'b_avi.mp4'), ('b.mp4', 'b.mp4')]
    """
    taken = Counter(_as_mp4(name) for name in videos)
    shared = {os.path.basename(name) for name in videos if taken[_as_mp4(name)] > 1}
    pairs = []
    for name in videos:
        target = _as_mp4(name)
        if target != name and os.path.basename(name) in shared:
            target = _with_suffix(name)
        pairs.append((name, target))
    return pairs


def _as_mp4(name: str) -> str:
    stem, suffix = os.path.splitext(name)
    return name if suffix.lower() in KEPT_SUFFIXES else f"{stem}.mp4"


def _with_suffix(name: str) -> str:
    stem, suffix = os.path.splitext(name)
    return f"{stem}_{suffix[1:]}.mp4"


def prepare_folder(
    data_dir: Path,
    output_dir: Path,
    recipe: Recipe,
    *,
    workers: int,
    progress: str = "auto",
) -> Prepared:
    """Make the copies that are not there yet, then the lists.

    Args:
        data_dir: as any dataset here expects it.
        output_dir: gets the same layout.
        recipe: see :class:`Recipe`. Copies made by another one are made anew.
        workers: processes.
        progress: see :func:`slowfast.utils.progress.open_progress`.
    """
    plan = plan_folder(data_dir, output_dir)
    names = [*plan.videos, *((folder, folder) for folder in plan.images)]
    pairs = [(str(data_dir / old), str(output_dir / new)) for old, new in names]
    result = Prepared()
    job = partial(prepare, recipe=recipe)
    for number, answer in run_parallel(
        job, pairs, workers=workers, description="re-encoding", progress=progress
    ):
        source = pairs[number][0]
        if isinstance(answer, WorkerDied):
            result.dropped[source] = "the process that re-encoded it died"
        elif isinstance(answer, str):
            result.dropped[source] = answer
        else:
            result.done.append(pairs[number])
            result.reused += answer
    result.done.sort()
    copy_lists(plan, data_dir, output_dir)
    if plan.ignored:
        shown = ", ".join(plan.ignored[:5])
        log.info("%d other files were not copied: %s ...", len(plan.ignored), shown)
    return result


def prepare(pair: tuple[str, str], recipe: Recipe) -> bool | str:
    """Whether the copy was there already; or why there is none, or not all of it."""
    source, target = pair
    try:
        if os.path.isdir(source):
            return scale_images(source, target, recipe.short_side)
        if is_copy(target, stamp(source, recipe)):
            return True
        encode_video(source, target, recipe)
    except (VideoError, OSError) as error:
        return error.cause if isinstance(error, VideoError) else str(error)
    return False


def copy_lists(plan: Plan, data_dir: Path, output_dir: Path) -> None:
    """Copy annotations; in texts, names of videos and absolute paths into ``data_dir`` change."""
    renamed = {
        os.path.basename(old): os.path.basename(new) for old, new in plan.videos if old != new
    }
    moved = (f"{data_dir.resolve()}{os.sep}", f"{output_dir.resolve()}{os.sep}")
    for name in plan.lists:
        target = output_dir / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not name.lower().endswith(TEXT_SUFFIXES):
            copy_file(data_dir / name, target)
            continue
        text = (data_dir / name).read_bytes().decode("utf-8", "surrogateescape")
        text = rename_videos(text.replace(*moved), renamed)
        write_bytes(target, text.encode("utf-8", "surrogateescape"))


def rename_videos(text: str, renamed: dict[str, str]) -> str:
    """``text`` with the names of videos that changed, and nothing else, replaced.

    Example:
        >>> rename_videos("v/a.avi 3\\nv/b.mkv 4\\n", {"a.avi": "a.mp4"})
        'v/a.mp4 3\\nv/b.mkv 4\\n'
    """

    def replace(match: re.Match[str]) -> str:
        words = match["stem"].split(" ")
        for start in range(len(words)):  # "7 my clip.avi" is "my clip.avi" after a column
            name = " ".join(words[start:]) + match["suffix"]
            if name in renamed:
                return " ".join([*words[:start], renamed[name]])
        return match[0]

    return _NAME_END.sub(replace, text)


def sample_pairs(pairs: Sequence[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    """At most ``count`` of ``pairs``, evenly spread."""
    step = max(len(pairs) / max(count, 1), 1)
    return [pairs[int(place * step)] for place in range(min(count, len(pairs)))]
