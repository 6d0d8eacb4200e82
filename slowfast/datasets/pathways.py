"""From the loader's uint8 clips to what a model takes: on the device, a whole batch at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Generator, Tensor

from slowfast.config import num_pathways
from slowfast.datasets.augment.erasing import RandomErasing
from slowfast.datasets.augment.spatial import Box
from slowfast.datasets.batch import COMPANIONS, Batch
from slowfast.datasets.mixup import MixUp, mix_clips

if TYPE_CHECKING:
    from yacs.config import CfgNode

LAYOUTS: dict[str, torch.memory_format | None] = {
    "auto": None,
    "contiguous": torch.contiguous_format,
    "channels_last_3d": torch.channels_last_3d,
}


def slow_indices(num_frames: int, alpha: int) -> list[int]:
    """Frames of the Slow pathway: ``num_frames // alpha`` evenly spaced, both ends included.

    PySlowFast's ``floor(linspace(0, T - 1, T // alpha))``, in integers.

    Example:
        >>> slow_indices(32, 4)
        [0, 4, 8, 13, 17, 22, 26, 31]
    """
    count = num_frames // alpha
    if count < 1:
        raise ValueError(
            f"a clip of {num_frames} frames leaves none for the Slow pathway: DATA.NUM_FRAMES must "
            f"be at least SLOWFAST.ALPHA, {alpha}"
        )
    if count == 1:
        return [0]
    return [i * (num_frames - 1) // (count - 1) for i in range(count)]


def pack_pathways(clips: Tensor, alpha: int | None) -> list[Tensor]:
    """One tensor per pathway, slow first.

    Args:
        clips: ``(B, C, T, H, W)``.
        alpha: frame rate of Fast over Slow; ``None`` for a single pathway.

    Returns:
        ``[(B, C, T // alpha, H, W), (B, C, T, H, W)]``, or ``[clips]``; memory layouts kept.
    """
    if alpha is None:
        return [clips]
    indices = torch.tensor(slow_indices(clips.shape[2], alpha), device=clips.device)
    if _is_channels_last(clips):  # selecting on (B, C, ...) would reorder the bytes
        slow = clips.permute(0, 2, 3, 4, 1).index_select(1, indices).permute(0, 4, 1, 2, 3)
    else:
        slow = clips.index_select(2, indices)
    return [slow, clips]


class Mix(NamedTuple):
    """What was drawn for mixing a batch.

    Attributes:
        share: of a clip itself; the rest is of its opposite in the batch.
        box: what is exchanged instead (CutMix).
        size: (H, W) of the pictures that the box is in.
    """

    share: float
    box: Box | None
    size: tuple[int, int]

    def apply(self, clips: Tensor) -> Tensor:
        """Mixes ``(B, C, T, H, W)``, of any size, in place."""
        box = self.box and self.box.scaled(self.size, (clips.shape[-2], clips.shape[-1]))
        return mix_clips(clips, self.share, box)


class BatchTransform:
    """uint8 clips -> normalised float pathways; in training also erasing and mixing.

    In PySlowFast's order: ``(x / 255 - mean) / std``, random erasing, mixup, channel reversal,
    packing. Mixing comes before packing, so that both pathways show the same mixture.

    Args:
        mean, std: per channel of the loader's frames (before reversal), in units of 255.
        alpha: frame rate of Fast over Slow; ``None`` for single-pathway models.
        reverse_channels: give the model BGR for RGB.
        erase: random erasing.
        mixup: mixup and CutMix.
        memory_format: of the result: ``torch.channels_last_3d`` or ``torch.contiguous_format``;
            ``None`` keeps the layout of the batch (the loader's: channels last).
        companions: for the clips of other networks in ``meta["companions"]``, in training: mixed
            like the others, but never erased (a teacher sees the whole picture).
    """

    def __init__(
        self,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        alpha: int | None = None,
        reverse_channels: bool = False,
        erase: RandomErasing | None = None,
        mixup: MixUp | None = None,
        memory_format: torch.memory_format | None = None,
        companions: Sequence[BatchTransform] = (),
    ) -> None:
        self.companions = tuple(companions)
        self.mean, self.std = tuple(mean), tuple(std)
        self.alpha = alpha
        self.reverse_channels = reverse_channels
        self.erase = erase
        self.mixup = mixup
        self.memory_format = memory_format

    def __call__(self, batch: Batch, generator: Generator | None = None) -> Batch:
        """The batch a model takes, on the batch's device.

        Args:
            batch: ``clips`` one uint8 ``(B, C, T, H, W)``.
            generator: on the CPU; draws erasing and mixing. ``None``: evaluation, neither is done.

        Returns:
            The batch with float pathways. When mixed: soft ``labels``, and those of the loader in
            ``meta["hard_labels"]``.
        """
        (clips,) = batch.clips
        if clips.dtype != torch.uint8:
            raise ValueError(f"the batch transform takes uint8 clips, got {clips.dtype}")
        clips = self.normalise(clips)
        labels, meta = batch.labels, batch.meta
        mix = Mix(1.0, None, (clips.shape[-2], clips.shape[-1]))
        if generator is not None and self.erase is not None:
            clips = self.erase(clips, generator)
        if generator is not None and self.mixup is not None:
            mix = Mix(*self.mixup.draw(*mix.size, generator), mix.size)
            meta = {**meta, "hard_labels": labels}
            clips, labels = mix.apply(clips), self.mixup.mix_labels(labels, mix.share)
        pathways = pack_pathways(clips, self.alpha)
        if generator is not None and self.companions:
            seen = zip(self.companions, meta[COMPANIONS], strict=True)
            views = [other.follow(batch.clips[0] if x is None else x, mix) for other, x in seen]
            meta = {**meta, COMPANIONS: views}
        return batch._replace(clips=pathways, labels=labels, meta=meta)

    def follow(self, clips: Tensor, mix: Mix) -> list[Tensor]:
        """Pathways of uint8 ``clips``, mixed as those of another network were."""
        return pack_pathways(mix.apply(self.normalise(clips)), self.alpha)

    def normalise(self, clips: Tensor) -> Tensor:
        """uint8 ``(B, C, T, H, W)`` -> float32 ``(x / 255 - mean) / std``, a new tensor."""
        mean, std = self.mean, self.std
        if self.reverse_channels:
            clips, mean, std = clips.flip(1), mean[::-1], std[::-1]
        layout = self.memory_format or torch.preserve_format
        floats = clips.to(torch.float32, memory_format=layout)
        factors = [1.0 / (255.0 * s) for s in std]
        offsets = [-m / s for m, s in zip(mean, std, strict=True)]
        factor, offset = _channel_values(factors, floats), _channel_values(offsets, floats)
        return torch.addcmul(offset, floats, factor, out=floats)


def _is_channels_last(clips: Tensor) -> bool:
    return clips.is_contiguous(memory_format=torch.channels_last_3d)


def _channel_values(values: Sequence[float], clips: Tensor) -> Tensor:
    """One number per channel, shaped to multiply ``clips`` in long runs of memory."""
    column = torch.tensor(values, dtype=clips.dtype, device=clips.device)
    if not _is_channels_last(clips):
        return column[:, None, None, None]
    # Channels last, a run would be the 3 channels of a pixel; a row of pixels is 40 % faster.
    return column.repeat(clips.shape[-1], 1).t()[:, None, None, :]


def build_batch_transform(
    cfg: CfgNode,
    train: bool,
    memory_format: torch.memory_format | None = None,
    companions: Sequence[CfgNode] = (),
) -> BatchTransform:
    """The batch transform of ``DATA.*``, ``AUG.RE_*``, ``MIXUP.*`` and the model's pathways.

    Args:
        cfg: the config.
        train: with erasing (``AUG.ENABLE``) and mixing (``MIXUP.ENABLE``).
        memory_format: overrides ``MODEL.MEMORY_FORMAT``, of which ``auto`` keeps the loader's.
        companions: configs of other networks, see :func:`slowfast.datasets.build.build_dataset`.
    """
    return BatchTransform(
        mean=cfg.DATA.MEAN,
        std=cfg.DATA.STD,
        alpha=cfg.SLOWFAST.ALPHA if num_pathways(cfg) == 2 else None,
        reverse_channels=cfg.DATA.REVERSE_INPUT_CHANNEL,
        erase=build_random_erasing(cfg) if train else None,
        mixup=build_mixup(cfg) if train else None,
        memory_format=memory_format or LAYOUTS[cfg.MODEL.MEMORY_FORMAT],
        companions=[build_batch_transform(other, False, memory_format) for other in companions],
    )


def build_random_erasing(cfg: CfgNode) -> RandomErasing | None:
    """Random erasing of ``AUG.RE_*``, or ``None`` when it is off."""
    if not cfg.AUG.ENABLE or cfg.AUG.RE_PROB <= 0:
        return None
    return RandomErasing(
        cfg.AUG.RE_PROB, mode=cfg.AUG.RE_MODE, count=cfg.AUG.RE_COUNT, split=cfg.AUG.RE_SPLIT
    )


def build_mixup(cfg: CfgNode) -> MixUp | None:
    """Mixup and CutMix of ``MIXUP.*``, or ``None`` when it is off."""
    if not cfg.MIXUP.ENABLE:
        return None
    classes, tasks = cfg.MODEL.NUM_CLASSES, cfg.MODEL.TASKS
    return MixUp(
        dict(zip(tasks, classes, strict=True)) if tasks else classes,
        alpha=cfg.MIXUP.ALPHA,
        cutmix_alpha=cfg.MIXUP.CUTMIX_ALPHA,
        probability=cfg.MIXUP.PROB,
        switch_probability=cfg.MIXUP.SWITCH_PROB,
        label_smoothing=cfg.MIXUP.LABEL_SMOOTH_VALUE,
    )
