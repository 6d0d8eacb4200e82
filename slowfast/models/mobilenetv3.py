"""3-D MobileNetV3 with a cosine head: s3d-rgb-mobilenet-v3 and x3d-rgb-mobilenet-v3-lgd-gc.

The models of OpenVINO Training Extensions' custom action recognition,
https://github.com/openvinotoolkit/training_extensions: MobileNetV3-large (Howard et al. 2019,
https://arxiv.org/abs/1905.02244) with temporal kernels beside the depthwise convolutions, as in
S3D (Xie et al. 2018, https://arxiv.org/abs/1712.04851), or within them, as in X3D, there with
local-global diffusion. Unlike the paper, block 13 halves height and width, not block 12.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from torch import Tensor, nn

from slowfast.models.base import NumClasses, check_head_act
from slowfast.models.build import build_head, build_num_classes
from slowfast.models.cosine import CosineModel
from slowfast.models.layers.checkpointing import run_checkpointed
from slowfast.models.layers.cosine_head import CosineHead
from slowfast.models.layers.init import init_weights
from slowfast.models.layers.lgd import LocalGlobalDiffusion
from slowfast.models.layers.mobilenetv3_block import BlockSpec, ConvNormAct, InvertedResidual
from slowfast.models.layers.mobilenetv3_image import load_image_weights
from slowfast.models.layers.widths import round_width
from slowfast.models.pretrained import PretrainedModel

if TYPE_CHECKING:
    from yacs.config import CfgNode

STEM_WIDTH, LAST_WIDTH = 16, 960
BLOCKS = (
    BlockSpec(3, 16, 16, False, False, 1),
    BlockSpec(3, 64, 24, False, False, 2),
    BlockSpec(3, 72, 24, False, False, 1),
    BlockSpec(5, 72, 40, True, False, 2),
    BlockSpec(5, 120, 40, True, False, 1),
    BlockSpec(5, 120, 40, True, False, 1),
    BlockSpec(3, 240, 80, False, True, 2),
    BlockSpec(3, 200, 80, False, True, 1),
    BlockSpec(3, 184, 80, False, True, 1),
    BlockSpec(3, 184, 80, False, True, 1),
    BlockSpec(3, 480, 112, True, True, 1),
    BlockSpec(3, 672, 112, True, True, 1),
    BlockSpec(5, 672, 160, True, True, 1),
    BlockSpec(5, 672, 160, True, True, 2),
    BlockSpec(5, 960, 160, True, True, 1),
)
"""Kernel, inner and outer channels, squeeze-and-excite, hard swish, spatial stride."""

KERNELS_T = (5, 3, 3, 3, 3, 5, 5, 3, 3, 5, 3, 3, 3, 3, 3)
"""Temporal kernel of each block, of both networks."""


@dataclass(frozen=True)
class Variant:
    """What the two networks do differently.

    Attributes:
        temporal: where the temporal kernel of a block is, see
            :class:`~slowfast.models.layers.mobilenetv3_block.InvertedResidual`.
        halved: blocks that halve the number of frames.
        diffusion: with local-global diffusion.
        min_frames: of a clip.
    """

    temporal: str
    halved: tuple[int, int]
    diffusion: bool
    min_frames: int


VARIANTS = {
    "s3d_mobilenetv3": Variant("projection", (1, 10), False, min_frames=4),
    "x3d_mobilenetv3_lgd_gc": Variant("depthwise", (4, 10), True, min_frames=1),
}
"""By ``MODEL.ARCH``."""


class Backbone(nn.Module):
    """Stem, 15 blocks and a last ``1x1x1`` convolution.

    Args:
        variant: of the two networks.
        width_mult: multiplies the channels of every layer, rounded to multiples of 8.
        in_channels: channels of the clip.
        act_checkpoint: recompute the activations of a block in the backward pass.
    """

    def __init__(
        self,
        variant: Variant,
        *,
        width_mult: float = 1.0,
        in_channels: int = 3,
        act_checkpoint: bool = False,
    ) -> None:
        super().__init__()
        self.act_checkpoint = act_checkpoint
        self.min_frames = variant.min_frames
        dim = scaled(STEM_WIDTH, width_mult)
        self.stem = ConvNormAct(in_channels, dim, (1, 3, 3), (1, 2, 2))
        widths, blocks = [dim], []
        for i, spec in enumerate(block_specs(variant, width_mult)):
            blocks.append(InvertedResidual(dim, spec, temporal=variant.temporal, expand=i > 0))
            dim = spec.dim_out
            widths.append(dim)
        self.blocks = nn.ModuleList(blocks)
        self.num_features = scaled(LAST_WIDTH, width_mult)
        self.last = ConvNormAct(dim, self.num_features)
        self.lgd = LocalGlobalDiffusion(widths[:-1]) if variant.diffusion else None

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, T, H, W)`` -> ``(B, num_features, T/4, H/32, W/32)``."""
        if x.shape[2] < self.min_frames:
            raise ValueError(
                f"a clip of {x.shape[2]} frame(s) is halved to none: s3d_mobilenetv3 takes "
                f"{self.min_frames} or more (DATA.NUM_FRAMES), x3d_mobilenetv3_lgd_gc any number"
            )
        x = self.stem(x)
        vector = None
        if self.lgd is not None:
            x, vector = self.lgd(0, x, None)
        for i, block in enumerate(self.blocks, 1):
            x = run_checkpointed(block, x) if self.act_checkpoint and self.training else block(x)
            if self.lgd is not None and i < self.lgd.num_maps:
                x, vector = self.lgd(i, x, vector)
        return self.last(x)


