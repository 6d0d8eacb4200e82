"""Config and command line -> what :mod:`slowfast.engine.extract` needs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slowfast.datasets.base import ClipRecord, open_record
from slowfast.datasets.build import build_family
from slowfast.datasets.decode import VideoError
from slowfast.datasets.features import RowClips, find_videos, look_into
from slowfast.datasets.pathways import build_batch_transform
from slowfast.datasets.sampling import ClipSampler
from slowfast.datasets.transforms import build_eval_transform
from slowfast.engine.batches import BatchPreparation
from slowfast.engine.build import build_placed_model, build_placement
from slowfast.engine.extract import OUTPUTS, ExtractionError, FeatureExtractor, VideoSource
from slowfast.engine.weights import build_test_weights

if TYPE_CHECKING:
    from yacs.config import CfgNode


def build_extractor(cfg: CfgNode, output: str = "features") -> tuple[FeatureExtractor, Path]:
    """The extractor of a config, with the weights to test, and the file they came from.

    Frames are prepared as for validation: ``DATA.RESIZE``, or the centre crop of
    ``DATA.TRAIN_CROP_SIZE``. ``TEST.BATCH_SIZE`` windows are computed at a time.

    Raises:
        ExtractionError: no such output.
    """
    if output not in OUTPUTS:
        raise ExtractionError(f"--output {output}: give one of {', '.join(OUTPUTS)}")
    placement = build_placement(cfg)
    model = build_placed_model(cfg, placement)
    checkpoint = build_test_weights(cfg, model, Path(cfg.OUTPUT_DIR))
    threads = 0 if cfg.DATA_LOADER.ENABLE_MULTI_THREAD_DECODE else 1
    transform = build_batch_transform(cfg, train=False, memory_format=placement.memory_format)
    extractor = FeatureExtractor(
        model,
        sampler=ClipSampler.from_cfg(cfg, "val"),
        rows=RowClips.from_cfg(cfg),
        transform=build_eval_transform(cfg, "val"),
        prepare=BatchPreparation(placement.device, transform),
        reader=partial(open_record, backend=cfg.DATA.DECODING_BACKEND, threads=threads),
        output=output,
        batch=cfg.TEST.BATCH_SIZE,
    )
    return extractor, checkpoint


def build_settings(cfg: CfgNode, checkpoint: Path, output: str) -> dict[str, Any]:
    """What the numbers depend on, for ``extraction.json``."""
    data, status = cfg.DATA, checkpoint.stat()
    crop = list(data.RESIZE) or [data.TRAIN_CROP_SIZE, data.TRAIN_JITTER_SCALES[0]]
    return {
        "model": f"{cfg.MODEL.MODEL_NAME} {cfg.MODEL.ARCH}",
        "checkpoint": str(checkpoint.resolve()),
        "checkpoint_bytes": status.st_size,
        "checkpoint_mtime_ns": status.st_mtime_ns,
        "output": output,
        "num_frames": data.NUM_FRAMES,
        "sampling_rate": data.SAMPLING_RATE,
        "sampling_mode": data.SAMPLING_MODE,
        "target_fps": data.TARGET_FPS,
        "resize" if data.RESIZE else "crop_and_short_side": crop,
        "interval": cfg.FEATURES.INTERVAL,
    }


def build_sources(cfg: CfgNode, split: str) -> list[VideoSource]:
    """The videos, or segments, of a split of the config's dataset."""
    if cfg.TRAIN.DATASET.lower() == "features":
        raise ExtractionError(
            "--split: TRAIN.DATASET features lists clips that have features, not videos; name "
            "their folder with --videos_dir"
        )
    return name_records(build_family(cfg, split).records(split))


def name_records(records: Sequence[ClipRecord]) -> list[VideoSource]:
    """A name for the file of every record: its own, or its path below what all paths share.

    Raises:
        ExtractionError: two records have one name.
    """
    folders = [os.path.dirname(os.path.abspath(record.path)) for record in records]
    root = os.path.commonpath(folders) if folders else ""
    named: dict[str, VideoSource] = {}
    for record in records:
        name = record.name
        if not name or os.path.isabs(name) or name == record.path or ".." in Path(name).parts:
            path = Path(os.path.relpath(os.path.abspath(record.path), root))
            name = path.with_suffix("").as_posix()
        if name in named:
            raise ExtractionError(
                f"{record.source} and {named[name].record.source} would both be written to "
                f"{name}.npy: extract from --videos_dir instead"
            )
        named[name] = VideoSource(name, record)
    return list(named.values())


def list_videos(folder: Path) -> list[VideoSource]:
    """Video files at any depth of ``folder``, or the folders of images directly in it.

    Raises:
        ExtractionError: there are none.
    """
    sources = [VideoSource(name, record_of(path)) for name, path in find_videos(folder)]
    if not sources:
        raise ExtractionError(f"--videos_dir {folder}: no video files and no folders in it")
    return sources


def record_of(path: Path) -> ClipRecord:
    """A video file, or a folder of images, as a whole."""
    if path.is_dir():
        try:
            first, count, fps, pattern = look_into(path)
        except VideoError:
            return ClipRecord(str(path), 0, str(path))  # to fail in its turn, like other videos
        last = first + count - 1
        return ClipRecord(pattern, 0, str(path), start_frame=first, end_frame=last, fps=fps)
    return ClipRecord(str(path), 0, str(path))
