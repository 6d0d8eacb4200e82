"""Shards from the records of any dataset whose videos are files."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from slowfast.datasets.base import ClipRecord, DataError, Family
from slowfast.datasets.decode import VideoError
from slowfast.datasets.decode.frames import is_frame_path
from slowfast.datasets.prepare.encode import Recipe, encode_video
from slowfast.datasets.shards.index import (
    INDEX,
    Clip,
    Shard,
    ShardIndex,
    parse_index,
    parse_shard,
    read_index,
    scan_shard,
    shard_to_text,
)
from slowfast.utils.files import write_atomically, write_text
from slowfast.utils.plain_json import parse_json
from slowfast.utils.progress import Progress, open_progress

SEGMENT = ("start_s", "end_s", "start_frame", "end_frame")
_AT_ONCE = 4  # videos per worker that are re-encoded ahead of the tar file
_SCRATCH = ".encoding"

Video = tuple[str, list[Clip]]


@dataclass(frozen=True)
class Limits:
    """When a shard is full.

    Attributes:
        size: bytes; one sample may be larger.
        samples: of them.
    """

    size: int = 1 << 30
    samples: int = 10_000


@dataclass
class Written:
    """What came of it.

    Attributes:
        index: of all shards.
        reused: shards that were there before.
        dropped: video -> reason.
    """

    index: ShardIndex
    reused: int = 0
    dropped: dict[str, str] = field(default_factory=dict)


def videos_of(records: Sequence[ClipRecord]) -> list[Video]:
    """Every video file with the clips that use it, in the order of the first use.

    Raises:
        DataError: folders of images.
    """
    videos: dict[str, list[Clip]] = {}
    for number, record in enumerate(records):
        if is_frame_path(record.path):
            raise DataError(
                f"{record.path}: shards hold video files, this is a folder of images. Encode it "
                "as a video first"
            )
        labels = list(record.labels) if isinstance(record.labels, tuple) else record.labels
        clip: Clip = {"labels": labels, "name": record.name or os.path.basename(record.path)}
        clip |= {"index": number, "source": os.path.basename(record.source)}
        bounds = {name: getattr(record, name) for name in SEGMENT}
        clip |= {name: value for name, value in bounds.items() if value not in {None, 0.0}}
        videos.setdefault(record.path, []).append(clip)
    return list(videos.items())


def write_shards(
    family: Family,
    split: str,
    folder: Path,
    *,
    limits: Limits = Limits(),
    recipe: Recipe | None = None,
    workers: int = 1,
    progress: str = "auto",
) -> Written:
    """Write a split's shards and their index to ``folder``.

    An interrupted run goes on with the next shard. The bytes are the same for any number of
    workers.

    Args:
        family: the dataset.
        split: ``"train"``, ``"val"`` or ``"test"``.
        folder: made when missing.
        limits: when a shard is full.
        recipe: how to re-encode the videos; ``None``: they stay as they are.
        workers: threads that re-encode.
        progress: see :func:`slowfast.utils.progress.open_progress`.

    Raises:
        DataError: the folder has shards of something else; the dataset has no video files.
        VideoError: a video of val or test cannot be had.
    """
    videos = videos_of(family.records(split))
    if hasattr(family, "target"):
        raise DataError("feature rows have no place in shards: use the dataset as it is")
    job = _Job(folder, videos, limits, recipe, workers, strict=split != "train")
    if (folder / INDEX).is_file():
        index = read_index(str(folder))
        if index.made_from != job.made_from:
            raise _other(folder)
        return Written(index, reused=len(index.shards))
    done = job.finished()
    dropped = {path: why for part in done for path, why in part.dropped.items()}
    parts = list(done)
    left = len(videos) - job.begin(done)
    with open_progress(left, f"shards of {split}", progress) as shown:
        for part in job.write(shown):
            parts.append(part)
            dropped |= part.dropped
    shards = tuple(part.shard for part in parts if part.shard)
    if not shards:
        raise DataError(f"no video of split {split!r} can be had: {list(dropped.items())[:3]}")
    index = ShardIndex(shards, family.class_names, job.made_from)
    parse_index(json.loads(index.to_text()))  # what is written can be read
    write_text(folder / INDEX, index.to_text())
    job.clean_up()
    return Written(index, len(done), dropped)


def write_index(folder: Path, class_names: dict[str, list[str]] | None = None) -> ShardIndex:
    """Look into the tar files of a folder and write their index.

    Raises:
        DataError: none there, or one that cannot be used.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.tar"))
    if not names:
        raise DataError(f"{folder}: no .tar files in it")
    index = ShardIndex(tuple(scan_shard(str(folder), name) for name in names), class_names)
    write_text(folder / INDEX, index.to_text())
    return index


