"""From the frames of a video or camera to what is seen in them, as they come."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slowfast.datasets.sampling import clip_size, segment_indices
from slowfast.datasets.transforms import EvalTransform
from slowfast.deploy.export.info import ExportInfo
from slowfast.deploy.frames import stack
from slowfast.deploy.recognition import Guess, Recognition, Scores, class_label, complete_names
from slowfast.deploy.runtime import Runtime
from slowfast.deploy.stream import StreamRunner
from slowfast.deploy.streamed import StreamPlan, as_taken
from slowfast.models.base import Preds
from slowfast.utils.errors import UserError

if TYPE_CHECKING:
    from yacs.config import CfgNode

__all__ = [
    "MODES",
    "Frame",
    "Guess",
    "Recognition",
    "Recognizer",
    "StreamRecognizer",
    "WindowRecognizer",
    "class_label",
    "open_recognizer",
]

Frame = NDArray[np.uint8]  # (H, W, 3), RGB

MODES = ("auto", "window", "stream")
DEFAULT_FPS = 30.0
SNAP_S = 0.00055
"""Times so near to multiples of the frame period mean these: Matroska's are in milliseconds."""
WINDOWS_PER_CLIP = 4


class Recognizer(ABC):
    """Takes the frames of one video or camera one after the other, and says what is in them.

    Frames are chosen by their time (the source may have any frame rate, also a changing one) and
    scaled and cropped as in a test.

    Args:
        info: of the model.
        class_names: task -> names by class id; tasks without an entry get ``class 17``.
        every_s: least seconds of the video from one prediction to the next; ``None``: the
            recognizer's own choice.

    Attributes:
        info: of the model.
        class_names: of every task.
        fps: of the source, nominal frames per second.
    """

    def __init__(
        self,
        info: ExportInfo,
        class_names: Mapping[str, Sequence[str]] | None = None,
        *,
        every_s: float | None = None,
    ) -> None:
        if every_s is not None and every_s < 0:
            raise UserError(f"every_s {every_s}: seconds between two predictions, 0 or more")
        self.info, self.every_s, self.fps = info, every_s, DEFAULT_FPS
        self.class_names = complete_names(info, class_names or info.class_names)
        self._transform = EvalTransform(
            crop_size=max(info.crop),
            short_side=info.short_side,
            resize=(info.resize[0], info.resize[1]) if info.resize else None,
        )
        self._last, self._steady = -math.inf, True

    def reset(self, fps: float = 0.0) -> None:
        """Forget all frames: another source begins.

        Args:
            fps: its nominal frames per second; 0: not known, as those of cameras (taken for 30).
        """
        self.fps = fps or DEFAULT_FPS
        self._last, self._steady = -math.inf, True

    @property
    @abstractmethod
    def window_s(self) -> float:
        """Seconds that a prediction is about."""

    @abstractmethod
    def push(self, frame: Frame, time_s: float, *, predict: bool = True) -> Recognition | None:
        """The next frame of the source.

        Args:
            frame: uint8 ``(H, W, 3)``, RGB, upright. Of any size; one that the decoder scaled to
                :meth:`decode_short_side` is only cropped.
            time_s: of the frame, not before that of the last one.
            predict: ``False``: take the frame and leave the prediction to a later one, where the
                computer is behind a camera.

        Returns:
            A prediction if one is due, else ``None``.
        """

    @abstractmethod
    def finish(self) -> Recognition | None:
        """What was not predicted yet when the source ends: its last frames, or a short video."""

    def wants(self, time_s: float) -> bool:
        """Whether :meth:`push` will look at the frame of that time; if not, it need not be given.

        Streams take a few frames per second only.
        """
        return True

    def decode_short_side(self, height: int, width: int) -> int | None:
        """Short side that frames of this size are scaled to before the crop; ``None``: unscaled."""
        short: int | None = self._transform.plan(height, width).short_side
        return short

    def crop(self, frame: Frame) -> Tensor:
        """The part of a frame that the model sees, RGB: uint8 ``(3, H, W)``, stored (H, W, 3)."""
        plan = self._transform.plan(*frame.shape[:2])
        pixels = self._transform.apply(frame[None], plan)[0, :, 0].permute(1, 2, 0)
        return torch.from_numpy(pixels.numpy().copy()).permute(2, 0, 1)

    def _place(self, time_s: float) -> float:
        """The time in frames of the source: whole, where the source has a steady rate."""
        place = time_s * self.fps
        self._steady &= abs(place - round(place)) < SNAP_S * self.fps
        place = round(place) if self._steady else place
        if place < self._last:
            raise ValueError(f"a frame of {time_s:.3f} s comes after a later one: reset() first")
        self._last = place
        return place

    def _scores(self, preds: Preds) -> Scores:
        """Of the first (and only) clip."""
        by_task = preds if isinstance(preds, dict) else {self.info.tasks[0]: preds}
        return {
            task: scores[0].detach().cpu().float().numpy().astype(np.float64)
            for task, scores in by_task.items()
        }


