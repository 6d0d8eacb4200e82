"""The one structure that travels from loaders to objectives."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

COMPANIONS = "companions"
"""In ``meta``, what other networks see of the clips, one entry per network: uint8
``(B, C, T, H, W)``, or ``None`` for the same pixels, from the loader; from the batch transform the
network's pathways."""


class Batch(NamedTuple):
    """A collated batch. Still a plain tuple, in PySlowFast's field order.

    A loader yields ``clips`` with one uint8 tensor ``(B, C, T, H, W)``; the batch transform
    (:mod:`slowfast.datasets.pathways`) turns it, on the device, into what a model takes.

    Attributes:
        clips: one tensor per pathway, slow first, each ``(B, C, T_p, H, W)``, float,
            normalised; a single-pathway model gets a list of one.
        labels: ``(B,)`` class ids; ``(B, num_classes)`` for multi-label or mixed-up targets;
            ``{task: ...}`` of these when a dataset has several tasks.
        clip_ids: ``(B,)`` int64: index of the video in training, ``video * num_views + view``
            in testing; test meters sum views by it.
        times: ``(B, 2)`` first and last frame of the clip, in seconds of the source file.
        meta: anything else, by name.
    """

    clips: list[Tensor]
    labels: Any
    clip_ids: Tensor
    times: Tensor
    meta: dict[str, Any]

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with every tensor on ``device``."""
        return Batch(*(_to(field, device) for field in self))


def _to(value: Any, device: torch.device | str) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {key: _to(item, device) for key, item in value.items()}
    if isinstance(value, list):
        return [_to(item, device) for item in value]
    return value
