"""Windows of a stream or a video that share frames, each frame computed once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from itertools import pairwise
from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from slowfast.models.base import Preds

Key = TypeVar("Key", bound=Hashable)


@runtime_checkable
class FrameModel(Protocol):
    """A clip model that looks at single frames first, then at all frames of the clip."""

    training: bool

    def frame_features(self, frames: Tensor) -> Tensor:
        """``(B, 3, H, W)`` -> ``(B, ...)``."""

    def window_features(self, frames: Tensor) -> Tensor:
        """``(B, T, ...)``, what :meth:`frame_features` gave for T frames -> ``(B, features)``."""

    def forward_head(self, features: Tensor) -> Preds:
        """``(B, features)`` -> logits."""


class SlidingWindow:
    """Predictions on the last frames of a stream; a new frame costs one pass of the backbone.

    Before the window is full, its beginning repeats the first frame, as sampling does at the
    start of a video.

    Args:
        model: in evaluation mode.
        num_frames: frames of a window, as in training.
        stride: distance of a window's frames in the stream (``DATA.SAMPLING_RATE``).

    Example:
        >>> from slowfast.models.resnet_lstm import ResNetLSTM
        >>> window = SlidingWindow(ResNetLSTM(num_classes=5, depth=18).eval(), num_frames=4)
        >>> tuple(window.push(torch.zeros(1, 3, 32, 32)).shape)
        (1, 5)
    """

    def __init__(self, model: FrameModel, *, num_frames: int, stride: int = 1) -> None:
        if model.training:
            raise ValueError(
                "a sliding window needs fixed weights and no dropout: call model.eval() first"
            )
        self.model = model
        self.stride = stride
        self.num_frames = num_frames
        self._entries: deque[Tensor] = deque(maxlen=self._span())

    def _span(self) -> int:
        """Stream positions that a window reaches over."""
        return (self.num_frames - 1) * self.stride + 1

    @torch.no_grad()
    def push(self, frame: Tensor) -> Preds:
        """Logits ``(B, num_classes)``, of every task, for the window that ends with ``frame``.

        Args:
            frame: ``(B, 3, H, W)``, or ``(3, H, W)`` for one stream, normalised as in training.
        """
        frame = frame.unsqueeze(0) if frame.dim() == 3 else frame
        entry = self._entry(frame)
        if not self._entries:
            self._entries.extend([entry] * self._span())
        self._entries.append(entry)
        window = torch.stack(list(self._entries)[:: self.stride], dim=1)
        return self.model.forward_head(self.model.window_features(window))

    def _entry(self, frame: Tensor) -> Tensor:
        """What is kept of a frame."""
        return self.model.frame_features(frame)

    def reset(self) -> None:
        """Forget the stream."""
        self._entries.clear()


@runtime_checkable
class PairModel(FrameModel, Protocol):
    """A frame model that compares consecutive frames before it looks at the clip."""

    def pair_features(self, before: Tensor, after: Tensor) -> Tensor:
        """What :meth:`frame_features` gave for a frame and the next, ``(B, ...)`` each."""


class CachedWindows:
    """Features of the windows of one video; what windows share is computed once.

    Frames that no later window needs are forgotten, so memory depends on the windows of one call,
    not on the length of the video, as long as windows come in the order of time.

    Args:
        model: in evaluation mode.
        load: frame numbers -> frames ``(N, 3, H, W)``, normalised as in training.
        batch: frames, pairs or windows computed at a time.

    Example:
        >>> from slowfast.models.resnet_lstm import ResNetLSTM
        >>> model = ResNetLSTM(num_classes=5, depth=18, hidden_size=8).eval()
        >>> features = CachedWindows(model, lambda numbers: torch.zeros(len(numbers), 3, 32, 32))
        >>> tuple(features([[0, 1, 2], [1, 2, 3]]).shape)
        (2, 16)
    """

    def __init__(
        self, model: FrameModel, load: Callable[[list[int]], Tensor], *, batch: int = 16
    ) -> None:
        if model.training:
            raise ValueError(
                "windows share frames only where nothing is random: call model.eval() first"
            )
        self.model, self.load, self.batch = model, load, batch
        self._frames: dict[int, Tensor] = {}
        self._pairs: dict[tuple[int, int], Tensor] = {}

    @torch.no_grad()
    def __call__(self, windows: Sequence[Sequence[int]]) -> Tensor:
        """Frame numbers of K windows -> ``(K, num_features)``."""
        needed = sorted({number for window in windows for number in window})
        self._forget(needed[0])
        self._fill(self._frames, needed, lambda keys: self.model.frame_features(self.load(keys)))
        if isinstance(self.model, PairModel):
            pairs = sorted({pair for window in windows for pair in pairwise(window)})
            self._fill(self._pairs, pairs, self._compare)
            entries = [torch.stack([self._pairs[p] for p in pairwise(w)]) for w in windows]
        else:
            entries = [torch.stack([self._frames[number] for number in w]) for w in windows]
        parts = [entries[i : i + self.batch] for i in range(0, len(entries), self.batch)]
        return torch.cat([self.model.window_features(torch.stack(part)) for part in parts])

    def _forget(self, first: int) -> None:
        self._frames = {key: value for key, value in self._frames.items() if key >= first}
        self._pairs = {key: value for key, value in self._pairs.items() if key[0] >= first}

    def _fill(
        self, cache: dict[Key, Tensor], keys: Sequence[Key], compute: Callable[[list[Key]], Tensor]
    ) -> None:
        missing = [key for key in keys if key not in cache]
        for start in range(0, len(missing), self.batch):
            part = missing[start : start + self.batch]
            cache.update(zip(part, compute(part).unbind(), strict=True))

    def _compare(self, pairs: list[tuple[int, int]]) -> Tensor:
        assert isinstance(self.model, PairModel)
        before, after = (torch.stack([self._frames[p[i]] for p in pairs]) for i in (0, 1))
        return self.model.pair_features(before, after)