class Kept(NamedTuple):
    """A frame in the buffer. Attributes: in frames of the source; seconds; uint8 ``(3, H, W)``."""

    place: float
    time_s: float
    pixels: Tensor


class WindowRecognizer(Recognizer):
    """A clip model on sliding windows: clips that end at the newest frame.

    A window's frames are those that a test view that ends there has. The first one is predicted
    when it is full; of a video that is shorter, :meth:`finish` predicts the clip of a test, which
    repeats the last frame.

    Args:
        runtime: the clip model.
        class_names: see :class:`Recognizer`.
        every_s: seconds from window to window; ``None``: a quarter of a window. 0: at every frame.
        segment: the model was trained on clips spread over whole actions
            (``DATA.SAMPLING_MODE segment``): frames are the middles of equal parts of the window.
        window_s: length of those windows, where they are not as long as ``num_frames * stride``.
    """

    def __init__(
        self,
        runtime: Runtime,
        class_names: Mapping[str, Sequence[str]] | None = None,
        *,
        every_s: float | None = None,
        segment: bool = False,
        window_s: float = 0.0,
    ) -> None:
        if window_s and not segment:
            raise UserError(
                f"window_s {window_s}: this model knows frames at a fixed distance "
                "(DATA.SAMPLING_RATE); only one of DATA.SAMPLING_MODE segment takes other windows"
            )
        super().__init__(runtime.info, class_names, every_s=every_s)
        self.runtime, self.segment, self._wanted_s = runtime, segment, window_s
        self.reset()

    def reset(self, fps: float = 0.0) -> None:
        super().reset(fps)
        info, self._kept = self.info, deque[Kept]()
        size = clip_size(info.num_frames, info.stride, self.fps, info.target_fps)
        if self.segment:
            size = max(round(self._wanted_s * self.fps if self._wanted_s else size), 1)
        self._size = size
        every_s = self.window_s / WINDOWS_PER_CLIP if self.every_s is None else self.every_s
        self._every = every_s * self.fps
        self._due = math.inf
        self._predicted = -math.inf

    @property
    def window_s(self) -> float:
        return self._size / self.fps

    def push(self, frame: Frame, time_s: float, *, predict: bool = True) -> Recognition | None:
        place = self._place(time_s)
        if not self._kept:
            self._due = place + self._size - 1
        self._kept.append(Kept(place, time_s, self._as_taken(self.crop(frame))))
        oldest = place - (self._size - 1)
        while len(self._kept) > 1 and self._kept[1].place <= oldest:
            self._kept.popleft()
        if not predict or place < self._due - 1e-6:
            return None
        self._due += self._every
        if self._due <= place:  # some were missed
            self._due = place + self._every
        return self._recognize(place - (self._size - 1))

    def finish(self) -> Recognition | None:
        if not self._kept or self._predicted == self._last:
            return None
        start = max(self._last - (self._size - 1), self._kept[0].place)
        return self._recognize(start)

    def _offsets(self, size: float) -> Sequence[float]:
        """Of a window's frames from its first, in frames of the source.

        Args:
            size: frames of it that are there.
        """
        count = self.info.num_frames
        if self.segment:
            return segment_indices(count, max(round(size), 1), [0.5] * count)
        return [i * (self._size - 1) / max(count - 1, 1) for i in range(count)]

    def _as_taken(self, pixels: Tensor) -> Tensor:
        """In the runtime's order in memory: once per frame, not in every window."""
        if self.runtime.memory_format is torch.channels_last_3d:
            return pixels
        return torch.from_numpy(np.ascontiguousarray(pixels.numpy()))

    def _recognize(self, start: float) -> Recognition:
        """Of the window that begins there."""
        begin = time.perf_counter()
        places = [kept.place for kept in self._kept]
        # As frame_indices: the last frame that is not after the wanted moment.
        offsets = self._offsets(self._last - start + 1)
        rows = [max(bisect_right(places, start + offset + 1e-6) - 1, 0) for offset in offsets]
        chosen = [self._kept[row] for row in rows]
        clip = stack([kept.pixels for kept in chosen])
        scores = self._scores(self.runtime.predict_frames(clip))
        self._predicted = self._last
        return Recognition(
            start_s=chosen[0].time_s,
            end_s=chosen[-1].time_s,
            scores=scores,
            seconds=time.perf_counter() - begin,
            time_s=self._kept[-1].time_s,
        )


