"""The convolutional networks of PyTorchVideo: C2D, I3D, Slow, SlowFast, X3D, CSN, R(2+1)D."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from slowfast.models.base import NumClasses
from slowfast.models.build import build_pathways
from slowfast.models.layers.conv import Size3
from slowfast.models.layers.head import pool_pathways
from slowfast.models.layers.stage import PathwaySpec, temporal_kernels
from slowfast.models.ptv.base import PTVModel, build_options, builder
from slowfast.models.resnet3d import ARCHS, PLAIN
from slowfast.models.slowfast import TEMPORAL_KERNELS

if TYPE_CHECKING:
    from yacs.config import CfgNode

BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""Depth -> residual blocks of res2..res5, of all ResNets there."""

RELU = partial(nn.ReLU, inplace=True)


class PoolPathways(nn.Module):
    """In the place of the block that pools both pathways and concatenates them."""

    def __init__(self, sizes: Sequence[Size3]) -> None:
        super().__init__()
        self.sizes = list(sizes)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        return pool_pathways(maps, self.sizes)


class PTVResNet(PTVModel):
    """C2D, I3D and Slow.

    Args:
        num_classes: of the one task, or ``{task: classes}``.
        arch: ``c2d``, ``i3d`` or ``slow``.
        depth: 50, 101 or 152 layers.
        width: channels of the stem; res2 outputs four times as many, each stage doubles.
        groups: of the 3x3 convolutions.
        in_channels: channels of the clip.
        num_frames: frames of a training clip; fixes the head's pooling.
        crop_size: its height and width; likewise.
        pathway: strides, dilations and temporal kernels, stage by stage.
        options: see :class:`PTVModel`.
    """

    archs = ("c2d", "i3d", "slow")

    def __init__(
        self,
        *,
        num_classes: NumClasses,
        arch: str = "slow",
        depth: int = 50,
        width: int = 64,
        groups: int = 1,
        in_channels: int = 3,
        num_frames: int = 8,
        crop_size: int = 224,
        pathway: PathwaySpec = PLAIN,
        **options: Any,
    ) -> None:
        if arch not in self.archs:
            raise ValueError(f"MODEL.ARCH is {arch!r}: this family has {self.archs}")
        spec = ARCHS[arch]
        side = max(1, crop_size // 32)
        network = builder("resnet", "create_resnet")(
            input_channel=in_channels,
            **residual_options(depth),
            stem_dim_out=width,
            stem_conv_kernel_size=(spec.kernels_t[0][0], 7, 7),
            stage1_pool=nn.MaxPool3d if spec.pool_t > 1 else None,
            stage1_pool_kernel_size=(spec.pool_t, 1, 1),
            stage_conv_a_kernel_size=block_kernels(spec.kernels_t[1:], depth, pathway),
            stage_conv_b_num_groups=(groups,) * 4,
            stage_conv_b_dilation=[(1, d, d) for d in pathway.dilations],
            stage_spatial_h_stride=pathway.strides,
            stage_spatial_w_stride=pathway.strides,
            head_pool_kernel_size=(num_frames // spec.pool_t, side, side),
        )
        super().__init__(network, num_classes=num_classes, **options)

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> PTVResNet:
        return cls(
            **build_options(cfg, cls),
            **build_residual_options(cfg),
            arch=cfg.MODEL.ARCH,
            groups=cfg.RESNET.NUM_GROUPS,
            in_channels=cfg.DATA.INPUT_CHANNEL_NUM[0],
            pathway=build_pathways(cfg, 1)[0],
        )


class PTVSlowFast(PTVModel):
    """SlowFast; arguments as :class:`~slowfast.models.slowfast.SlowFast` and :class:`PTVModel`."""

    num_pathways = 2
    archs = ("slowfast",)

    def __init__(
        self,
        *,
        num_classes: NumClasses,
        depth: int = 50,
        width: int = 64,
        groups: int = 1,
        alpha: int = 8,
        beta_inv: int = 8,
        fusion_ratio: int = 2,
        fusion_kernel: int = 5,
        in_channels: Sequence[int] = (3, 3),
        num_frames: int = 32,
        crop_size: int = 224,
        pathways: Sequence[PathwaySpec] = (PLAIN, PLAIN),
        **options: Any,
    ) -> None:
        side = max(1, crop_size // 32)
        network = builder("slowfast", "create_slowfast")(
            slowfast_channel_reduction_ratio=beta_inv,
            slowfast_conv_channel_fusion_ratio=fusion_ratio,
            slowfast_fusion_conv_kernel_size=(fusion_kernel, 1, 1),
            slowfast_fusion_conv_stride=(alpha, 1, 1),
            input_channels=in_channels,
            **residual_options(depth),
            stem_dim_outs=(width, width // beta_inv),
            stem_conv_kernel_sizes=[(kernels[0], 7, 7) for kernels in TEMPORAL_KERNELS],
            stage_conv_a_kernel_sizes=[
                block_kernels([(k,) for k in kernels[1:]], depth, pathway)
                for kernels, pathway in zip(TEMPORAL_KERNELS, pathways, strict=True)
            ],
            stage_conv_b_num_groups=[(groups,) * 4] * 2,
            stage_conv_b_dilations=[[(1, d, d) for d in p.dilations] for p in pathways],
            stage_spatial_strides=[p.strides for p in pathways],
            head_pool_kernel_sizes=[(num_frames // alpha, side, side), (num_frames, side, side)],
        )
        super().__init__(network, num_classes=num_classes, **options)

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> PTVSlowFast:
        return cls(
            **build_options(cfg, cls),
            **build_residual_options(cfg),
            groups=cfg.RESNET.NUM_GROUPS,
            alpha=cfg.SLOWFAST.ALPHA,
            beta_inv=cfg.SLOWFAST.BETA_INV,
            fusion_ratio=cfg.SLOWFAST.FUSION_CONV_CHANNEL_RATIO,
            fusion_kernel=cfg.SLOWFAST.FUSION_KERNEL_SZ,
            in_channels=cfg.DATA.INPUT_CHANNEL_NUM,
            pathways=build_pathways(cfg, 2),
        )

    def replace_head(self, **options: Any) -> None:
        self.model.blocks[-2] = PoolPathways([p.kernel_size for p in self.model.blocks[-2].pool])
        super().replace_head(**options)


class PTVX3D(PTVModel):
    """X3D; arguments as :class:`~slowfast.models.x3d.X3D` and :class:`PTVModel`."""

    archs = ("x3d",)
    fixed: ClassVar[Mapping[str, Any]] = {
        "RESNET.TRANS_FUNC": "x3d_transform",
        "X3D.SCALE_RES2": False,
        "X3D.CHANNELWISE_3x3x3": True,
    }

    def __init__(
        self,
        *,
        num_classes: NumClasses,
        width_factor: float = 2.0,
        depth_factor: float = 2.2,
        bottleneck_factor: float = 2.25,
        dim_c1: int = 12,
        num_features: int = 2048,
        bn_lin5: bool = False,
        in_channels: int = 3,
        num_frames: int = 16,
        crop_size: int = 224,
        **options: Any,
    ) -> None:
        network = builder("x3d", "create_x3d")(
            input_channel=in_channels,
            input_clip_length=num_frames,
            input_crop_size=crop_size,
            model_num_class=1,
            dropout_rate=0.0,
            width_factor=width_factor,
            depth_factor=depth_factor,
            activation=RELU,
            stem_dim_in=dim_c1,
            bottleneck_factor=bottleneck_factor,
            inner_act=nn.SiLU,  # theirs is a function of its own that ONNX cannot export
            head_dim_out=num_features,
            head_pool_act=RELU,
            head_bn_lin5_on=bn_lin5,
        )
        super().__init__(network, num_classes=num_classes, **options)

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> PTVX3D:
        return cls(
            **build_options(cfg, cls),
            width_factor=cfg.X3D.WIDTH_FACTOR,
            depth_factor=cfg.X3D.DEPTH_FACTOR,
            bottleneck_factor=cfg.X3D.BOTTLENECK_FACTOR,
            dim_c1=cfg.X3D.DIM_C1,
            num_features=cfg.X3D.DIM_C5,
            bn_lin5=cfg.X3D.BN_LIN5,
            in_channels=cfg.DATA.INPUT_CHANNEL_NUM[0],
        )


class _Separated(PTVModel):
    """What CSN and R(2+1)D share: a ResNet that also strides over time.

    Args:
        num_classes: of the one task, or ``{task: classes}``.
        depth: 50, 101 or 152 layers.
        width: channels of the stem.
        in_channels: channels of the clip.
        num_frames: frames of a training clip; fixes the head's pooling.
        crop_size: its height and width; likewise.
        options: see :class:`PTVModel`.
    """

    source: ClassVar[tuple[str, str]]
    extra: ClassVar[Mapping[str, Any]] = {}
    temporal_stride: ClassVar[int]

    def __init__(
        self,
        *,
        num_classes: NumClasses,
        depth: int = 50,
        width: int = 64,
        in_channels: int = 3,
        num_frames: int = 16,
        crop_size: int = 224,
        **options: Any,
    ) -> None:
        side = max(1, crop_size // 32)
        network = builder(*self.source)(
            input_channel=in_channels,
            **residual_options(depth),
            **self.extra,
            stem_dim_out=width,
            head_pool_kernel_size=(max(1, num_frames // self.temporal_stride), side, side),
        )
        super().__init__(network, num_classes=num_classes, **options)

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> _Separated:
        return cls(
            **build_options(cfg, cls),
            **build_residual_options(cfg),
            in_channels=cfg.DATA.INPUT_CHANNEL_NUM[0],
        )


class PTVCSN(_Separated):
    """Channel-separated network (ir-CSN): 1x1x1 and depthwise 3x3x3 convolutions only.

    Tran et al. 2019, https://arxiv.org/abs/1904.02811.
    """

    source = ("csn", "create_csn")
    extra: ClassVar[Mapping[str, Any]] = {"stem_pool": nn.MaxPool3d}
    temporal_stride = 8
    archs = ("csn",)


class PTVR2plus1D(_Separated):
    """R(2+1)D: every 3x3x3 convolution as one over space, then one over time.

    Tran et al. 2018, https://arxiv.org/abs/1711.11248.
    """

    source = ("r2plus1d", "create_r2plus1d")
    temporal_stride = 4
    archs = ("r2plus1d",)


def residual_options(depth: int) -> dict[str, Any]:
    """What every ResNet there is given."""
    if depth not in BLOCKS:
        raise ValueError(f"RESNET.DEPTH is {depth}: PyTorchVideo has {sorted(BLOCKS)}")
    return {"model_depth": depth, "model_num_class": 1, "dropout_rate": 0.0, "activation": RELU}


def block_kernels(
    basis: Sequence[Sequence[int]], depth: int, pathway: PathwaySpec
) -> list[list[Size3]]:
    """Kernel of the first convolution of every block, per stage."""
    limits = pathway.num_temporal or BLOCKS[depth]
    return [
        [(k, 1, 1) for k in temporal_kernels(kernels, blocks, limit)]
        for kernels, blocks, limit in zip(basis, BLOCKS[depth], limits, strict=True)
    ]


def build_residual_options(cfg: CfgNode) -> dict[str, Any]:
    """Arguments of the ResNets."""
    return {"depth": cfg.RESNET.DEPTH, "width": cfg.RESNET.WIDTH_PER_GROUP}
