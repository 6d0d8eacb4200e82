"""Combines the scores of a video's views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

METHODS = ("sum", "max")


class MissingViews(RuntimeError):  # noqa: N818 - says what is wrong
    """Not every view of every video was scored, so a number would be wrong."""


@dataclass
class _Video:
    """Running scores of one video."""

    scores: dict[str, NDArray[np.float64]]  # task -> (C,)
    labels: dict[str, Any]  # task -> class id or (C,)
    seen: NDArray[np.bool_]  # (num_views,)


class ViewMeter:
    """Running sum (or maximum) of the view scores of every video, in float64 on the CPU.

    Memory: one row of scores per video, however many views it has.

    Args:
        num_views: views per video; ``clip_id = video * num_views + view``.
        method: ``sum`` or ``max`` (``DATA.ENSEMBLE_METHOD``).
    """

    def __init__(self, num_views: int = 1, method: str = "sum") -> None:
        if method not in METHODS:
            raise ValueError(f"DATA.ENSEMBLE_METHOD is {method!r}; known: {', '.join(METHODS)}")
        self.num_views, self.method = num_views, method
        self._videos: dict[int, _Video] = {}

    def update(
        self,
        clip_ids: NDArray[np.int64],
        scores: dict[str, NDArray[np.float64]],
        labels: dict[str, NDArray[Any]],
    ) -> None:
        """Take in the scores of some views, in any order.

        Args:
            clip_ids: ``(B,)``.
            scores: task -> ``(B, C)``.
            labels: task -> ``(B,)`` or ``(B, C)``.

        Raises:
            ValueError: a score that is not finite, or a view that came twice.
        """
        for task, values in scores.items():
            if not np.isfinite(values).all():
                raise ValueError(f"the model's {task} scores are not finite: are its weights?")
        for i, clip_id in enumerate(clip_ids.tolist()):
            video, view = divmod(clip_id, self.num_views)
            seen = np.zeros(self.num_views, dtype=np.bool_)
            seen[view] = True
            row = {task: values[i] for task, values in scores.items()}
            self._add(video, _Video(row, {task: v[i] for task, v in labels.items()}, seen))

    def merge(self, other: ViewMeter) -> None:
        """Take in what another process saw."""
        for video, row in other._videos.items():
            self._add(video, row)

    def _add(self, video: int, new: _Video) -> None:
        old = self._videos.get(video)
        if old is None:
            scores = {task: row.astype(np.float64, copy=True) for task, row in new.scores.items()}
            self._videos[video] = _Video(scores, new.labels, new.seen)
            return
        if (old.seen & new.seen).any():
            raise ValueError(
                f"a view of video {video} came twice: the sampler must not repeat samples to "
                "give every process an equal share"
            )
        combine = np.add if self.method == "sum" else np.maximum
        for task, row in new.scores.items():
            combine(old.scores[task], row, out=old.scores[task])
        old.seen |= new.seen

    def result(
        self, names: Sequence[str] | None = None, num_videos: int | None = None
    ) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[Any]], list[str]]:
        """Scores ``(N, C)`` and labels per task, and names, in video order.

        Args:
            names: of all videos, for the result and for messages.
            num_videos: how many there must be; default: as many as names, or the highest seen.

        Raises:
            MissingViews: names the videos that lack a view.
        """
        if num_videos is None:
            num_videos = len(names) if names is not None else max(self._videos, default=-1) + 1
        names = list(names) if names is not None else [f"video {i}" for i in range(num_videos)]
        self._check_complete(names, num_videos)
        rows = [self._videos[i] for i in range(num_videos)]
        scale = 1.0 / self.num_views if self.method == "sum" else 1.0
        scores = {
            task: (np.stack([row.scores[task] for row in rows]) * scale).astype(np.float32)
            for task in rows[0].scores
        }
        labels = {task: np.stack([row.labels[task] for row in rows]) for task in rows[0].labels}
        return scores, labels, names

    def _check_complete(self, names: Sequence[str], num_videos: int) -> None:
        if not num_videos:
            raise MissingViews("the split has no video: nothing to evaluate")
        seen = {video: int(row.seen.sum()) for video, row in self._videos.items()}
        lacking = [i for i in range(num_videos) if seen.get(i, 0) < self.num_views]
        if lacking:
            some = ", ".join(
                f"{names[i]} (id {i}: {seen.get(i, 0)} of {self.num_views} views)"
                for i in lacking[:10]
            )
            more = f" and {len(lacking) - 10} more" if len(lacking) > 10 else ""
            raise MissingViews(
                f"{len(lacking)} of {num_videos} videos were not scored in full: {some}{more}. "
                "No result is reported, since it would be of other videos than those listed"
            )