class StreamRecognizer(Recognizer):
    """A stream: every frame is computed once, and predicted after.

    Frames are taken at the distance of the training, ``stride / target_fps`` seconds: the first
    one at or after each moment of that grid. Predictions begin when ``plan.delay`` of them have
    come; of a shorter video, :meth:`finish` predicts as if it stood still at its end.

    Args:
        runner: the stream; of one video at a time.
        plan: what it takes.
        class_names: see :class:`Recognizer`.
        every_s: see :class:`Recognizer`; ``None`` or 0: after every frame that was taken.
    """

    def __init__(
        self,
        runner: StreamRunner,
        plan: StreamPlan,
        class_names: Mapping[str, Sequence[str]] | None = None,
        *,
        every_s: float | None = None,
    ) -> None:
        super().__init__(plan.clip, class_names, every_s=every_s)
        self.runner, self.plan = runner, plan
        self.reset()

    def reset(self, fps: float = 0.0) -> None:
        super().reset(fps)
        self.runner.reset(1)
        clip = self.plan.clip
        self._step = clip.stride * self.fps / (clip.target_fps or self.fps)  # in source frames
        self._due = self._predict_due = -math.inf  # at once
        self._times = deque[float](maxlen=self.plan.delay + 1)  # of the frames taken
        self._taken, self._predicted = 0, False
        self._waiting: list[Tensor] = []
        self._newest: Tensor | None = None

    @property
    def window_s(self) -> float:
        return self.plan.window * self._step / self.fps

    def wants(self, time_s: float) -> bool:
        return (time_s + SNAP_S) * self.fps > self._due

    def push(self, frame: Frame, time_s: float, *, predict: bool = True) -> Recognition | None:
        place = self._place(time_s)
        if place < self._due - 1e-6:
            return None
        if self._due == -math.inf:
            self._due = place
        self._newest = self.crop(frame)
        # One moment as a rule; several where the source is slower, or had a gap.
        moments = math.floor((place - self._due) / self._step + 1e-6) + 1
        self._due += moments * self._step
        found = None
        for _ in range(min(moments, self.plan.delay + self.plan.period)):
            found = self._take(self._newest, time_s) or found
        if found is None or not predict or place < self._predict_due - 1e-6:
            return None
        every = (self.every_s or 0) * self.fps
        self._predict_due += every
        if self._predict_due <= place:
            self._predict_due = place + every
        self._predicted = True
        return found

    def finish(self) -> Recognition | None:
        if self._predicted or self._newest is None:
            return None
        for _ in range(self.plan.delay + self.plan.period):
            found = self._take(self._newest, self._times[-1])
            if found:
                self._predicted = True
                return found
        return None

    def _take(self, pixels: Tensor, time_s: float) -> Recognition | None:
        """One frame more; ``None`` until there is something to say."""
        self._times.append(time_s)
        self._waiting.append(pixels)
        self._taken += 1
        if len(self._waiting) < self.plan.period:
            return None
        begin = time.perf_counter()
        preds = self.runner.predict(as_taken(self._waiting, self.plan))
        self._waiting = []
        if self._taken <= self.plan.delay:
            return None
        return Recognition(
            start_s=self._times[0],
            end_s=self._times[min(self.plan.window, len(self._times)) - 1],
            scores=self._scores(preds),
            seconds=time.perf_counter() - begin,
            time_s=time_s,
        )


def open_recognizer(
    path: Path | str,
    *,
    config: CfgNode | None = None,
    mode: str = "auto",
    threads: int = 0,
    precision: str = "f32",
    every_s: float | None = None,
    window_s: float = 0.0,
) -> Recognizer:
    """What recognises with the model in a file.

    Args:
        path: a checkpoint, ``.onnx``, ``.xml``, ``.pt2``, or an exported stream.
        config: see :func:`~slowfast.deploy.runtime.load_runtime`; ``None``: that in the file.
        mode: ``window``: clips; ``stream``: frame by frame, also of a checkpoint; ``auto``: what
            the file is for (a checkpoint trained with ``MODEL.STREAMING.ENABLE``: stream).
        threads: of one prediction; 0: the runtime's choice.
        precision: f32; bf16 and f16 of checkpoints and OpenVINO.
        every_s: see :class:`Recognizer`.
        window_s: see :class:`WindowRecognizer`.

    Raises:
        UserError: no such file, or of no use this way; says what to do.
    """
    from slowfast.deploy.recognize_build import build_recognizer

    return build_recognizer(
        config,
        Path(path),
        mode=mode,
        threads=threads,
        precision=precision,
        every_s=every_s,
        window_s=window_s,
    )
