"""X3D: progressive expansion of a tiny 2-D network, Feichtenhofer 2020.

https://arxiv.org/abs/2004.04730; layer table: their table 1 and section 3.1. XS, S and M differ
in the clip only; L is deeper. Module names are those of PySlowFast, so its checkpoints load
with ``strict=True``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from slowfast.models.base import NumClasses, check_head_act
from slowfast.models.build import build_common, build_pathways
from slowfast.models.layers.head import X3DHead
from slowfast.models.layers.init import init_weights
from slowfast.models.layers.pathways import Pathways
from slowfast.models.layers.stage import PathwaySpec, res_chain
from slowfast.models.layers.stem import X3DStem
from slowfast.models.layers.widths import round_depth, round_width
from slowfast.models.staged import StagedModel

if TYPE_CHECKING:
    from yacs.config import CfgNode

BLOCKS = (1, 2, 5, 3)
"""Residual blocks of res2..res5 at depth factor 1."""

KERNELS_T = (5, 3)
"""Temporal kernels of the stem and of the blocks."""


X3D_PATHWAY = PathwaySpec(strides=(2, 2, 2, 2))


class X3D(StagedModel):
    """The single-pathway network; the defaults are X3D-M.

    Args:
        num_classes: of the one task, or ``{task: classes}``.
        width_factor: channels, relative to the base network.
        depth_factor: blocks, relative to the base network: 2.2, for L 5.0.
        bottleneck_factor: channels inside a block, relative to its output.
        dim_c1: channels of the base network's stem.
        num_features: width of the head's last layer, ``X3D.DIM_C5``.
        scale_res2: widen res2 twofold against the stem.
        bn_lin5: normalise the head's last layer.
        depthwise: one filter per channel in the 3x3x3 convolutions; else ``groups``.
        groups: read when not ``depthwise``.
        in_channels: channels of the clip.
        num_frames: frames of a training clip; fixes the head's pooling.
        crop_size: its height and width; likewise.
        dropout: before the classifier.
        pathway: dilations and attention, stage by stage (strides are 2 throughout).
        drop_path: see :class:`~slowfast.models.layers.drop_path.DropPath`.
        act_checkpoint: recompute activations in the backward pass to save memory.
        detach_head: train the classifier only.
        head_act: see :class:`~slowfast.models.base.ClipModel`.
        fc_std: see :func:`~slowfast.models.layers.init.init_weights`.
        zero_final_bn: likewise.
    """

    stages = ("s1", "s2", "s3", "s4", "s5")

    def __init__(
        self,
        *,
        num_classes: NumClasses,
        width_factor: float = 2.0,
        depth_factor: float = 2.2,
        bottleneck_factor: float = 2.25,
        dim_c1: int = 12,
        num_features: int = 2048,
        scale_res2: bool = False,
        bn_lin5: bool = False,
        depthwise: bool = True,
        groups: int = 1,
        in_channels: int = 3,
        num_frames: int = 16,
        crop_size: int = 224,
        dropout: float = 0.5,
        pathway: PathwaySpec = X3D_PATHWAY,
        drop_path: float = 0.0,
        act_checkpoint: bool = False,
        detach_head: bool = False,
        head_act: str = "softmax",
        fc_std: float = 0.01,
        zero_final_bn: bool = True,
    ) -> None:
        super().__init__()
        self.head_act = check_head_act(head_act)
        dim_in = round_width(dim_c1, width_factor)
        self.s1 = Pathways([{"stem": X3DStem(in_channels, dim_in, kernel_t=KERNELS_T[0])}])
        dim_inner = dim_in
        for i, width in enumerate(base_widths(dim_c1, scale_res2=scale_res2)):
            dim_out = round_width(width, width_factor)
            dim_inner = int(bottleneck_factor * dim_out)
            blocks = round_depth(BLOCKS[i], depth_factor)
            stage = pathway.stage(
                i,
                blocks,
                KERNELS_T[1:],
                dim_in=dim_in,
                dim_inner=dim_inner,
                dim_out=dim_out,
                groups=dim_inner if depthwise else groups,
                branch="x3d",
                drop_path=drop_path,
            )
            chain = Pathways([res_chain(stage)], act_checkpoint=act_checkpoint)
            self.add_module(f"s{i + 2}", chain)
            dim_in = dim_out
        side = math.ceil(crop_size / 32)
        self.num_features = num_features
        self.head = X3DHead(
            dim_in,
            dim_inner,
            num_features,
            num_classes,
            pool_size=(num_frames, side, side),
            bn_lin5=bn_lin5,
            dropout=dropout,
            detach=detach_head,
        )
        init_weights(self, fc_std=fc_std, zero_final_bn=zero_final_bn)

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> X3D:
        if cfg.RESNET.TRANS_FUNC != "x3d_transform":
            raise ValueError(
                f"RESNET.TRANS_FUNC is {cfg.RESNET.TRANS_FUNC!r}, but MODEL.MODEL_NAME X3D is made "
                "of x3d_transform blocks: set RESNET.TRANS_FUNC x3d_transform"
            )
        return cls(
            **build_common(cfg),
            width_factor=cfg.X3D.WIDTH_FACTOR,
            depth_factor=cfg.X3D.DEPTH_FACTOR,
            bottleneck_factor=cfg.X3D.BOTTLENECK_FACTOR,
            dim_c1=cfg.X3D.DIM_C1,
            num_features=cfg.X3D.DIM_C5,
            scale_res2=cfg.X3D.SCALE_RES2,
            bn_lin5=cfg.X3D.BN_LIN5,
            depthwise=cfg.X3D.CHANNELWISE_3x3x3,
            groups=cfg.RESNET.NUM_GROUPS,
            in_channels=cfg.DATA.INPUT_CHANNEL_NUM[0],
            pathway=build_x3d_pathway(cfg),
        )


def base_widths(dim_c1: int, *, scale_res2: bool) -> list[int]:
    """Output channels of res2..res5 before ``width_factor``: each stage doubles, by eights.

    >>> base_widths(12, scale_res2=False)
    [12, 24, 48, 96]
    """
    widths = [round_width(dim_c1, 2.0, divisor=8) if scale_res2 else dim_c1]
    for _ in BLOCKS[1:]:
        widths.append(round_width(widths[-1], 2.0, divisor=8))
    return widths


def build_x3d_pathway(cfg: CfgNode) -> PathwaySpec:
    """As PySlowFast: stride 2 and temporal kernels everywhere, res2's attention in all stages."""
    (spec,) = build_pathways(cfg, 1)
    return PathwaySpec(
        strides=(2, 2, 2, 2), dilations=spec.dilations, non_local=(spec.non_local[0],) * 4
    )
