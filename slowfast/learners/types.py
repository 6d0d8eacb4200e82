"""What goes into a learner and what comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slowfast.utils.errors import UserError

Pixels = Tensor | NDArray[Any]
DTYPES = (torch.uint8, torch.float32, torch.float16, torch.bfloat16, torch.float64)


class MediaError(UserError, ValueError):
    """Pixels that are no image or video; the text says what is wrong with them."""


def _checked(data: Pixels, axes: str) -> Tensor:
    """``data`` as a tensor with colours first."""
    tensor = torch.from_numpy(data) if isinstance(data, np.ndarray) else data
    if not isinstance(tensor, Tensor) or tensor.dtype not in DTYPES:
        kind = getattr(tensor, "dtype", type(tensor).__name__)
        raise MediaError(f"pixels are uint8 or floating-point tensors or arrays, got {kind}")
    if tensor.ndim != len(axes.split(",")) or tensor.shape[0] != 3 or not tensor.numel():
        raise MediaError(f"expected pixels ({axes}), got {tuple(tensor.shape)}")
    return tensor


class Image:
    """A picture.

    Args:
        data: RGB ``(3, H, W)``: uint8, of any size; or floating point, normalised as in training.

    Attributes:
        data: as a tensor.
    """

    def __init__(self, data: Pixels) -> None:
        self.data = _checked(data, "3, H, W")

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """The picture in a file (JPEG, PNG, ...), uint8.

        Raises:
            MediaError: it cannot be read.
        """
        from PIL import Image as Files

        try:
            with Files.open(path) as file:
                pixels = np.array(file.convert("RGB"))
        except OSError as error:
            raise MediaError(f"{path} cannot be read as a picture: {error}") from error
        return cls(torch.from_numpy(pixels).permute(2, 0, 1))

    def numpy(self) -> NDArray[Any]:
        """``data`` as an array."""
        return self.data.cpu().numpy()


class Video:
    """A clip, or a whole video.

    Args:
        data: RGB ``(3, T, H, W)``: uint8, of any size; or floating point, normalised as in
            training.
        fps: frames per second. Where they are known, learners choose frames as far apart as in
            training; otherwise all frames are what they get.

    Attributes:
        data: as a tensor.
        fps: likewise.
    """

    def __init__(self, data: Pixels, *, fps: float | None = None) -> None:
        self.data = _checked(data, "3, T, H, W")
        if fps is not None and not fps > 0:
            raise MediaError(f"fps is {fps}: a video has more than 0 frames per second")
        self.fps = fps

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        start_s: float = 0.0,
        end_s: float | None = None,
        short_side: int | None = None,
    ) -> Self:
        """The video in a file, uint8; all of its frames are held in memory.

        Args:
            path: a video file.
            start_s: first moment wanted, seconds.
            end_s: first moment not wanted any more; ``None``: the end.
            short_side: scale frames to it, pixels; ``None``: as they are.

        Raises:
            VideoError: it cannot be read.
            MediaError: there is nothing between the two moments.
        """
        from slowfast.datasets.decode import open_video

        with open_video(str(path)) as reader:
            times = np.asarray(reader.times)
            wanted = (times >= start_s - 1e-6) & (times < (np.inf if end_s is None else end_s))
            numbers = np.flatnonzero(wanted).tolist()
            if not numbers:
                raise MediaError(
                    f"{path} has no frame from {start_s} s to {end_s} s: it ends at {times[-1]:.2f}"
                )
            frames = torch.as_tensor(reader.read(numbers, short_side))
            return cls(frames.permute(3, 0, 1, 2), fps=reader.fps)

    def __len__(self) -> int:
        """Number of frames."""
        return self.data.shape[1]

    def numpy(self) -> NDArray[Any]:
        """``data`` as an array."""
        return self.data.cpu().numpy()


class Category:
    """What a learner sees in a clip.

    Args:
        prediction: id of the best class.
        confidence: score of every class, ``(num_classes,)``.
        description: name of the best class; empty where it is not known.

    Example:
        >>> category = Category(1, torch.tensor([0.2, 0.8]), "waving")
        >>> category.data, category.description, float(category.confidence.max()) > 0.7
        (1, 'waving', True)
    """

    def __init__(self, prediction: int, confidence: Tensor, description: str = "") -> None:
        self.prediction, self.confidence, self.description = prediction, confidence, description

    @property
    def data(self) -> int:
        """The same as ``prediction``."""
        return self.prediction

    def __repr__(self) -> str:
        score = float(self.confidence[self.prediction])
        name = f" {self.description!r}" if self.description else ""
        return f"Category({self.prediction}{name}, {score:.3f})"
