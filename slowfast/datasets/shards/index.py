"""What lies where in the shards of a split: ``index.json`` beside them."""

from __future__ import annotations

import hashlib
import json
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import IO, Any

from slowfast.datasets.base import DataError
from slowfast.datasets.shards.record import HEADER, INSIDE
from slowfast.datasets.shards.storage import ByteFile, join, open_bytes, read_text
from slowfast.datasets.video_folder import VIDEO_SUFFIXES

INDEX = "index.json"
FORMAT = "slowfast shards 1"
WRITE_IT = "tools/make_shards.py writes it, with --index_only for shards that are there already"
_JSON_BYTES = 1 << 20  # a sample's labels are no larger
_BLOCK = 1 << 20

Clip = dict[str, Any]
"""Of a sample's JSON: ``labels``, and what else a record has (``name``, ``start_s`` ...)."""


@dataclass(frozen=True)
class Sample:
    """One video in a shard.

    Attributes:
        member: name in the tar file.
        offset: of its first byte.
        size: bytes.
        crc32: of them.
        clips: one for each record that uses it.
    """

    member: str
    offset: int
    size: int
    crc32: int
    clips: tuple[Clip, ...]


@dataclass(frozen=True)
class Shard:
    """One tar file.

    Attributes:
        name: below the index.
        size: bytes.
        sha256: of the file, in hexadecimal.
        samples: in the order in which they lie.
    """

    name: str
    size: int
    sha256: str
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class ShardIndex:
    """The shards of one split.

    Attributes:
        shards: in the order of their names.
        class_names: by class id, per task, where the dataset knows them.
        made_from: stands for the videos and the way the shards were made; empty if not known.
    """

    shards: tuple[Shard, ...]
    class_names: dict[str, list[str]] | None = None
    made_from: str = ""

    def to_text(self) -> str:
        """As JSON, a line per sample."""
        head = {
            "format": FORMAT,
            "made_from": self.made_from,
            "num_shards": len(self.shards),
            "num_samples": sum(len(shard.samples) for shard in self.shards),
            "num_bytes": sum(shard.size for shard in self.shards),
            "class_names": self.class_names,
        }
        shards = ",\n".join(map(shard_to_text, self.shards))
        return f'{json.dumps(head)[:-1]}, "shards": [\n{shards}\n]}}\n'


def shard_to_text(shard: Shard) -> str:
    """As JSON, a line per sample."""
    facts = {"name": shard.name, "size": shard.size, "sha256": shard.sha256}
    samples = ",\n".join(json.dumps(asdict(sample)) for sample in shard.samples)
    return f'{json.dumps(facts)[:-1]}, "samples": [\n{samples}\n]}}'


def read_index(folder: str) -> ShardIndex:
    """The index of the shards in a folder or below a URL.

    Raises:
        DataError: none there, or it is not one.
    """
    path = join(folder, INDEX)
    try:
        text = read_text(path)
    except Exception as error:  # every filesystem behind a URL has errors of its own
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise DataError(f"{path}: cannot be read ({reason}). {WRITE_IT}") from error
    try:
        return parse_index(json.loads(text))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{path}: not an index of shards ({what}). {WRITE_IT}") from error


def parse_index(content: Any) -> ShardIndex:
    """The index that JSON stands for; built-in errors where it does not."""
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']!r}, expected {FORMAT!r}")
    shards = tuple(parse_shard(shard) for shard in content["shards"])
    found = sum(len(shard.samples) for shard in shards)
    if found != content["num_samples"]:
        raise ValueError(f"{found} samples, {content['num_samples']} announced")
    names = content["class_names"]
    if names is not None:
        names = {str(task): [str(name) for name in of_task] for task, of_task in names.items()}
    return ShardIndex(shards, names, str(content["made_from"]))


def parse_shard(content: Any) -> Shard:
    """One of its shards."""
    name = str(content["name"])
    if name.startswith("/") or ".." in name.split("/") or "://" in name:
        raise ValueError(f"shard {name!r} is not below its index")
    samples = tuple(map(_parse_sample, content["samples"]))
    return Shard(name, int(content["size"]), str(content["sha256"]), samples)


def _parse_sample(content: Any) -> Sample:
    offset, size = int(content["offset"]), int(content["size"])
    if offset < HEADER or size < 0:
        raise ValueError(f"{content['member']!r} at byte {offset}, {size} bytes")
    clips = tuple(dict(clip) for clip in content["clips"])
    return Sample(str(content["member"]), offset, size, int(content["crc32"]), clips)


# -- looking into tar files ------------------------------------------------------------------


