"""IMFE: a motion feature from a few RGB frames, in place of optical flow and a network on it.

Wang et al. 2025 (RT-HARE), https://doi.org/10.1145/3761795: six frames -> the 2048 numbers that a
TSN computes from TV-L1 flow. Motion enters through correlations of consecutive frames only.
Module names are those of https://github.com/rickywrq/RT-HARE; :mod:`slowfast.checkpoint` drops
the 3.6 M parameters which that code builds, saves and never uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn

from slowfast.models.base import NumClasses, Preds, check_head_act
from slowfast.models.build import build_head, build_num_classes
from slowfast.models.layers.correlation import contrast, correlate_all, correlate_local
from slowfast.models.layers.frame_encoder import FrameEncoder, Widths
from slowfast.models.layers.head import Classifier
from slowfast.models.layers.image_resnet import ImageResNet
from slowfast.models.pretrained import PretrainedModel

if TYPE_CHECKING:
    from yacs.config import CfgNode

CORRELATIONS = ("local", "all_pairs")
WIDTHS: dict[str, Widths] = {"all_pairs": (64, 96, 128, 256), "local": (32, 64, 96, 128)}
"""Channels of the frame encoder in either form; ``all_pairs`` as published."""

PAIR_WIDTH = 128
"""Channels that a pair's correlations are compressed to."""


