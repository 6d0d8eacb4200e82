"""SlowFast networks for video recognition, Feichtenhofer et al. 2019.

https://arxiv.org/abs/1812.03982; layer table: their table 1. Two ResNets see the same clip:
the Slow pathway few frames with many channels, the Fast pathway ``alpha`` times the frames
with ``1/beta_inv`` of the channels, fused into Slow after every stage.

Shapes are ``(B, C, T, H, W)``; a clip is a list ``[slow, fast]``. Module names are those of
PySlowFast, so its checkpoints load with ``strict=True``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from slowfast.models.base import NumClasses, check_head_act
from slowfast.models.build import build_common, build_pathways, build_resnet
from slowfast.models.layers.fusion import FuseFastToSlow
from slowfast.models.layers.head import PoolHead
from slowfast.models.layers.init import init_weights
from slowfast.models.layers.pathways import Pathways
from slowfast.models.layers.stage import PathwaySpec, res_chain
from slowfast.models.layers.stem import ResNetStem
from slowfast.models.resnet3d import num_blocks
from slowfast.models.staged import StagedModel

if TYPE_CHECKING:
    from yacs.config import CfgNode

TEMPORAL_KERNELS = ((1, 1, 1, 3, 3), (5, 3, 3, 3, 3))
"""Slow, Fast: of the stem, then res2..res5."""


class SlowFast(StagedModel):
    """The two-pathway network.

    Args:
        num_classes: of the one task, or ``{task: classes}``.
        depth: 18, 50 or 101 layers.
        branch: ``bottleneck`` or ``basic``.
        width: channels of Slow's stem; res2 outputs four times as many.
        groups: of the 3x3 convolutions (ResNeXt).
        alpha: frame-rate ratio Fast / Slow.
        beta_inv: channel ratio Slow / Fast.
        fusion_ratio: channels a fusion adds to Slow, in units of Fast's channels.
        fusion_kernel: temporal kernel of the fusions.
        in_channels: channels of the slow and of the fast clip.
        num_frames: frames Fast gets in training; fixes the head's pooling.
        crop_size: height and width in training; likewise.
        dropout: before the classifier.
        pathways: of Slow and Fast: strides, temporal kernels and attention, stage by stage.
        drop_path: see :class:`~slowfast.models.layers.drop_path.DropPath`.
        act_checkpoint: recompute activations in the backward pass to save memory.
        detach_head: train the classifier only.
        head_act: see :class:`~slowfast.models.base.ClipModel`.
        fc_std: see :func:`~slowfast.models.layers.init.init_weights`.
        zero_final_bn: likewise.
    """

    num_pathways = 2
    stages = ("s1", "s1_fuse", "s2", "s2_fuse", "s3", "s3_fuse", "s4", "s4_fuse", "s5")

    def __init__(
        self,
        *,
        num_classes: NumClasses,
        depth: int = 50,
        branch: str = "bottleneck",
        width: int = 64,
        groups: int = 1,
        alpha: int = 8,
        beta_inv: int = 8,
        fusion_ratio: int = 2,
        fusion_kernel: int = 5,
        in_channels: Sequence[int] = (3, 3),
        num_frames: int = 32,
        crop_size: int = 224,
        dropout: float = 0.5,
        pathways: Sequence[PathwaySpec] = (PathwaySpec(), PathwaySpec()),
        drop_path: float = 0.0,
        act_checkpoint: bool = False,
        detach_head: bool = False,
        head_act: str = "softmax",
        fc_std: float = 0.01,
        zero_final_bn: bool = True,
    ) -> None:
        super().__init__()
        self.head_act = check_head_act(head_act)
        shrink = (1, beta_inv)  # channels of each pathway are divided by this
        self.s1 = Pathways(
            [
                {"stem": ResNetStem(in_channels[p], width // s, kernel_t=TEMPORAL_KERNELS[p][0])}
                for p, s in enumerate(shrink)
            ]
        )
        fusion = {"alpha": alpha, "ratio": fusion_ratio, "kernel": fusion_kernel}
        self.s1_fuse = FuseFastToSlow(width // beta_inv, **fusion)
        dim_in, dim_inner, dim_out = width, width * groups, 4 * width
        for i, blocks in enumerate(num_blocks(depth)):
            appended = (dim_in // beta_inv * fusion_ratio, 0)  # by the fusion, to Slow
            chains = [
                res_chain(
                    pathways[p].stage(
                        i,
                        blocks,
                        TEMPORAL_KERNELS[p][i + 1 : i + 2],
                        dim_in=dim_in // s + appended[p],
                        dim_inner=dim_inner // s,
                        dim_out=dim_out // s,
                        groups=groups,
                        branch=branch,
                        drop_path=drop_path,
                    )
                )
                for p, s in enumerate(shrink)
            ]
            self.add_module(f"s{i + 2}", Pathways(chains, act_checkpoint=act_checkpoint))
            if i < 3:  # res5 goes straight to the head
                self.add_module(f"s{i + 2}_fuse", FuseFastToSlow(dim_out // beta_inv, **fusion))
            dim_in, dim_inner, dim_out = dim_out, 2 * dim_inner, 2 * dim_out
        side = crop_size // 32
        self.num_features = dim_in + dim_in // beta_inv
        self.head = PoolHead(
            self.num_features,
            num_classes,
            pool_sizes=[(num_frames // alpha, side, side), (num_frames, side, side)],
            dropout=dropout,
            detach=detach_head,
        )
        init_weights(self, fc_std=fc_std, zero_final_bn=zero_final_bn)

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> SlowFast:
        return cls(
            **build_common(cfg),
            **build_resnet(cfg),
            alpha=cfg.SLOWFAST.ALPHA,
            beta_inv=cfg.SLOWFAST.BETA_INV,
            fusion_ratio=cfg.SLOWFAST.FUSION_CONV_CHANNEL_RATIO,
            fusion_kernel=cfg.SLOWFAST.FUSION_KERNEL_SZ,
            in_channels=cfg.DATA.INPUT_CHANNEL_NUM,
            pathways=build_pathways(cfg, 2),
        )
