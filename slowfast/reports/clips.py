"""Sample clips as one picture or as a GIF: what the model sees after augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from slowfast.utils.files import write_atomically

Image = npt.NDArray[np.uint8]


def contact_sheet(clips: Tensor, *, max_clips: int = 8, frames_per_clip: int = 8) -> Image:
    """A picture with one row per clip and its frames, evenly spaced, from left to right.

    Args:
        clips: uint8 ``(B, 3, T, H, W)``.
        max_clips: rows at most.
        frames_per_clip: columns at most.

    Returns:
        uint8 RGB ``(rows * H, columns * W, 3)``.
    """
    _check(clips)
    num_frames = clips.shape[2]
    columns = min(frames_per_clip, num_frames)
    chosen = torch.linspace(0, num_frames - 1, columns).round().long()
    tiles = clips[:max_clips, :, chosen].permute(0, 3, 2, 4, 1)  # (rows, H, columns, W, 3)
    rows, height, _, width, _ = tiles.shape
    return np.ascontiguousarray(tiles.reshape(rows * height, columns * width, 3).cpu().numpy())


def denormalize(clips: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Undoes ``(x / 255 - mean) / std``: float ``(B, 3, T, H, W)`` -> uint8 of the same shape."""
    shape = (1, -1, 1, 1, 1)
    scale = torch.tensor(std, device=clips.device).view(shape)
    shift = torch.tensor(mean, device=clips.device).view(shape)
    return ((clips.float() * scale + shift) * 255).round().clamp(0, 255).to(torch.uint8)


def save_gif(clip: Tensor, path: Path | str, *, fps: float = 8.0) -> Path:
    """Writes one uint8 clip ``(3, T, H, W)`` as an endless GIF."""
    from PIL import Image as PilImage

    _check(clip.unsqueeze(0))
    target = Path(path)
    frames = [PilImage.fromarray(f) for f in clip.permute(1, 2, 3, 0).contiguous().cpu().numpy()]
    moving = {"save_all": True, "append_images": frames[1:], "duration": round(1000 / fps)}
    write_atomically(target, lambda file: frames[0].save(file, "GIF", loop=0, **moving))
    return target


def _check(clips: Tensor) -> None:
    if clips.dtype != torch.uint8 or clips.dim() != 5 or clips.shape[1] != 3:
        raise ValueError(
            f"clips are {clips.dtype} of shape {tuple(clips.shape)}: "
            "expected uint8 (B, 3, T, H, W); use denormalize() for what a model gets"
        )
