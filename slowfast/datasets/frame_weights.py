"""Which frames of untrimmed, noisy videos show what their label says, learnt while training.

Every prediction counts for all frames it saw: its confidence is added where it was right, taken
off where it was wrong. Clips are then drawn where the sum is high, and never where it is negative.
As in OpenVINO Training Extensions' action recognition.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

Weights = NDArray[np.float32]


class Verdict(NamedTuple):
    """What one prediction says about the frames it saw.

    Attributes:
        video: index of the record.
        first: first frame seen, within the part of the video that counts.
        stop: the frame after the last one seen.
        total: frames of that part.
        value: confidence, negative where the prediction was wrong.
    """

    video: int
    first: int
    stop: int
    total: int
    value: float


class FrameWeights:
    """The sums, per video and frame.

    Args:
        coverage: share of its frames that must have been seen before a video is judged by them.
    """

    def __init__(self, coverage: float = 0.8) -> None:
        self.coverage = coverage
        self._sums: dict[int, Weights] = {}
        self._seen: dict[int, NDArray[np.bool_]] = {}

    def add(self, verdict: Verdict) -> None:
        """Count one prediction."""
        video, first, stop, total, value = verdict
        if video not in self._sums or len(self._sums[video]) != total:
            self._sums[video] = np.zeros(total, np.float32)
            self._seen[video] = np.zeros(total, np.bool_)
        self._sums[video][first:stop] += np.float32(value)
        self._seen[video][first:stop] = True

    def get(self, video: int) -> Weights | None:
        """What drawing a clip weighs each frame by, at least 0; ``None``: all frames alike.

        ``1 + sum`` where the sum is not negative, else 0; ``None`` also until enough has been seen.
        """
        if video not in self._sums or not self._is_covered(video):
            return None
        sums = self._sums[video]
        return np.where(sums >= 0, 1 + sums, 0).astype(np.float32)

    def _is_covered(self, video: int) -> bool:
        return bool(self._seen[video].mean() > self.coverage)

    @property
    def num_judged(self) -> int:
        """Videos of which enough has been seen."""
        return sum(map(self._is_covered, self._seen))

    def state_dict(self) -> dict[str, Any]:
        """A few tensors, however many videos there are."""
        videos = sorted(self._sums)
        sums = [self._sums[video] for video in videos]
        seen = [self._seen[video] for video in videos]
        return {
            "videos": torch.tensor(videos, dtype=torch.int64),
            "lengths": torch.tensor([len(part) for part in sums], dtype=torch.int64),
            "sums": torch.from_numpy(np.concatenate([*sums, np.zeros(0, np.float32)])),
            "seen": torch.from_numpy(np.concatenate([*seen, np.zeros(0, np.bool_)])),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`state_dict` gave."""
        lengths = state["lengths"].tolist()
        sums, seen = (torch.split(state[name], lengths) for name in ("sums", "seen"))
        videos = state["videos"].tolist()
        self._sums = {video: part.numpy().copy() for video, part in zip(videos, sums, strict=True)}
        self._seen = {video: part.numpy().copy() for video, part in zip(videos, seen, strict=True)}
