"""Clips in TensorBoard: as animated pictures, which need no video library there."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slowfast.datasets.base import VideoDataset
from slowfast.datasets.batch import Batch
from slowfast.engine.predictions import Predictions
from slowfast.reports.board.choice import ALL, ClassChoice
from slowfast.reports.clips import contact_sheet, denormalize
from slowfast.reports.gradcam.draw import (
    Frames,
    captioned,
    frames_of,
    gif_bytes,
    side_by_side,
)
from slowfast.reports.gradcam.pictures import Picture, read_clips
from slowfast.utils.optional import require

logger = logging.getLogger(__name__)

WRONG, RIGHT = (150, 40, 40), (30, 110, 60)


def open_writer(folder: Path) -> Any:
    """A writer of an event file in ``folder``."""
    return require("torch.utils.tensorboard", extra="dev").SummaryWriter(str(folder))


def add_clip(writer: Any, tag: str, frames: Frames, fps: float, step: int = 0) -> None:
    """Adds frames uint8 ``(T, H, W, 3)`` as an animated GIF among the images."""
    proto = require("tensorboard.compat.proto.summary_pb2", extra="dev").Summary
    image = proto.Image(
        height=frames.shape[1],
        width=frames.shape[2],
        colorspace=3,
        encoded_image_string=gif_bytes(frames, fps),
    )
    value = proto.Value(tag=clean(tag), image=image)
    writer._get_file_writer().add_summary(proto(value=[value]), step)
    writer.flush()


def clean(tag: str) -> str:
    """A tag of characters that TensorBoard takes."""
    return re.sub(r"[^\w./-]+", "_", tag).lstrip("/")


@dataclass(frozen=True)
class ClipDrawer:
    """Adds the clips of a batch, as the model sees them, one row each.

    Attributes:
        mean: that was subtracted, RGB (``DATA.MEAN``).
        std: that was divided by (``DATA.STD``).
        reverse_channels: the model gets BGR (``DATA.REVERSE_INPUT_CHANNEL``).
    """

    mean: Sequence[float]
    std: Sequence[float]
    reverse_channels: bool = False

    def __call__(self, writer: Any, batch: Batch, step: int) -> None:
        """Writes ``Train/clips``."""
        clips = batch.clips[-1].detach().float()  # the pathway with all frames comes last
        if self.reverse_channels:
            clips = clips.flip(1)
        sheet = contact_sheet(denormalize(clips, self.mean, self.std))
        writer.add_image("Train/clips", sheet, step, dataformats="HWC")


@dataclass(frozen=True)
class GradCamBoard:
    """Adds ``Grad-CAM/<video>``: the frames of each pathway and what each task looks at.

    Attributes:
        writer: of TensorBoard.
        step: that it is filed under.
    """

    writer: Any
    step: int = 0

    def __call__(self, number: int, picture: Picture) -> None:
        """Adds a clip."""
        frames = side_by_side(picture.panels(), picture.columns, picture.head())
        add_clip(self.writer, clip_tag("Grad-CAM", picture), frames, picture.clip.fps, self.step)


def clip_tag(group: str, picture: Picture) -> str:
    """``<group>/<video>``, with the number of the view after the first."""
    view = f"_view{picture.clip.view}" if picture.clip.view else ""
    return f"{group}/{video_tag(picture.clip.name)}{view}"


def video_tag(name: str) -> str:
    """The last two parts of a video's name: ``left/3`` of ``/data/test/left/3.mp4``."""
    return "/".join([*Path(name).parts[-2:-1], Path(name).stem])


@dataclass(frozen=True)
class Mistake:
    """A video that was taken for another class.

    Attributes:
        name: of the video.
        task: in which.
        true: its class.
        predicted: the class it was taken for.
        score: of that.
    """

    name: str
    task: str
    true: int
    predicted: int
    score: float


def mistakes(predictions: Predictions, task: str, only: Sequence[int]) -> list[Mistake]:
    """Videos of the true classes ``only`` that a task takes for others, the surest first."""
    scores, labels = predictions.scores[task], predictions.labels[task]
    best = scores.argmax(axis=1)
    found = [
        Mistake(predictions.names[i], task, int(labels[i]), int(best[i]), float(scores[i, best[i]]))
        for i in np.flatnonzero(best != labels)
        if int(labels[i]) in set(only)
    ]
    return sorted(found, key=lambda mistake: (-mistake.score, mistake.name))


@dataclass(frozen=True)
class WrongPredictions:
    """Adds ``<tag>/<task>/<true class>/<video>`` for videos that were taken for another class.

    Attributes:
        dataset: builds the data that were tested, once there is something to show.
        choice: of true classes.
        tag: what they are filed under.
        limit: videos of a task at most, the surest mistakes first; 0: all.
    """

    dataset: Callable[[], VideoDataset]
    choice: ClassChoice = ALL
    tag: str = "Incorrectly classified videos."
    limit: int = 0

    def __call__(self, writer: Any, predictions: Predictions, step: int) -> None:
        """Adds those of every task with one label per video."""
        chosen: list[tuple[Mistake, list[str]]] = []
        for task, labels in predictions.labels.items():
            if labels.ndim > 1:
                continue
            names = self.choice.task_names(predictions, task)
            only = self.choice.groups(names).get("", [])
            found = mistakes(predictions, task, only)
            chosen += [(mistake, names) for mistake in found[: self.limit or None]]
        if not chosen:
            logger.info("no wrong predictions to show")
            return
        dataset = self.dataset()
        places = {record.name or record.path: i for i, record in enumerate(dataset.records)}
        for mistake, names in chosen:
            if mistake.name in places:
                self._add(writer, dataset, places[mistake.name], mistake, names, step)
            else:
                logger.warning("%s is not shown: no such test video", mistake.name)

    def _add(
        self,
        writer: Any,
        dataset: VideoDataset,
        number: int,
        mistake: Mistake,
        names: Sequence[str],
        step: int,
    ) -> None:
        for clip in read_clips(dataset, [number], []):
            lines = [
                f"predicted {names[mistake.predicted]} ({mistake.score:.2f})",
                f"true {names[mistake.true]}",
            ]
            frames = captioned(frames_of(clip.frames), lines, (WRONG, RIGHT))
            group = f"{self.tag}/{mistake.task}/{names[mistake.true]}"
            add_clip(writer, f"{group}/{video_tag(clip.name)}", frames, clip.fps, step)
