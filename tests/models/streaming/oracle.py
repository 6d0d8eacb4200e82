"""What a stream must give, from the clip model itself on one long clip.

No part of the streaming code runs here: the clip model's own layers see all frames at once, and
its head pools the values of the window, which lies so far inside that no padding reaches it.
"""

import torch

from slowfast.models.mobilenetv3 import MobileNetV3
from slowfast.models.staged import StagedModel


def make_frames(count, *, batch=1, size=32, seed=0):
    """``(count, batch, 3, size, size)``."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, batch, 3, size, size, generator=generator)


def as_clips(frames, alpha=None):
    """``(T, B, 3, H, W)`` -> ``[(B, 3, T, H, W)]``, with every ``alpha``-th frame for Slow."""
    clip = frames.permute(1, 2, 0, 3, 4)
    return [clip] if alpha is None else [clip[:, :, ::alpha], clip]


def maps_of(model, clips):
    """The trunk's output, per pathway."""
    if isinstance(model, StagedModel):
        return model.trunk(clips)
    if isinstance(model, MobileNetV3):
        return [model.backbone(clips[0])]
    return [model.features(clips[0])]


def logits_of(model, maps):
    """The head on maps of one window."""
    if isinstance(model, StagedModel):
        return model.forward_head(model.head.positions(maps).mean(dim=(1, 2, 3)))
    if isinstance(model, MobileNetV3):
        return model.forward_head(model.head.embed(maps[0]))
    return model.forward_head(maps[0].mean(dim=(2, 3, 4)))


def window_logits(model, maps, first, rates, window):
    """Logits of the window that begins with frame ``first``."""
    parts = [
        y[:, :, first // rate : (first + window) // rate]
        for y, rate in zip(maps, rates, strict=True)
    ]
    assert all(part.shape[2] * r == window for part, r in zip(parts, rates, strict=True))
    return logits_of(model, parts)
