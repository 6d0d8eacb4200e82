"""Between uint8 frames and the normalised clips of a model."""

from __future__ import annotations

import torch
from torch import Tensor

from slowfast.deploy.export.info import ExportInfo


def normalize(frames: Tensor, info: ExportInfo) -> Tensor:
    """``(x / 255 - mean) / std`` of every channel.

    Args:
        frames: uint8 ``(B, C, T, H, W)``, colours as the model within takes them.
        info: of the model.
    """
    mean, std = (_column(values, flip=info.is_reversed) for values in (info.mean, info.std))
    return frames.float() * (1.0 / (255.0 * std)) - mean / std


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


def _column(values: list[float], *, flip: bool = False) -> Tensor:
    """``(C, 1, 1, 1)``."""
    return torch.tensor(values[::-1] if flip else values)[:, None, None, None]
