"""Features of whole videos, a row per window, in files that ``TRAIN.DATASET features`` reads.

One video at a time, some windows at a time: memory does not grow with the videos. Every frame is
decoded once; models that look at single frames first (ResNetLSTM, IMFE) also compute it once,
however many windows it is in.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slowfast.datasets.base import ClipRecord, SpatialTransform, segment
from slowfast.datasets.batch import Batch
from slowfast.datasets.decode import FrameCountError, VideoError, VideoReader
from slowfast.datasets.features import RowClips
from slowfast.datasets.sampling import ClipSampler
from slowfast.engine.batches import BatchPreparation
from slowfast.models.base import ClipModel
from slowfast.models.windows import CachedWindows, FrameModel, Kept
from slowfast.utils.errors import UserError
from slowfast.utils.plain_json import parse_json
from slowfast.utils.progress import open_progress

logger = logging.getLogger(__name__)

SETTINGS_FILE = "extraction.json"
OUTPUTS = ("features", "logits")
Compute = Callable[[Sequence[Sequence[int]]], Tensor]
"""Frame numbers of K windows -> ``(K, D)``."""


class ExtractionError(UserError, RuntimeError):
    """Features that cannot be written as asked; says what to do."""


@dataclass(frozen=True)
class VideoSource:
    """One video to extract features of.

    Attributes:
        name: of the file to write, without ``.npy``; may have folders in it.
        record: the video, or the part of it that counts.
    """

    name: str
    record: ClipRecord


@dataclass
class ExtractionResult:
    """What came of a run.

    Attributes:
        rows: name -> feature rows written.
        reused: names whose files were there before.
        dropped: name -> why there are no features of this video.
    """

    rows: dict[str, int] = field(default_factory=dict)
    reused: list[str] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FeatureExtractor:
    """Computes the features of one video after the other.

    Attributes:
        model: in evaluation mode, on its device.
        sampler: which frames make a window.
        rows: where windows are.
        transform: crops or resizes frames; one crop.
        prepare: device and batch transform.
        reader: opens the video of a record.
        output: ``features`` before the classifier, or its ``logits``.
        batch: windows at a time.
        share_frames: compute frames that windows share once, where the model allows it.
    """

    model: ClipModel
    sampler: ClipSampler
    rows: RowClips
    transform: SpatialTransform
    prepare: BatchPreparation
    reader: Callable[[ClipRecord], VideoReader]
    output: str = "features"
    batch: int = 8
    share_frames: bool = True

    def save(self, record: ClipRecord, path: Path) -> int:
        """Write the features of a video, ``(rows, D)`` float32, whole or not at all; the rows.

        Raises:
            VideoError: the video cannot be read, or is too short for one window.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            try:
                count = self._write(record, partial)
            except FrameCountError:  # once more, now that their number is known
                count = self._write(record, partial)
            os.replace(partial, path)
        finally:
            partial.unlink(missing_ok=True)
        return count

    def _write(self, record: ClipRecord, path: Path) -> int:
        with self.reader(record) as reader:
            windows = self.windows(record, reader)
            table: NDArray[np.float32] | None = None
            done = 0
            for features in self.features(reader, windows):
                if table is None:
                    table = np.lib.format.open_memmap(
                        path, mode="w+", dtype=np.float32, shape=(len(windows), features.shape[1])
                    )
                table[done : done + len(features)] = features.numpy()
                done += len(features)
        assert isinstance(table, np.memmap)
        table.flush()
        with path.open("rb") as file:
            os.fsync(file.fileno())
        return done

    def windows(self, record: ClipRecord, reader: VideoReader) -> list[list[int]]:
        """Frame numbers of every window of a video, as the features dataset chooses them.

        Raises:
            VideoError: there is none.
        """
        first, total = segment(record, reader)
        spans = self.rows.spans(total, reader.fps)
        if not spans:
            raise VideoError(
                record.path,
                f"{total} frames are too few for one window ({self.rows.interval // 2 + 2} needed "
                f"at FEATURES.INTERVAL {self.rows.interval})",
            )
        clips = [self.sampler.clips(end - start + 1, reader.fps)[0] for start, end in spans]
        return [
            [first + start + number for number in clip]
            for clip, (start, _) in zip(clips, spans, strict=True)
        ]

    @torch.no_grad()
    def features(self, reader: VideoReader, windows: list[list[int]]) -> Iterator[Tensor]:
        """``(K, D)`` of up to ``batch`` windows at a time, in order, on the CPU."""
        compute = self._frames_first(reader)
        if compute is None:
            compute = self._clip_by_clip(reader)
        for start in range(0, len(windows), self.batch):
            features = compute(windows[start : start + self.batch])
            if self.output == "logits":
                logits = self.model.forward_head(features)
                if isinstance(logits, dict):
                    logits = torch.cat(list(logits.values()), dim=1)
                features = logits
            yield features.float().cpu()

    def _frames_first(self, reader: VideoReader) -> Compute | None:
        if not self.share_frames or not isinstance(self.model, FrameModel):
            return None
        pictures = decoded_frames(reader, self.transform)

        def load(numbers: list[int]) -> Tensor:
            pictures.fetch(numbers)
            (clips,) = self.prepare(_batch(pictures.stack(numbers, dim=1)[None])).clips
            return clips[0].transpose(0, 1)  # (N, C, H, W)

        return CachedWindows(self.model, load, batch=4 * self.batch)

    def _clip_by_clip(self, reader: VideoReader) -> Compute:
        pictures = decoded_frames(reader, self.transform)

        def compute(windows: Sequence[Sequence[int]]) -> Tensor:
            pictures.fetch([number for window in windows for number in window])
            clips = torch.stack([pictures.stack(window, dim=1) for window in windows])
            return self.model.forward_features(self.prepare(_batch(clips)).clips)

        return compute


