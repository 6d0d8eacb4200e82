"""Sample videos with what the networks say about them."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from slowfast.datasets.base import ClipRecord, open_record
from slowfast.datasets.build import build_family
from slowfast.engine.predictions import Predictions
from slowfast.reports.page.blocks import Block, Clip, Clips, Missing
from slowfast.reports.page.pictures import TEST
from slowfast.reports.runs.facts import Runs, Variant
from slowfast.utils.errors import BUILTIN_USER_ERRORS, UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode

logger = logging.getLogger(__name__)

FRAMES = 6  # of a clip
SHORT_SIDE = 112  # pixels
QUALITY = 72
WANTED = (
    ("lost by the compressed network", 3),
    ("won by the compressed network", 1),
    ("recognised", 2),
    ("missed", 2),
)


def clip_blocks(runs: Runs, teacher: Variant | None, compressed: Variant | None) -> list[Block]:
    """A few test videos of each kind: lost by compressing, won, recognised, missed."""
    tested = [v for v in (teacher, compressed) if v is not None and v.predictions is not None]
    tested = tested or [v for v in runs.variants if v.predictions is not None][:1]
    command = f"{TEST} TEST.SAVE_RESULTS_PATH preds"
    if not tested:
        return [Missing("No predictions of single videos in these folders: no clips.", command)]
    predictions = [v.predictions for v in tested if v.predictions is not None]
    task = next((t for t in predictions[0].labels if predictions[0].labels[t].ndim == 1), None)
    config = next((v.config for v in tested if v.config is not None), None)
    if task is None or config is None:
        return [Missing("Neither labels nor a config beside the predictions: no clips.", command)]
    chosen = choose_videos(predictions, task)
    try:
        frames = build_frames(config, [name for name, _ in chosen])
    except (UserError, RuntimeError, *BUILTIN_USER_ERRORS) as error:
        return [Missing(f"The test videos cannot be read here: {error}")]
    clips = []
    for name, why in chosen:
        if name not in frames:
            continue
        place = predictions[0].names.index(name)
        truth = _name(predictions[0], task, int(predictions[0].labels[task][place]))
        guesses = [
            _guess(variant, task, name)
            for variant in tested
            if variant.predictions is not None and name in variant.predictions.names
        ]
        clips.append(Clip(frames[name], name, truth, guesses, why))
    if not clips:
        return [Missing("None of the tested videos is where the config says: no clips.")]
    return [Clips(clips)]


def choose_videos(predictions: Sequence[Predictions], task: str) -> list[tuple[str, str]]:
    """Names of videos and why each is shown: the most certain ones of every kind.

    Args:
        predictions: of the teacher and the compressed network, or of one network.
        task: whose classes count.
    """
    whole = predictions[0]
    right = [_right(p, task) for p in predictions]
    sure = [dict(zip(p.names, p.scores[task].max(axis=1), strict=True)) for p in predictions]
    found: list[tuple[str, str]] = []
    for why, count in WANTED:
        names = [
            name
            for name in whole.names
            if all(name in known for known in right)
            and _kind([known[name] for known in right]) == why
        ]
        names.sort(key=lambda name: (-float(sure[-1][name]), name))
        found += [(name, why) for name in _of_many_classes(names, whole, task)[:count]]
    return found


def _right(predictions: Predictions, task: str) -> dict[str, bool]:
    hits = predictions.scores[task].argmax(axis=1) == predictions.labels[task]
    return dict(zip(predictions.names, hits.tolist(), strict=True))


def _kind(right: Sequence[bool]) -> str:
    """What became of a video from the first network to the last."""
    if right[0] == right[-1]:
        return "recognised" if right[0] else "missed"
    return "lost by the compressed network" if right[0] else "won by the compressed network"


def _of_many_classes(names: list[str], predictions: Predictions, task: str) -> list[str]:
    """The first of every class, then the others."""
    labels = dict(zip(predictions.names, predictions.labels[task].tolist(), strict=True))
    seen: set[int] = set()
    first: list[str] = []
    rest: list[str] = []
    for name in names:
        (rest if labels[name] in seen else first).append(name)
        seen.add(labels[name])
    return first + rest


def _name(predictions: Predictions, task: str, number: int) -> str:
    names = predictions.class_names.get(task)
    return (names[number] if names else f"class {number}").replace("_", " ")


def _guess(variant: Variant, task: str, name: str) -> tuple[str, str, float | None, bool]:
    predictions = variant.predictions
    assert predictions is not None
    place = predictions.names.index(name)
    scores = predictions.scores[task][place]
    best = int(scores.argmax())
    score = float(np.exp(predictions.log_probabilities(task)[place, best]))
    is_right = best == int(predictions.labels[task][place])
    return variant.name, _name(predictions, task, best), min(1.0, score), is_right


def build_frames(cfg: CfgNode, names: Sequence[str]) -> dict[str, list[bytes]]:
    """A few frames of test videos as JPEG files, by name; videos that do not open are left out."""
    records: Mapping[str, ClipRecord] = {
        record.name or record.path: record for record in build_family(cfg, "test").records("test")
    }
    found = {}
    for name in names:
        if name in records:
            try:
                found[name] = _read(records[name], cfg.DATA.DECODING_BACKEND)
            except (UserError, OSError, ValueError) as error:
                logger.warning("%s is not shown: %s", name, error)
    return found


def _read(record: ClipRecord, backend: str) -> list[bytes]:
    with open_record(record, backend=backend) as reader:
        first, end = 0, reader.num_frames
        if record.start_frame is not None or record.end_frame is not None:
            first = record.start_frame or 0
            end = min(end, (record.end_frame if record.end_frame is not None else end) + 1)
        elif record.start_s or record.end_s is not None:
            first = min(end - 1, int(record.start_s * reader.fps))
            end = min(end, int((record.end_s or end / reader.fps) * reader.fps))
        places = np.linspace(first, max(first, end - 1), FRAMES).round().astype(int).tolist()
        return [_jpeg(frame) for frame in reader.read(places, SHORT_SIDE)]


def _jpeg(frame: Any) -> bytes:
    from PIL import Image

    height, width = frame.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    image = Image.fromarray(np.ascontiguousarray(frame[top : top + side, left : left + side]))
    target = io.BytesIO()
    image.save(target, "JPEG", quality=QUALITY, optimize=True)
    return target.getvalue()