class MobileNetV3(PretrainedModel, CosineModel):
    """Either network; the defaults are s3d-rgb-mobilenet-v3.

    Both take 16 frames, every second one, at 224 x 224. Other lengths and sizes run as well:
    everything after the last layer is averaged. A training batch needs two clips or more, as
    there are batch norms after the averaging.

    Args:
        num_classes: of the one task, or ``{task: classes}``: centres of each task in one space.
        arch: key of ``VARIANTS``.
        width_mult: multiplies the channels of every layer but the embedding.
        embedding: width of the embedding.
        scale: see :class:`~slowfast.models.cosine.CosineModel`.
        in_channels: channels of the clip.
        dropout: of the pooled features, before the embedding; the published networks have none.
        pretrained: image weights to load at once, see
            :func:`~slowfast.models.layers.mobilenetv3_image.load_image_weights`; empty: fresh.
        act_checkpoint: recompute the activations of the blocks in the backward pass.
        detach_head: train the class centres only.
        head_act: see :class:`~slowfast.models.base.ClipModel`.
        zero_final_bn: blocks with a skip start as the identity, see
            :func:`~slowfast.models.layers.init.init_weights`. Not so in the published networks, but
            from random weights a small one learned twice as fast.
    """

    def __init__(
        self,
        *,
        num_classes: NumClasses,
        arch: str = "s3d_mobilenetv3",
        width_mult: float = 1.0,
        embedding: int = 256,
        scale: float = 16.0,
        in_channels: int = 3,
        dropout: float = 0.0,
        pretrained: str = "",
        act_checkpoint: bool = False,
        detach_head: bool = False,
        head_act: str = "softmax",
        zero_final_bn: bool = False,
    ) -> None:
        super().__init__()
        self.head_act = check_head_act(head_act)
        self.scale = scale
        self.backbone = Backbone(
            find_variant(arch),
            width_mult=width_mult,
            in_channels=in_channels,
            act_checkpoint=act_checkpoint,
        )
        self.num_features = embedding
        self.head = CosineHead(
            self.backbone.num_features,
            embedding,
            num_classes,
            dropout=dropout,
            detach=detach_head,
        )
        init_weights(self, zero_final_bn=zero_final_bn)
        if self.backbone.lgd is not None:
            self.backbone.lgd.zero_init()
        for classifier in self.classifiers.values():
            classifier.reset_parameters()
        self.load_pretrained(pretrained)

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> MobileNetV3:
        """Fresh weights; those of ``MODEL.PRETRAINED`` are expected before training."""
        model = cls(
            num_classes=build_num_classes(cfg),
            arch=cfg.MODEL.ARCH,
            width_mult=cfg.MODEL.WIDTH_MULT,
            embedding=cfg.COSINE.EMBEDDING,
            scale=cfg.COSINE.SCALE,
            in_channels=cfg.DATA.INPUT_CHANNEL_NUM[0],
            act_checkpoint=cfg.MODEL.ACT_CHECKPOINT,
            zero_final_bn=cfg.RESNET.ZERO_INIT_FINAL_BN,
            **build_head(cfg),
        )
        model.expect_pretrained(cfg.MODEL.PRETRAINED)
        return model

    @property
    def image_part(self) -> nn.Module:
        return self.backbone

    def load_pretrained(self, source: str = "") -> None:
        """Load weights of torchvision's image MobileNetV3-large.

        Args:
            source: ``"imagenet"``, a path or a URL; empty: what the config asked for, if anything.
        """
        source = source or self.pending
        if source:
            load_image_weights(self.backbone, source)
        self.pending = ""

    def forward_features(self, clips: Sequence[Tensor]) -> Tensor:
        """``[(B, C, T, H, W)]`` -> embeddings ``(B, num_features)`` of length 1."""
        self.check_pretrained()
        return self.head.embed(self.backbone(clips[0]))


def find_variant(arch: str) -> Variant:
    """The variant called ``arch``.

    Raises:
        ValueError: there is none.
    """
    if arch not in VARIANTS:
        raise ValueError(
            f"MODEL.ARCH is {arch!r}: MODEL.MODEL_NAME MobileNetV3 has {sorted(VARIANTS)}"
        )
    return VARIANTS[arch]


def block_specs(variant: Variant, width_mult: float) -> list[BlockSpec]:
    """The table with the variant's temporal kernels and strides, and scaled channels."""
    return [
        replace(
            spec,
            dim_inner=scaled(spec.dim_inner, width_mult),
            dim_out=scaled(spec.dim_out, width_mult),
            kernel_t=1 if variant.temporal == "depthwise" and i == 0 else KERNELS_T[i],
            stride_t=2 if i in variant.halved else 1,
        )
        for i, spec in enumerate(BLOCKS)
    ]


def scaled(width: int, multiplier: float) -> int:
    """Channels of a layer, a multiple of 8."""
    return round_width(width, multiplier, minimum=8, divisor=8)
