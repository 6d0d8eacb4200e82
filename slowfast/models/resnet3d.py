"""Single-pathway 3-D ResNets: C2D, I3D, Slow, with or without non-local blocks.

C2D and the non-local blocks: Wang et al. 2018, https://arxiv.org/abs/1711.07971; I3D as in its
section 4, after Carreira and Zisserman 2017, https://arxiv.org/abs/1705.07750; Slow: the Slow
pathway of SlowFast alone, Feichtenhofer et al. 2019, https://arxiv.org/abs/1812.03982.
Module names are those of PySlowFast, so its checkpoints load with ``strict=True``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import nn

from slowfast.models.base import NumClasses, check_head_act
from slowfast.models.build import build_common, build_pathways, build_resnet
from slowfast.models.layers.head import PoolHead
from slowfast.models.layers.init import init_weights
from slowfast.models.layers.pathways import Pathways
from slowfast.models.layers.stage import PathwaySpec, res_chain
from slowfast.models.layers.stem import ResNetStem
from slowfast.models.staged import StagedModel

if TYPE_CHECKING:
    from yacs.config import CfgNode

BLOCKS = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
"""Depth -> residual blocks of res2..res5."""


@dataclass(frozen=True)
class Arch:
    """What ``MODEL.ARCH`` selects.

    Attributes:
        kernels_t: temporal kernels of the stem and of res2..res5; two alternate over blocks.
        pool_t: temporal stride of the max pool that follows res2.
    """

    kernels_t: tuple[tuple[int, ...], ...]
    pool_t: int = 1


C2D_KERNELS = ((1,), (1,), (1,), (1,), (1,))
I3D_KERNELS = ((5,), (3,), (3, 1), (3, 1), (1, 3))
ARCHS = {
    "2d": Arch(C2D_KERNELS),
    "c2d": Arch(C2D_KERNELS, pool_t=2),
    "c2d_nopool": Arch(C2D_KERNELS),
    "slow_c2d": Arch(C2D_KERNELS),
    "i3d": Arch(I3D_KERNELS, pool_t=2),
    "i3d_nopool": Arch(I3D_KERNELS),
    "slow_i3d": Arch(I3D_KERNELS),
    "slow": Arch(((1,), (1,), (1,), (3,), (3,))),
}


PLAIN = PathwaySpec()


class ResNet3D(StagedModel):
    """A ResNet over one clip.

    Args:
        num_classes: of the one task, or ``{task: classes}``.
        arch: one of ``ARCHS``.
        depth: 18, 50 or 101 layers.
        branch: ``bottleneck`` or ``basic``.
        width: channels of the stem; res2 outputs four times as many, each stage doubles.
        groups: of the 3x3 convolutions (ResNeXt).
        in_channels: channels of the clip.
        num_frames: frames of a training clip; fixes the head's pooling.
        crop_size: its height and width; likewise.
        dropout: before the classifier.
        stride_1x1: strides on the 1x1 convolutions instead of the 3x3.
        pathway: strides, dilations, temporal kernels and attention, stage by stage.
        drop_path: see :class:`~slowfast.models.layers.drop_path.DropPath`.
        act_checkpoint: recompute activations in the backward pass to save memory.
        detach_head: train the classifier only.
        head_act: see :class:`~slowfast.models.base.ClipModel`.
        fc_std: see :func:`~slowfast.models.layers.init.init_weights`.
        zero_final_bn: likewise.
    """

    stages = ("s1", "s2", "pool", "s3", "s4", "s5")

    def __init__(
        self,
        *,
        num_classes: NumClasses,
        arch: str = "slow",
        depth: int = 50,
        branch: str = "bottleneck",
        width: int = 64,
        groups: int = 1,
        in_channels: int = 3,
        num_frames: int = 8,
        crop_size: int = 224,
        dropout: float = 0.5,
        stride_1x1: bool = False,
        pathway: PathwaySpec = PLAIN,
        drop_path: float = 0.0,
        act_checkpoint: bool = False,
        detach_head: bool = False,
        head_act: str = "softmax",
        fc_std: float = 0.01,
        zero_final_bn: bool = True,
    ) -> None:
        super().__init__()
        if arch not in ARCHS:
            raise ValueError(f"MODEL.ARCH is {arch!r}: this family has {sorted(ARCHS)}")
        spec = ARCHS[arch]
        self.head_act = check_head_act(head_act)
        stem = ResNetStem(in_channels, width, kernel_t=spec.kernels_t[0][0])
        self.s1 = Pathways([{"stem": stem}])
        dim_in, dim_inner, dim_out = width, width * groups, 4 * width
        for i, blocks in enumerate(num_blocks(depth)):
            stage = pathway.stage(
                i,
                blocks,
                spec.kernels_t[i + 1],
                dim_in=dim_in,
                dim_inner=dim_inner,
                dim_out=dim_out,
                groups=groups,
                branch=branch,
                stride_1x1=stride_1x1,
                drop_path=drop_path,
            )
            chain = Pathways([res_chain(stage)], act_checkpoint=act_checkpoint)
            self.add_module(f"s{i + 2}", chain)
            if i == 0:
                size = (spec.pool_t, 1, 1)
                pool = nn.MaxPool3d(size, stride=size) if spec.pool_t > 1 else nn.Identity()
                self.pool = Pathways([{"pool": pool}])
            dim_in, dim_inner, dim_out = dim_out, 2 * dim_inner, 2 * dim_out
        self.num_features = dim_in
        self.head = PoolHead(
            dim_in,
            num_classes,
            pool_sizes=[(num_frames // spec.pool_t, crop_size // 32, crop_size // 32)],
            dropout=dropout,
            detach=detach_head,
        )
        init_weights(self, fc_std=fc_std, zero_final_bn=zero_final_bn)

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> ResNet3D:
        return cls(
            **build_common(cfg),
            **build_resnet(cfg),
            arch=cfg.MODEL.ARCH,
            in_channels=cfg.DATA.INPUT_CHANNEL_NUM[0],
            stride_1x1=cfg.RESNET.STRIDE_1X1,
            pathway=build_pathways(cfg, 1)[0],
        )


def num_blocks(depth: int) -> tuple[int, int, int, int]:
    """Residual blocks of res2..res5."""
    if depth not in BLOCKS:
        raise ValueError(f"RESNET.DEPTH is {depth}: give one of {sorted(BLOCKS)}")
    return BLOCKS[depth]
