"""From what people hand to ``infer`` to what a network takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from slowfast.datasets.pathways import BatchTransform, build_batch_transform
from slowfast.datasets.sampling import ClipSampler
from slowfast.datasets.transforms import EvalTransform, build_eval_transform
from slowfast.learners.learner import LearnerError
from slowfast.learners.types import Image, Video

if TYPE_CHECKING:
    from yacs.config import CfgNode


@dataclass(frozen=True)
class Inputs:
    """How pictures and clips are brought to a network, as in evaluation.

    Attributes:
        sampler: which frames of a whole video.
        transform: which part of them.
        normalise: uint8 -> float.
    """

    sampler: ClipSampler
    transform: EvalTransform
    normalise: BatchTransform

    def clips(self, batch: Any) -> Tensor:
        """Normalised clips ``(B, 3, T, H, W)``.

        Args:
            batch: :class:`Video`, several of them, or a tensor ``(3, T, H, W)`` or
                ``(B, 3, T, H, W)``. Of a video with a frame rate the clip in its middle is taken.

        Raises:
            LearnerError: something else, or clips of unlike shapes.
        """
        videos = as_list(batch, Video, axes=5)
        return joined([self._ready(self._clip(video)) for video in videos])

    def steps(self, batch: Any) -> Tensor:
        """Normalised frames in the order they come, ``(T, B, 3, H, W)``.

        Args:
            batch: :class:`Image`, several of them (a frame of each stream), a tensor ``(3, H, W)``
                or ``(B, 3, H, W)``; or whole clips, as of :meth:`clips`, whose frames are taken
                one after the other.

        Raises:
            LearnerError: something else, or frames of unlike shapes.
        """
        several = isinstance(batch, Sequence) and not isinstance(batch, str | bytes) and batch
        first = batch[0] if several else batch
        axes = getattr(first, "ndim", 0) + bool(several)
        if isinstance(first, Video) or axes == 5:
            videos = as_list(batch, Video, axes=5)
            return joined([self._ready(self._frames(video)) for video in videos]).movedim(2, 0)
        images = as_list(batch, Image, axes=4)
        return joined([self._ready(image.data[:, None]) for image in images]).movedim(2, 0)

    def _clip(self, video: Video) -> Tensor:
        if video.fps is None:
            return video.data
        (numbers,) = self.sampler.clips(len(video), video.fps)
        return video.data[:, numbers]

    def _frames(self, video: Video) -> Tensor:
        """As far apart as in training, where the frame rate is known."""
        if video.fps is None:
            return video.data
        stride = self.sampler.stride * video.fps / (self.sampler.target_fps or video.fps)
        numbers = np.arange(0, len(video) - 1e-6, max(stride, 1.0))
        return video.data[:, torch.from_numpy(numbers.round().clip(max=len(video) - 1)).long()]

    def _ready(self, clip: Tensor) -> Tensor:
        """``(3, T, H, W)`` normalised; uint8 ones are scaled and cropped, unless they fit."""
        if clip.dtype != torch.uint8:
            return clip.float()
        size = self.transform.crop_size
        if clip.shape[-2:] != (size, size):
            frames = clip.permute(1, 2, 3, 0).contiguous()  # (T, H, W, 3)
            plan = self.transform.plan(frames.shape[1], frames.shape[2])
            clip = self.transform.apply(frames, plan)[0]
        return self.normalise.normalise(clip[None])[0]


def as_list(batch: Any, kind: type[Any], axes: int) -> list[Any]:
    """``batch`` as a list of ``kind``.

    Args:
        batch: one, a list or tuple of them, or a tensor or array of pixels.
        kind: :class:`Video` or :class:`Image`.
        axes: of a tensor of several.

    Raises:
        LearnerError: something else, or nothing.
    """
    if isinstance(batch, np.ndarray):
        batch = torch.from_numpy(batch)
    if isinstance(batch, Tensor) and batch.ndim == axes:
        batch = list(batch)
    items = list(batch) if isinstance(batch, list | tuple) else [batch]
    if not items:
        raise LearnerError(f"nothing to infer: the batch has no {kind.__name__.lower()}")
    pixels = (Tensor, np.ndarray)
    items = [
        kind(item) if isinstance(item, pixels) and item.ndim == axes - 1 else item for item in items
    ]
    wrong = next((item for item in items if not isinstance(item, kind)), None)
    if wrong is not None:
        shape = f" of shape {tuple(wrong.shape)}" if hasattr(wrong, "shape") else ""
        one = "(3, T, H, W)" if axes == 5 else "(3, H, W)"
        raise LearnerError(
            f"cannot infer on a {type(wrong).__name__}{shape}: give {kind.__name__}, a list of "
            f"them, or a tensor {one} or (B, {one[1:]}"
        )
    return items


def joined(clips: Sequence[Tensor]) -> Tensor:
    """One tensor of several.

    Raises:
        LearnerError: of unlike shapes.
    """
    shapes = sorted({tuple(clip.shape) for clip in clips})
    if len(shapes) > 1:
        raise LearnerError(f"one batch has elements of one shape, got {shapes}: infer one by one")
    return torch.stack(list(clips))


def build_inputs(cfg: CfgNode) -> Inputs:
    """What brings pictures and clips to the network that ``cfg`` describes."""
    return Inputs(
        ClipSampler.from_cfg(cfg, "val"),
        build_eval_transform(cfg, "val"),
        build_batch_transform(cfg, train=False),
    )
