"""Sliding windows over a stream of frames, each frame computed once."""

from __future__ import annotations

from collections import deque
from typing import Protocol

import torch
from torch import Tensor

from slowfast.models.base import Preds


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
