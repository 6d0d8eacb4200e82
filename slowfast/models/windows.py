"""Windows of a video that share frames, each frame computed once.

Windows of a live stream: :func:`slowfast.models.streaming.to_streaming`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from slowfast.models.base import Preds

Key = TypeVar("Key", bound=int | tuple[int, int])


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


@runtime_checkable
class PairModel(FrameModel, Protocol):
    """A frame model that compares consecutive frames before it looks at the clip.

    Its ``window_features`` takes what :meth:`pair_features` gave for the T - 1 pairs.
    """

    def pair_features(self, before: Tensor, after: Tensor) -> Tensor:
        """What :meth:`frame_features` gave for a frame and the next, ``(B, ...)`` each."""


def check_fixed(model: FrameModel) -> None:
    """Raise where frames cannot be shared by windows.

    Raises:
        ValueError: the model is in training mode.
    """
    if model.training:
        raise ValueError(
            "windows share frames only where weights are fixed and nothing is random: call "
            "model.eval() first"
        )


class Kept(Generic[Key]):
    """Tensors by frame number, or by pair of numbers, each computed once.

    Numbers before the first of a request are forgotten: what is kept depends on the requests, not
    on the length of the video, as long as they come in the order of time.

    Args:
        compute: keys -> a tensor per key, stacked.
        batch: keys computed at a time.
    """

    def __init__(self, compute: Callable[[list[Key]], Tensor], batch: int) -> None:
        self.compute = compute
        self.batch = batch
        self.values: dict[Key, Tensor] = {}

    def fetch(self, keys: Sequence[Key]) -> None:
        """Compute those that are not there, in their order."""
        needed: list[Any] = sorted(set(keys))
        self.values = {key: value for key, value in self.values.items() if key >= needed[0]}
        missing = [key for key in needed if key not in self.values]
        for start in range(0, len(missing), self.batch):
            part = missing[start : start + self.batch]
            self.values.update(zip(part, self.compute(part).unbind(), strict=True))

    def stack(self, keys: Sequence[Key], dim: int = 0) -> Tensor:
        """Tensors that have been fetched, along a new axis."""
        return torch.stack([self.values[key] for key in keys], dim=dim)


class CachedWindows:
    """Features of the windows of one video; what windows share is computed once.

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
        check_fixed(model)
        self.model, self.batch = model, batch
        self._frames = Kept[int](lambda numbers: model.frame_features(load(numbers)), batch)
        self._pairs = Kept[tuple[int, int]](self._compare, batch)

    @torch.no_grad()
    def __call__(self, windows: Sequence[Sequence[int]]) -> Tensor:
        """Frame numbers of K windows -> ``(K, num_features)``."""
        self._frames.fetch([number for window in windows for number in window])
        if isinstance(self.model, PairModel):
            self._pairs.fetch([pair for window in windows for pair in pairwise(window)])
            entries = [self._pairs.stack(list(pairwise(window))) for window in windows]
        else:
            entries = [self._frames.stack(window) for window in windows]
        parts = [entries[i : i + self.batch] for i in range(0, len(entries), self.batch)]
        return torch.cat([self.model.window_features(torch.stack(part)) for part in parts])

    def _compare(self, pairs: list[tuple[int, int]]) -> Tensor:
        assert isinstance(self.model, PairModel)
        before, after = (self._frames.stack(numbers) for numbers in zip(*pairs, strict=True))
        return self.model.pair_features(before, after)