class IMFE(PretrainedModel):
    """Frame encoder, correlations of the pairs, a few convolutions, the end of a ResNet.

    Two forms. ``all_pairs``, the published one, correlates every position of a frame with every
    one of the next: their number is the number of input channels of a convolution, so one input
    size fits the weights. ``local`` correlates with a window of ``2 * radius + 1`` positions, 8
    pixels each: any input size, and with the narrower frame encoder a third of the MACs. Its
    correlations are cosines, normalised per offset: raw ones differ little from offset to offset
    until the encoder has learned, and from random weights it then hardly does.

    Without ``num_classes`` the output is the feature itself, to be regressed or extracted.

    Args:
        num_classes: of a linear classifier on the feature, or ``{task: classes}``; ``None``: none.
        correlation: one of ``CORRELATIONS``.
        radius: of the local window, in positions of 8 pixels.
        widths: of the frame encoder; ``None``: those of the form.
        depth: of the ResNet whose last two stages are the end: 50 as published; 18 is small.
        width: channels of its stem (which is not used): 64 as published.
        num_frames: frames of a clip.
        input_size: height and width in pixels; read by ``all_pairs`` only.
        dropout: before the classifier.
        pretrained: ImageNet weights of the ResNet's end to load at once, see
            :func:`~slowfast.models.layers.resnet2d.load_resnet2d`; empty: fresh ones.
        detach_head: train the classifier only.
        head_act: see :class:`~slowfast.models.base.ClipModel`; without classes ``none``.
        fc_std: standard deviation of the classifier's fresh weights.
    """

    fixed_widths = ("feature_encoder.conv",)  # correlations are no channels of the maps

    def __init__(
        self,
        *,
        num_classes: NumClasses | None = None,
        correlation: str = "local",
        radius: int = 4,
        widths: Widths | None = None,
        depth: int = 50,
        width: int = 64,
        num_frames: int = 6,
        input_size: tuple[int, int] = (256, 344),
        dropout: float = 0.5,
        pretrained: str = "",
        detach_head: bool = False,
        head_act: str = "softmax",
        fc_std: float = 0.01,
    ) -> None:
        super().__init__()
        if correlation not in CORRELATIONS:
            raise ValueError(f"IMFE.CORRELATION is {correlation!r}: give one of {CORRELATIONS}")
        if num_frames < 2:
            raise ValueError(
                f"DATA.NUM_FRAMES is {num_frames}: IMFE compares frames, give 2 or more"
            )
        self.correlation, self.radius, self.num_frames = correlation, radius, num_frames
        self.input_size = tuple(input_size)
        self.feature_encoder = FrameEncoder(widths or WIDTHS[correlation])
        local = (2 * radius + 1) ** 2
        dim_in = local if correlation == "local" else num_positions(*input_size)
        if correlation == "local":
            self.correlation_norm = nn.BatchNorm2d(dim_in)
        self.compress_conv = nn.Conv2d(dim_in, PAIR_WIDTH, 3, padding=1)
        self.motion_encoder = motion_encoder((num_frames - 1) * PAIR_WIDTH)
        self.image_depth = depth
        self.resnet, dim_mid, self.num_features = resnet_end(depth, width)
        self.mid_conv = nn.Conv2d(128, dim_mid, 1)
        self.head = Classifier(dropout=dropout, detach=detach_head)
        self.head_act = check_head_act(head_act if num_classes is not None else "none")
        if num_classes is not None:
            self.head.add_classifiers(self.num_features, num_classes)
        self.head.init_classifiers(fc_std)
        self.load_pretrained(pretrained)

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> IMFE:
        """Fresh weights; those of ``MODEL.PRETRAINED`` are expected before training."""
        crop = cfg.DATA.TRAIN_CROP_SIZE
        model = cls(
            num_classes=build_num_classes(cfg) if cfg.IMFE.CLASSIFIER else None,
            correlation=cfg.IMFE.CORRELATION,
            radius=cfg.IMFE.RADIUS,
            widths=tuple(cfg.IMFE.WIDTHS) or None,
            depth=cfg.RESNET.DEPTH,
            width=cfg.RESNET.WIDTH_PER_GROUP,
            num_frames=cfg.DATA.NUM_FRAMES,
            input_size=tuple(cfg.DATA.RESIZE) or (crop, crop),
            fc_std=cfg.MODEL.FC_INIT_STD,
            **build_head(cfg),
        )
        model.expect_pretrained(cfg.MODEL.PRETRAINED)
        return model

    @property
    def image_part(self) -> nn.Module:
        return self.resnet

    @property
    def classifiers(self) -> dict[str, nn.Linear]:
        """Empty for a model without classes."""
        return self.head.classifiers

    def frame_features(self, frames: Tensor) -> Tensor:
        """``(B, 3, H, W)`` -> maps ``(B, C, H / 8, W / 8)``."""
        maps = self.feature_encoder(frames)
        return contrast(maps) if self.correlation == "local" else maps

    def pair_features(self, before: Tensor, after: Tensor) -> Tensor:
        """Maps of a frame and the next -> ``(B, 128, H / 8, W / 8)``."""
        if self.correlation == "local":
            local = correlate_local(before, after, self.radius)
            return self.compress_conv(self.correlation_norm(local))
        positions = after.shape[-2] * after.shape[-1]
        if positions != self.compress_conv.in_channels:
            raise ValueError(
                f"IMFE all_pairs was built for {self.input_size[0]}x{self.input_size[1]} frames, "
                f"{self.compress_conv.in_channels} positions, and got maps of "
                f"{after.shape[-2]}x{after.shape[-1]}. Resize the frames, or use "
                "IMFE.CORRELATION local, which takes any size"
            )
        return self.compress_conv(correlate_all(before, after))

    def window_features(self, pairs: Tensor) -> Tensor:
        """Features of consecutive pairs ``(B, T - 1, 128, H / 8, W / 8)`` -> ``(B, 2048)``."""
        motion = self.motion_encoder(pairs.flatten(1, 2))
        return self.resnet(self.mid_conv(motion)).mean(dim=(2, 3))

    def forward_features(self, clips: Sequence[Tensor]) -> Tensor:
        self.check_pretrained()
        if clips[0].shape[2] != self.num_frames:
            raise ValueError(
                f"IMFE was built for {self.num_frames} frames (DATA.NUM_FRAMES), got clips of "
                f"{clips[0].shape[2]}"
            )
        frames = clips[0].transpose(1, 2)  # (B, T, 3, H, W)
        maps = self.frame_features(frames.flatten(0, 1))
        maps = maps.view(*frames.shape[:2], *maps.shape[1:])
        before, after = maps[:, :-1].flatten(0, 1), maps[:, 1:].flatten(0, 1)
        pairs = self.pair_features(before, after)
        return self.window_features(pairs.view(frames.shape[0], -1, *pairs.shape[1:]))

    def forward_head(self, features: Tensor) -> Preds:
        """Logits ``(B, num_classes)`` of every task; the features of a model without classes."""
        return self.head.classify(features) if self.classifiers else features


def num_positions(height: int, width: int) -> int:
    """Positions of the map of a frame: a pixel in 8 x 8, rounded up.

    Example:
        >>> num_positions(256, 344)
        1376
    """
    return -(-height // 8) * -(-width // 8)


def motion_encoder(dim_in: int) -> nn.Sequential:
    """The pairs of a clip -> 128 channels (RAFT's motion encoder without its flow branch)."""
    parts = nn.Sequential()
    for name, out, kernel in (("convcorr1", 256, 1), ("convcorr2", 192, 3), ("conv", 128, 3)):
        conv = nn.Conv2d(dim_in, out, kernel, padding=kernel // 2)
        parts.add_module(name, nn.Sequential(conv, nn.ReLU(inplace=True)))
        dim_in = out
    return parts


def resnet_end(depth: int, width: int) -> tuple[nn.Sequential, int, int]:
    """The last two stages of an image ResNet and the widths of their input and output."""
    resnet = ImageResNet(depth, width)
    end = nn.Sequential()
    for name in ("layer3", "layer4"):
        end.add_module(name, resnet.get_submodule(name))
    return end, resnet.num_features // 4, resnet.num_features
