"""Between uint8 frames and the normalised clips of a model, on the CPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from slowfast.deploy.export.info import ExportInfo

LAST, FIRST = (0, 2, 3, 4, 1), (0, 4, 1, 2, 3)
"""From ``(B, C, T, H, W)`` to ``(B, T, H, W, C)``, and back."""


def stack(frames: Sequence[Tensor]) -> Tensor:
    """Frames as one clip, ``(1, C, T, H, W)``, in their order in memory.

    Args:
        frames: ``(C, H, W)``, stored like that or as ``(H, W, C)``; on the CPU.
    """
    if frames[0].is_contiguous():
        return torch.from_numpy(np.stack([frame.numpy() for frame in frames], axis=1))[None]
    rows = np.stack([frame.permute(1, 2, 0).numpy() for frame in frames])
    return torch.from_numpy(rows).permute(3, 0, 1, 2)[None]


def take(clips: Tensor, indices: Sequence[int]) -> Tensor:
    """Some frames of clips ``(B, C, T, H, W)`` on the CPU; memory layouts kept."""
    if list(indices) == list(range(clips.shape[2])):
        return clips
    if _is_channels_last(clips):
        return torch.from_numpy(clips.permute(LAST).numpy().take(indices, 1)).permute(FIRST)
    return torch.from_numpy(clips.numpy().take(indices, 2))


def normalize(frames: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """``(x / 255 - mean) / std`` of every channel; memory layouts kept.

    By one thread, as all that comes between decoding and a runtime: it is little work, after which
    torch's threads would stay awake and keep a core from the runtime's. X3D-S in OpenVINO then took
    a quarter longer, a step of its stream half as long again (2 cores).

    Args:
        frames: uint8 ``(B, C, T, H, W)``, on the CPU.
        mean: of every channel, in units of 255.
        std: likewise.
    """
    scale = np.float32(1) / (np.float32(255) * np.asarray(std, np.float32))
    shift = np.asarray(mean, np.float32) / np.asarray(std, np.float32)
    if not _is_channels_last(frames):
        planes = frames.numpy() * scale[:, None, None, None]
        planes -= shift[:, None, None, None]
        return torch.from_numpy(planes)
    pixels = frames.permute(LAST).numpy()
    # Whole rows at once: NumPy is slow at three numbers at a time.
    rows = pixels.reshape(*pixels.shape[:3], -1) * np.tile(scale, pixels.shape[3])
    rows -= np.tile(shift, pixels.shape[3])
    return torch.from_numpy(rows.reshape(pixels.shape)).permute(FIRST)


def denormalize(clips: Tensor, info: ExportInfo) -> Tensor:
    """Back to uint8: exact for what was normalised from uint8.

    Args:
        clips: normalised ``(B, C, T, H, W)``, colours as the file takes them.
        info: of the file.
    """
    values = (clips * _column(info.std) + _column(info.mean)) * 255
    return values.round().clamp(0, 255).to(torch.uint8)


def random_clips(info: ExportInfo, batch: int, *, seed: int = 0) -> list[Tensor]:
    """What the file takes, of noise: one uint8 or normalised clip per pathway.

    Args:
        info: of the file.
        batch: clips.
        seed: of the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    clips = []
    for shape in info.inputs.values():
        noise = torch.randint(0, 256, (batch, *shape[1:]), generator=generator).to(torch.uint8)
        if not info.normalized_inside:
            noise = (noise / 255 - _column(info.mean)) / _column(info.std)
        clips.append(noise)
    return clips


def _column(values: list[float]) -> Tensor:
    """``(C, 1, 1, 1)``."""
    return torch.tensor(values)[:, None, None, None]


def _is_channels_last(clips: Tensor) -> bool:
    return clips.is_contiguous(memory_format=torch.channels_last_3d)
