"""Clips paired with precomputed feature rows (RT-HARE, Wang et al. 2025, section 4).

A network learns to give, from a few RGB frames, the feature that another network computed, from
optical flow or from anything else. Row ``k`` of ``<video>.npy`` belongs to the clip around frame
``3 + 6 k`` of ``<video>/img_00000.jpg, ...`` or of a video file ``<video>.mp4``.
``tools/extract_features.py`` writes such rows with any model.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from slowfast.datasets.annotations import AnnotationError, read_lines
from slowfast.datasets.base import ClipRecord
from slowfast.datasets.decode import open_video
from slowfast.datasets.decode.frames import scan_frames
from slowfast.datasets.missing import check_folder
from slowfast.datasets.sampling import clip_size
from slowfast.datasets.video_folder import VIDEO_SUFFIXES

if TYPE_CHECKING:
    from yacs.config import CfgNode

Features = NDArray[np.floating]  # (rows, num_features)
_OPEN_FILES = 64
_OPENING_THREADS = 16


@dataclass(frozen=True)
class RowClips:
    """Which frames of a video the rows of its feature file belong to.

    The last frame is never used: features of optical flow have one frame less, since flow needs
    two. A clip that would begin before the video begins with it; one that would end after it
    repeats its last frame.

    Attributes:
        num_frames: T, of a clip.
        stride: distance of a clip's frames at ``target_fps``.
        target_fps: frames per second the stride refers to.
        interval: frames from one row to the next.
    """

    num_frames: int = 6
    stride: float = 1
    target_fps: float = 30.0
    interval: int = 6

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> Self:
        """From ``DATA.{NUM_FRAMES,SAMPLING_RATE,TARGET_FPS}`` and ``FEATURES.INTERVAL``."""
        data = cfg.DATA
        return cls(data.NUM_FRAMES, data.SAMPLING_RATE, data.TARGET_FPS, cfg.FEATURES.INTERVAL)

    def centres(self, num_images: int) -> range:
        """Centres of the clips of a video with so many frames; row ``k`` is the ``k``-th.

        Example:
            >>> list(RowClips().centres(16)), list(RowClips().centres(15))
            ([3, 9], [3, 9])
        """
        return range(self.interval // 2, num_images - 1, self.interval)

    def spans(self, num_images: int, fps: float = 30.0) -> list[tuple[int, int]]:
        """First and last frame of every clip, of a video with ``fps`` frames per second.

        Example:
            >>> RowClips().spans(15), RowClips(num_frames=16).spans(30)[0]
            ([(1, 6), (7, 12)], (0, 15))
        """
        size = int(clip_size(self.num_frames, self.stride, fps, self.target_fps))
        before = (self.num_frames - 1) // 2 * size // self.num_frames
        firsts = (max(centre - before, 0) for centre in self.centres(num_images))
        return [(first, min(first + size - 1, num_images - 2)) for first in firsts]


class FeatureClips:
    """Clips and the feature each should be mapped to.

    Args:
        frames_dir: ``<video>/`` folders of images; or video files, in folders or not.
        features_dir: ``<video>.npy``, each ``(clips, num_features)``; rows are memory-mapped, so a
            clip reads its row only.
        num_val: so many videos, the last by name, are the val split.
        lists: split -> text file with one video a line, instead of ``num_val``.
        rows: which clip a row belongs to.
    """

    tasks: tuple[str, ...] = ()
    class_names: dict[str, list[str]] | None = None

    def __init__(
        self,
        frames_dir: str | Path,
        features_dir: str | Path,
        *,
        num_val: int = 300,
        lists: dict[str, str | Path] | None = None,
        rows: RowClips = RowClips(),
    ) -> None:
        self._frames = Path(frames_dir)
        self._features = Path(features_dir)
        self._num_val = num_val
        self._lists = lists or {}
        self._rows = rows

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> FeatureClips:
        """From ``FEATURES.*``, its folders and lists below the data root if relative."""
        root, given = Path(cfg.DATA.PATH_TO_DATA_DIR), cfg.FEATURES
        lists = {"train": given.TRAIN_LIST, "val": given.VAL_LIST, "test": given.VAL_LIST}
        return cls(
            root / given.FRAMES_DIR,
            root / given.FEATURES_DIR,
            num_val=given.NUM_VAL,
            lists={split: root / name for split, name in lists.items() if name},
            rows=RowClips.from_cfg(cfg),
        )

    def records(self, split: str) -> list[ClipRecord]:
        """One record per feature row; its label is the row's number (see :meth:`target`).

        A record is the frames of the row's clip, fewer where the video ends: ``DATA.NUM_FRAMES 6``
        at ``DATA.SAMPLING_RATE 1`` then repeats its last frame, as the original does.

        Raises:
            AnnotationError: no videos, another number of rows than clips.
        """
        check_folder(self._frames, "FEATURES.FRAMES_DIR")
        videos = self._videos(split)
        if not videos:
            raise AnnotationError(f"no folders of images and no video files in {self._frames}")
        with ThreadPoolExecutor(_OPENING_THREADS) as pool:  # network disks answer slowly
            found = pool.map(self._of_video, videos)
            return [record for records in found for record in records]

    def target(self, record: ClipRecord) -> Features:
        """The feature row of a record, ``(num_features,)`` float32; a copy."""
        assert isinstance(record.labels, int)
        file, _, _ = record.source.rpartition("[")
        return np.array(open_rows(Path(file))[record.labels], dtype=np.float32)

    def _videos(self, split: str) -> list[tuple[str, Path]]:
        """Name and place of the videos of a split."""
        if split in self._lists:
            names = [line for _, line in read_lines(Path(self._lists[split]))]
            return [(name, self._place(name)) for name in names]
        videos = list(find_videos(self._frames))
        if self._num_val >= len(videos) > 0:
            raise AnnotationError(
                f"{len(videos)} videos in {self._frames}, of which FEATURES.NUM_VAL "
                f"({self._num_val}) are for validation: none left to train on"
            )
        cut = len(videos) - self._num_val
        return videos[:cut] if split == "train" else videos[cut:]

    def _place(self, name: str) -> Path:
        path = self._frames / name
        files = (path.with_name(path.name + suffix) for suffix in VIDEO_SUFFIXES)
        return next((file for file in files if file.is_file()), path)

    def _of_video(self, video: tuple[str, Path]) -> list[ClipRecord]:
        name, place = video
        first, count, fps, path = look_into(place)
        file = self._features / f"{name}.npy"
        spans, rows = self._rows.spans(count, fps), open_rows(file)
        if len(rows) != len(spans):
            raise AnnotationError(
                f"{file}: {len(rows)} feature rows, but the {count} frames of {place} make "
                f"{len(spans)} clips, FEATURES.INTERVAL {self._rows.interval} frames apart"
            )
        return [
            ClipRecord(
                path=path,
                labels=row,
                source=f"{file}[{row}]",
                start_frame=first + start,
                end_frame=first + end,
                name=f"{name}_{row:05d}",
                fps=fps,
            )
            for row, (start, end) in enumerate(spans)
        ]


def find_videos(folder: Path) -> Iterator[tuple[str, Path]]:
    """Name and place of every video in ``folder``, by name.

    Video files at any depth, called as their path without the suffix; without any, the folders
    directly in ``folder``, which should hold images.

    Raises:
        AnnotationError: two videos would have one name.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    if not files:
        yield from ((path.name, path) for path in sorted(folder.glob("*")) if path.is_dir())
        return
    seen: dict[str, Path] = {}
    for path in files:
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in seen:
            raise AnnotationError(f"{seen[name]} and {path} have one name, {name}: rename one")
        seen[name] = path
        yield name, path


def look_into(place: Path) -> tuple[int, int, float, str]:
    """Number of the first frame, frames, frames per second, and a record's path, of a video."""
    if place.suffix.lower() in VIDEO_SUFFIXES and not place.is_dir():
        with open_video(str(place)) as reader:
            return 0, reader.num_frames, reader.fps, str(place)
    images = scan_frames(place)
    return images.first, images.num_images, 30.0, str(place / images.pattern)


@lru_cache(maxsize=_OPEN_FILES)
def open_rows(path: Path) -> Features:
    """The rows of a ``.npy`` file, memory-mapped: ``(rows, num_features)``.

    The mapping stays open for later rows, in each loader process its own.

    Raises:
        AnnotationError: no such file, not a ``.npy`` file, or not a table.
    """
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise AnnotationError(
            f"{path}: cannot be read as a table of features ({error}). tools/extract_features.py "
            "writes it; FEATURES.TRAIN_LIST and VAL_LIST name the videos to use"
        ) from error
    if rows.ndim != 2:
        raise AnnotationError(f"{path}: shape {rows.shape}, expected (clips, features)")
    return rows