def _other(folder: Path) -> DataError:
    return DataError(
        f"{folder} has shards of other videos, or made in another way: name another --output_dir "
        "or delete it"
    )


@dataclass(frozen=True)
class _Part:
    """A finished shard: which videos it ends before, and those left out."""

    shard: Shard | None
    next: int
    dropped: dict[str, str]


class _Job:
    """Shards of some videos, one after the other; each leaves a note of what is in it."""

    def __init__(
        self,
        folder: Path,
        videos: Sequence[Video],
        limits: Limits,
        recipe: Recipe | None,
        workers: int,
        *,
        strict: bool,
    ) -> None:
        self.folder, self.videos, self.limits = folder, videos, limits
        self.recipe, self.workers, self.strict = recipe, workers, strict
        self.made_from = _fingerprint(videos, limits, recipe)
        self._start = self._number = 0

    def finished(self) -> list[_Part]:
        """The parts an interrupted run left.

        Raises:
            DataError: of another job.
        """
        parts: list[_Part] = []
        while (note := self._note(len(parts))).is_file():
            content = _read_note(note)
            if content is None:
                break
            if content["made_from"] != self.made_from:
                raise _other(self.folder)
            shard = parse_shard(content["shard"]) if content["shard"] else None
            if shard and not _is_whole(self.folder / shard.name, shard.size):
                break
            parts.append(_Part(shard, content["next"], content["dropped"]))
        return parts

    def begin(self, done: Sequence[_Part]) -> int:
        """Go on after some parts; how many videos they cover."""
        self._number, self._start = len(done), done[-1].next if done else 0
        return self._start

    def write(self, shown: Progress) -> Iterator[_Part]:
        """The remaining parts."""
        samples = self._samples(shown)
        ahead = next(samples, None)
        while ahead is not None:
            name = f"shard-{self._number:06d}.tar"
            dropped: dict[str, str] = {}
            filling = _Filling(self.limits, ahead, samples, dropped)
            write_atomically(self.folder / name, filling.write)
            ahead = filling.ahead
            shard = scan_shard(str(self.folder), name) if filling.count else None
            if shard is None:
                (self.folder / name).unlink()
            part = _Part(shard, ahead.number if ahead else len(self.videos), dropped)
            self._keep(part)
            yield part

    def _keep(self, part: _Part) -> None:
        shard = json.loads(shard_to_text(part.shard)) if part.shard else None
        content = {"made_from": self.made_from, "shard": shard, "next": part.next}
        write_text(self._note(self._number), json.dumps(content | {"dropped": part.dropped}))
        self._number += 1

    def clean_up(self) -> None:
        """Remove the notes: the index says it all."""
        for note in self.folder.glob(".part-*.json"):
            note.unlink()
        shutil.rmtree(self.folder / _SCRATCH, ignore_errors=True)

    def _note(self, number: int) -> Path:
        return self.folder / f".part-{number:06d}.json"

    def _samples(self, shown: Progress) -> Iterator[_Ready]:
        """Videos from the start on, in order, re-encoded where that is wanted."""
        numbers = range(self._start, len(self.videos))
        step = max(self.workers, 1) * _AT_ONCE
        with ThreadPoolExecutor(max(self.workers, 1)) as pool:  # FFmpeg lets other threads run
            for start in range(0, len(numbers), step):
                for ready in pool.map(self._ready, numbers[start : start + step]):
                    if self.strict and ready.problem:
                        raise VideoError(self.videos[ready.number][0], ready.problem)
                    yield ready
                    if self.recipe:
                        Path(ready.file).unlink(missing_ok=True)
                    shown.update()

    def _ready(self, number: int) -> _Ready:
        path, clips = self.videos[number]
        file = path
        try:
            if self.recipe:
                file = str(self.folder / _SCRATCH / f"{number:08d}.mp4")
                encode_video(path, file, self.recipe)
            return _Ready(number, path, file, clips, os.path.getsize(file))
        except VideoError as error:
            return _Ready(number, path, file, clips, 0, error.cause)
        except OSError as error:
            return _Ready(number, path, file, clips, 0, error.strerror or str(error))