def scan_shard(folder: str, name: str) -> Shard:
    """What lies in a tar file, read from front to back.

    Members with the same name up to the first dot are one sample, as in the ``webdataset``
    library: a video, and ``.json`` or ``.cls`` with its label.

    Raises:
        DataError: damaged, cut short, compressed, a sample without video or without label.
    """
    path = join(folder, name)
    file = _Stream(open_bytes(path))
    try:
        with tarfile.open(fileobj=file, mode="r:") as tar:  # type: ignore[call-overload]
            samples = tuple(_sample(path, tar, group) for group in _groups(path, tar))
            _check_end(path, file, tar.offset)
    except (tarfile.TarError, EOFError) as error:
        place = f"at byte {file.tell()}"
        raise DataError(
            f"{path}: no whole, uncompressed tar file ({error}, {place}): copy or make it again"
        ) from error
    finally:
        file.file.close()
    size, digest = hash_file(path)
    return Shard(name, size, digest, samples)


def hash_file(path: str) -> tuple[int, str]:
    """Bytes of a file, and their SHA-256."""
    file, digest, size = open_bytes(path), hashlib.sha256(), 0
    try:
        while data := file.read(size, _BLOCK):
            digest.update(data)
            size += len(data)
    finally:
        file.close()
    return size, digest.hexdigest()


@dataclass
class _Stream:
    """What ``tarfile`` reads from."""

    file: ByteFile
    place: int = 0

    def read(self, size: int) -> bytes:
        data = self.file.read(self.place, size)
        self.place += len(data)
        return data

    def seek(self, place: int) -> int:
        self.place = place
        return place

    def tell(self) -> int:
        return self.place


@dataclass
class _Group:
    """The members of one sample."""

    key: str
    members: list[tarfile.TarInfo] = field(default_factory=list)

    def find(self, suffixes: Sequence[str]) -> list[tarfile.TarInfo]:
        return [m for m in self.members if m.name.lower().endswith(tuple(suffixes))]


def key_of(name: str) -> str:
    """What the members of a sample have in common.

    Example:
        >>> key_of("a.b/clip.left.mp4"), key_of("clip.json")
        ('a.b/clip', 'clip')
    """
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.partition(".")[0]


def _groups(path: str, tar: tarfile.TarFile) -> Iterator[_Group]:
    group, seen = _Group(""), set()
    for member in tar:
        if not member.isreg():
            continue
        key = key_of(member.name)
        if group.members and key != group.key:
            yield group
        if key != group.key or not group.members:
            if key in seen:
                raise DataError(f"{path}: the members of sample {key!r} do not lie together")
            seen.add(key)
            group = _Group(key)
        group.members.append(member)
    if group.members:
        yield group


def _sample(path: str, tar: tarfile.TarFile, group: _Group) -> Sample:
    videos = group.find(VIDEO_SUFFIXES)
    if len(videos) != 1:
        names = [member.name for member in group.members]
        raise DataError(f"{path}: sample {group.key!r} has {len(videos)} videos, not 1: {names}")
    content = _opened(tar, videos[0])
    crc = 0
    while data := content.read(_BLOCK):
        crc = zlib.crc32(data, crc)
    (video,) = videos
    clips = tuple(_clips(path, tar, group))
    return Sample(video.name, video.offset_data, video.size, crc, clips)


def _clips(path: str, tar: tarfile.TarFile, group: _Group) -> list[Clip]:
    """What the sample's JSON, or else its ``.cls``, says."""
    found = group.find([".json"]) or group.find([".cls"])
    place = f"{path}{INSIDE}{group.key}"
    if not found:
        raise DataError(f"{place}: no {group.key}.json and no {group.key}.cls: a label is missing")
    if found[0].size > _JSON_BYTES:
        raise DataError(f"{path}{INSIDE}{found[0].name}: {found[0].size} bytes are no label")
    try:
        content = json.loads(_opened(tar, found[0]).read())
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}{INSIDE}{found[0].name}: cannot be read ({error})") from error
    if not isinstance(content, dict):
        content = {"label": content}
    if "clips" in content:
        clips = content["clips"]
        if not isinstance(clips, list) or not all(isinstance(clip, dict) for clip in clips):
            raise DataError(f"{path}{INSIDE}{found[0].name}: 'clips' is not a list of objects")
        return clips
    for name in ("labels", "label", "cls"):
        if name in content:
            clip = {"labels": content[name], "name": str(content.get("name", group.key))}
            return [clip]
    raise DataError(f"{path}{INSIDE}{found[0].name}: neither 'label' nor 'labels' in it")


def _opened(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = tar.extractfile(member)
    assert file is not None  # of regular members only
    return file


def _check_end(path: str, file: _Stream, offset: int) -> None:
    """Whether the members end with the zeros that end a tar file: ``tarfile`` asks for none."""
    file.seek(offset)
    end = file.read(HEADER)
    if len(end) < HEADER or any(end):
        what = "cut short" if len(end) < HEADER else "damaged"
        raise DataError(f"{path}: {what} at byte {offset}: copy or make it again")
