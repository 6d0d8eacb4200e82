"""What a second network sees of a training clip: its own frames and size, all else the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slowfast.datasets.sampling import ClipSampler, clip_size, frame_indices, latest_start

if TYPE_CHECKING:
    from yacs.config import CfgNode

MAX_DISTORTION = 1.01
"""How much wider or higher than the first network's picture the second one's may be."""


@dataclass(frozen=True)
class Companion:
    """A clip of another network, cut from the same video around the same moment.

    Beyer et al. 2022, "Knowledge distillation: A good teacher is patient and consistent",
    https://arxiv.org/abs/2106.05237, section 3.1: teacher and student must see the same crop.

    Attributes:
        sampler: of the other network.
        size: (H, W) of its clips; they show the very part of the picture that the first shows.
    """

    sampler: ClipSampler
    size: tuple[int, int]

    def frames(self, own: ClipSampler, clip: list[int], total: int, fps: float) -> list[int]:
        """Numbers of the frames: as the other network would take them, around the same middle.

        Sampled over the whole action (``DATA.SAMPLING_MODE segment``): the middles of its parts.

        Args:
            own: sampler of the first network.
            clip: its frames.
            total: frames in the video (or in the segment of it that counts).
            fps: frames per second of the video.
        """
        other = self.sampler
        if same_frames(own, other):
            return clip
        if other.mode == "segment":
            return other.clips(total, fps)[0]
        size = clip_size(other.num_frames, other.stride, fps, other.target_fps)
        middle = (clip[0] + clip[-1]) / 2
        start = min(max(middle - (size - 1) / 2, 0.0), latest_start(total, size))
        frames = frame_indices(start, size, other.num_frames, total, loop=other.loop)
        return [frames[len(frames) // 2]] * len(frames) if other.repeat_frame else frames


def same_frames(one: ClipSampler, other: ClipSampler) -> bool:
    """Whether two networks take the same frames, whatever is drawn."""
    keys = ("num_frames", "stride", "target_fps", "mode", "repeat_frame", "loop")
    return all(getattr(one, key) == getattr(other, key) for key in keys)


def build_size(cfg: CfgNode) -> tuple[int, int]:
    """(H, W) of training clips."""
    whole = tuple(cfg.DATA.RESIZE)
    return whole or (cfg.DATA.TRAIN_CROP_SIZE, cfg.DATA.TRAIN_CROP_SIZE)


def build_companion(cfg: CfgNode, other: CfgNode) -> Companion | None:
    """What the network of ``other`` sees of clips of ``cfg``; ``None``: the same pixels.

    Raises:
        ValueError: one of them takes square pictures, the other does not.
    """
    size, own = build_size(other), build_size(cfg)
    distortion = size[0] * own[1] / (size[1] * own[0])
    if not 1 / MAX_DISTORTION <= distortion <= MAX_DISTORTION:
        raise ValueError(
            f"one network sees {own[0]}x{own[1]} pixels, the other {size[0]}x{size[1]}: the same "
            "part of the picture would be distorted. Give both DATA.RESIZE of one shape, or neither"
        )
    sampler = ClipSampler.from_cfg(other, "train")
    if size == own and same_frames(ClipSampler.from_cfg(cfg, "train"), sampler):
        return None
    return Companion(sampler, size)
