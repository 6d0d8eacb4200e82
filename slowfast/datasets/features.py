"""Clips paired with precomputed feature rows (RT-HARE, Gulhan et al., TECS 2025, section 4).

A network learns to give, from a few RGB frames, the feature that another network computed from
optical flow. Row ``k`` of ``<video>.npy`` belongs to the clip around frame ``3 + 6 k`` of
``<video>/img_00000.jpg, ...``.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from slowfast.datasets.annotations import AnnotationError, read_lines
from slowfast.datasets.base import ClipRecord
from slowfast.datasets.decode.frames import scan_frames

if TYPE_CHECKING:
    from yacs.config import CfgNode

Features = NDArray[np.floating]  # (rows, num_features)

INTERVAL = 6  # frames from one feature row to the next
WINDOW = (-2, 3)  # first and last frame of a clip, relative to its centre
_FIRST_CENTRE = 3
_OPEN_FILES = 64


def clip_centres(num_images: int) -> range:
    """Centres of the clips of a video with so many images; row ``k`` is the ``k``-th.

    The last image is never a centre: the features were computed with one frame less, since flow
    needs two.

    Example:
        >>> list(clip_centres(16)), list(clip_centres(15))
        ([3, 9], [3, 9])
    """
    return range(_FIRST_CENTRE, num_images - 1, INTERVAL)


class FeatureClips:
    """Clips of six frames and the feature each should be mapped to.

    Args:
        frames_dir: ``<video>/`` folders of images.
        features_dir: ``<video>.npy``, each ``(clips, num_features)``; rows are memory-mapped, so a
            clip reads its row only.
        num_val: so many videos, the last by name, are the val split.
        lists: split -> text file with one video a line, instead of ``num_val``.
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
    ) -> None:
        self._frames = Path(frames_dir)
        self._features = Path(features_dir)
        self._num_val = num_val
        self._lists = lists or {}

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> FeatureClips:
        """From ``FEATURES.{FRAMES_DIR,FEATURES_DIR,NUM_VAL}``, below the data root if relative."""
        root = Path(cfg.DATA.PATH_TO_DATA_DIR)
        return cls(
            root / cfg.FEATURES.FRAMES_DIR,
            root / cfg.FEATURES.FEATURES_DIR,
            num_val=cfg.FEATURES.NUM_VAL,
        )

    def records(self, split: str) -> list[ClipRecord]:
        """One record per feature row; its label is the row's number (see :meth:`target`).

        A record is the six frames around the row's centre, fewer where the video ends:
        ``DATA.NUM_FRAMES 6`` at ``DATA.SAMPLING_RATE 1`` then repeats its last frame, as the
        original does.

        Raises:
            AnnotationError: no videos, another number of rows than clips.
        """
        return [record for video in self._videos(split) for record in self._of_video(video)]

    def target(self, record: ClipRecord) -> Features:
        """The feature row of a record, ``(num_features,)`` float32; a copy."""
        assert isinstance(record.labels, int)
        rows = open_rows(self._features / f"{Path(record.path).parent.name}.npy")
        return np.array(rows[record.labels], dtype=np.float32)

    def _videos(self, split: str) -> list[str]:
        if split in self._lists:
            return [line for _, line in read_lines(Path(self._lists[split]))]
        folders = sorted(entry.name for entry in self._frames.glob("*") if entry.is_dir())
        if not folders:
            raise AnnotationError(f"no folders of images in {self._frames}")
        if self._num_val >= len(folders):
            raise AnnotationError(
                f"{len(folders)} videos in {self._frames}, of which FEATURES.NUM_VAL "
                f"({self._num_val}) are for validation: none left to train on"
            )
        cut = len(folders) - self._num_val
        return folders[:cut] if split == "train" else folders[cut:]

    def _of_video(self, video: str) -> list[ClipRecord]:
        images = scan_frames(self._frames / video)
        path = self._features / f"{video}.npy"
        centres, rows = clip_centres(images.num_images), open_rows(path)
        if len(rows) != len(centres):
            raise AnnotationError(
                f"{path}: {len(rows)} feature rows, but the {images.num_images} images in "
                f"{self._frames / video} make {len(centres)} clips"
            )
        return [
            ClipRecord(
                path=str(self._frames / video / images.pattern),
                labels=row,
                source=f"{path}[{row}]",
                start_frame=images.first + centre + WINDOW[0],
                end_frame=images.first + min(centre + WINDOW[1], images.num_images - 2),
                name=f"{video}_{row:05d}",
            )
            for row, centre in enumerate(centres)
        ]


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
        raise AnnotationError(f"{path}: cannot be read as a table of features ({error})") from error
    if rows.ndim != 2:
        raise AnnotationError(f"{path}: shape {rows.shape}, expected (clips, features)")
    return rows