def decoded_frames(reader: VideoReader, transform: SpatialTransform) -> Kept[int]:
    """Cropped frames ``(C, H, W)`` of one video, uint8, each decoded once.

    Args:
        reader: of the video.
        transform: with one crop; draws nothing.
    """
    plan = transform.plan(reader.height, reader.width, None)

    def decode(numbers: list[int]) -> Tensor:
        (crop,) = transform.apply(reader.read(numbers, plan.short_side), plan)  # (C, N, H, W)
        return crop.transpose(0, 1)

    return Kept(decode, batch=sys.maxsize)


def _batch(clips: Tensor) -> Batch:
    """uint8 clips ``(B, C, T, H, W)`` as a loader would give them, channels last in memory."""
    clips = clips.contiguous(memory_format=torch.channels_last_3d)
    count = torch.arange(len(clips))
    return Batch([clips], count, count, torch.zeros(len(clips), 2), {})


def extract_features(
    extractor: FeatureExtractor,
    sources: Sequence[VideoSource],
    output_dir: Path,
    *,
    settings: dict[str, Any],
    overwrite: bool = False,
    progress: str = "auto",
) -> ExtractionResult:
    """Write ``<output_dir>/<name>.npy`` of every video; a run that was stopped goes on.

    Args:
        extractor: computes them.
        sources: the videos, of different names.
        output_dir: files of finished videos in it are kept.
        settings: what the features depend on; kept in ``extraction.json``. Features of other
            settings are never mixed with these.
        overwrite: replace what is there.
        progress: see :func:`slowfast.utils.progress.open_progress`.

    Raises:
        ExtractionError: the folder holds features of other settings.
    """
    check_settings(output_dir, settings, overwrite=overwrite)
    result = ExtractionResult()
    extractor.model.eval()
    with open_progress(len(sources), "videos", progress) as bar:
        for source in sources:
            path = output_dir / f"{source.name}.npy"
            if path.is_file() and not overwrite:
                result.reused.append(source.name)
            else:
                try:
                    result.rows[source.name] = extractor.save(source.record, path)
                except VideoError as error:
                    result.dropped[source.name] = str(error)
                    logger.warning("no features: %s", error)
            bar.update()
    return result


def check_settings(output_dir: Path, settings: dict[str, Any], *, overwrite: bool) -> None:
    """Keep ``settings`` in the folder, or compare them with those that are there.

    Raises:
        ExtractionError: names the settings that differ.
    """
    path = output_dir / SETTINGS_FILE
    if path.is_file() and not overwrite:
        try:
            found = parse_json(path.read_text("utf-8"))
            found = dict(found)
        except (ValueError, TypeError) as error:
            raise ExtractionError(
                f"{path} does not say what the features in its folder are ({error}): choose "
                "another --output_dir, or replace them with --overwrite"
            ) from error
        differing = {k: v for k, v in settings.items() if found.get(k) != v}
        if differing:
            listing = ", ".join(f"{k} {found.get(k)} there, {v} now" for k, v in differing.items())
            raise ExtractionError(
                f"{output_dir} holds features of other settings ({listing}): choose another "
                "--output_dir, or replace them with --overwrite"
            )
        return
    output_dir.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(settings, indent=1) + "\n", "utf-8")
    os.replace(partial, path)