@dataclass(frozen=True)
class _Ready:
    """A video that can go into a tar file; or the reason why it cannot."""

    number: int
    path: str
    file: str
    clips: list[Clip]
    size: int
    problem: str = ""


@dataclass
class _Filling:
    """Fills one shard from ``ahead`` on, which then is the first sample of the next shard."""

    limits: Limits
    ahead: _Ready | None
    samples: Iterator[_Ready]
    dropped: dict[str, str]
    count: int = 0

    def write(self, file: BinaryIO) -> None:
        """Samples until the shard is full or nothing is left."""
        with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
            while self.ahead is not None and self._fits(tar.offset):
                if self.ahead.problem:
                    self.dropped[self.ahead.path] = self.ahead.problem
                else:
                    _add_sample(tar, self.ahead)
                    self.count += 1
                self.ahead = next(self.samples, None)

    def _fits(self, size: int) -> bool:
        assert self.ahead is not None
        if not self.count or self.ahead.problem:
            return True
        return self.count < self.limits.samples and size + self.ahead.size <= self.limits.size


def _add_sample(tar: tarfile.TarFile, sample: _Ready) -> None:
    """The video as it is, its JSON, and its class as ``webdataset`` users expect it."""
    key = f"{sample.number:08d}"
    labels = sample.clips[0]["labels"]
    content: dict[str, object] = {"clips": sample.clips}
    if len(sample.clips) == 1:
        content = {"labels" if isinstance(labels, list | dict) else "label": labels, **content}
    add = partial(_add, tar)
    with open(sample.file, "rb") as video:
        suffix = os.path.splitext(sample.file)[1].lower()
        add(f"{key}{suffix}", video, os.fstat(video.fileno()).st_size)
    texts = {"json": json.dumps(content)}
    if len(sample.clips) == 1 and isinstance(labels, int):
        texts["cls"] = str(labels)
    for suffix, text in texts.items():
        data = text.encode()
        add(f"{key}.{suffix}", io.BytesIO(data), len(data))


def _add(tar: tarfile.TarFile, name: str, file: BinaryIO, size: int) -> None:
    info = tarfile.TarInfo(name)  # no owner, no time: the same videos give the same bytes
    info.size = size
    tar.addfile(info, file)


def _fingerprint(videos: Sequence[Video], limits: Limits, recipe: Recipe | None) -> str:
    """Stands for what is to be done: any change of it gives another one."""
    digest = hashlib.sha256()
    digest.update(json.dumps([asdict(limits), recipe and asdict(recipe)]).encode())
    for path, clips in videos:
        facts: tuple[int, int] | None = None
        if os.path.exists(path):
            status = os.stat(path)
            facts = (status.st_size, status.st_mtime_ns)
        digest.update(json.dumps([path, facts, clips]).encode())
    return digest.hexdigest()


def _read_note(path: Path) -> dict[str, Any] | None:
    """``None``: damaged, so the part is made again."""
    try:
        content = parse_json(path.read_text("utf-8"))
    except ValueError:
        return None
    keys = {"made_from", "shard", "next", "dropped"}
    return content if isinstance(content, dict) and keys <= content.keys() else None


def _is_whole(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size
