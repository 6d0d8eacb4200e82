"""MViT of PyTorchVideo."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from slowfast.models.base import NumClasses
from slowfast.models.layers.head import Classifier
from slowfast.models.ptv.base import PTVModel, build_options, builder

if TYPE_CHECKING:
    from yacs.config import CfgNode


@dataclass(frozen=True)
class MViTSpec:
    """The layers, named as the keys of the node ``MVIT``; the defaults are MViT-B 16x4.

    Attributes:
        depth: attention blocks.
        embed_dim: channels of a token in the first block.
        num_heads: heads of the first block.
        mlp_ratio: inner channels of a block's MLP, relative to the token's.
        qkv_bias: queries, keys and values have a bias.
        patch_kernel: frames, height and width that become one token.
        patch_stride: distance of tokens.
        patch_padding: around the clip.
        norm_stem: normalise the tokens at once.
        cls_embed_on: a class token is classified, not the mean of all.
        sep_pos_embed: positions in time and space are learned apart and added.
        dim_mul: ``[[block, factor], ...]``: where tokens get wider.
        head_mul: likewise for the number of heads.
        pool_q_stride: ``[[block, t, h, w], ...]``: where queries, so tokens, get fewer.
        pool_kv_stride: likewise for keys and values; empty: ``pool_kv_stride_adaptive``.
        pool_kv_stride_adaptive: strides of keys and values in the first block, lowered as
            queries get fewer.
        pool_kvq_kernel: of the poolings; ``None``: what the strides ask for.
        mode: of the poolings: ``conv``, ``avg`` or ``max``.
        pool_first: pool before the projection to queries, keys and values.
        dropout_rate: in the blocks.
        droppath_rate: stochastic depth of the last block, from 0 in the first.
    """

    depth: int = 16
    embed_dim: int = 96
    num_heads: int = 1
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    patch_kernel: Sequence[int] = (3, 7, 7)
    patch_stride: Sequence[int] = (2, 4, 4)
    patch_padding: Sequence[int] = (1, 3, 3)
    norm_stem: bool = False
    cls_embed_on: bool = True
    sep_pos_embed: bool = True
    dim_mul: Sequence[Sequence[float]] = ((1, 2.0), (3, 2.0), (14, 2.0))
    head_mul: Sequence[Sequence[float]] = ((1, 2.0), (3, 2.0), (14, 2.0))
    pool_q_stride: Sequence[Sequence[int]] = ((1, 1, 2, 2), (3, 1, 2, 2), (14, 1, 2, 2))
    pool_kv_stride: Sequence[Sequence[int]] = ()
    pool_kv_stride_adaptive: Sequence[int] | None = (1, 8, 8)
    pool_kvq_kernel: Sequence[int] | None = (3, 3, 3)
    mode: str = "conv"
    pool_first: bool = False
    dropout_rate: float = 0.0
    droppath_rate: float = 0.2

    def arguments(self) -> dict[str, Any]:
        """What PyTorchVideo calls them; its blocks are numbered by integers, in lists."""
        return {
            "depth": self.depth,
            "patch_embed_dim": self.embed_dim,
            "num_heads": self.num_heads,
            "mlp_ratio": self.mlp_ratio,
            "qkv_bias": self.qkv_bias,
            "conv_patch_embed_kernel": tuple(self.patch_kernel),
            "conv_patch_embed_stride": tuple(self.patch_stride),
            "conv_patch_embed_padding": tuple(self.patch_padding),
            "enable_patch_embed_norm": self.norm_stem,
            "cls_embed_on": self.cls_embed_on,
            "sep_pos_embed": self.sep_pos_embed,
            "embed_dim_mul": [[int(block), factor] for block, factor in self.dim_mul],
            "atten_head_mul": [[int(block), factor] for block, factor in self.head_mul],
            "pool_q_stride_size": [list(entry) for entry in self.pool_q_stride],
            "pool_kv_stride_size": [list(entry) for entry in self.pool_kv_stride] or None,
            "pool_kv_stride_adaptive": _listed(self.pool_kv_stride_adaptive),
            "pool_kvq_kernel": _listed(self.pool_kvq_kernel),
            "pooling_mode": self.mode,
            "pool_first": self.pool_first,
            "dropout_rate_block": self.dropout_rate,
            "droppath_rate_block": self.droppath_rate,
        }


def _listed(value: Sequence[int] | None) -> list[int] | None:
    return list(value) if value else None


class TokenHead(Classifier):
    """In the place of MViT's head.

    Args:
        sequence_pool: ``(B, tokens, C)`` -> ``(B, C)``.
        dropout: see :class:`~slowfast.models.layers.head.Classifier`.
        detach: likewise.
    """

    prefix = "proj"

    def __init__(self, sequence_pool: nn.Module, *, dropout: float, detach: bool) -> None:
        super().__init__(dropout=dropout, detach=detach)
        self.sequence_pool = sequence_pool

    def forward(self, x: Tensor) -> Tensor:
        """Tokens -> features of the one position, ``(B, 1, 1, 1, num_features)``."""
        return self.sequence_pool(x)[:, None, None, None]


class PTVMViT(PTVModel):
    """Multiscale vision transformer: attention whose tokens get fewer and wider with depth.

    Fan et al. 2021, https://arxiv.org/abs/2104.11227; the defaults are MViT-B 16x4. Positions
    are learned per token, so it takes clips of one size.

    Args:
        num_classes: of the one task, or ``{task: classes}``.
        num_frames: frames of every clip.
        crop_size: its height and width.
        in_channels: its channels.
        spec: the layers.
        options: see :class:`PTVModel`.
    """

    archs = ("mvit",)
    fixed_widths = ("*.attn",)  # split into heads
    fixed: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self,
        *,
        num_classes: NumClasses,
        num_frames: int = 16,
        crop_size: int = 224,
        in_channels: int = 3,
        spec: MViTSpec | None = None,
        **options: Any,
    ) -> None:
        create = builder("vision_transformers", "create_multiscale_vision_transformers")
        device = torch.get_default_device()
        with torch.device("cpu"):  # it computes its widths with tensors: not on the meta device
            network = create(
                spatial_size=crop_size,
                temporal_size=num_frames,
                input_channels=in_channels,
                head_num_classes=1,
                **(spec or MViTSpec()).arguments(),
            )
        super().__init__(network.to(device), num_classes=num_classes, **options)
        self.clip_size = (num_frames, crop_size, crop_size)

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> PTVMViT:
        return cls(
            **build_options(cfg, cls),
            in_channels=cfg.DATA.INPUT_CHANNEL_NUM[0],
            spec=MViTSpec(**{name.lower(): value for name, value in cfg.MVIT.items()}),
        )

    @property
    def head(self) -> Any:  # type: ignore[override]
        return self.model.head

    def replace_head(self, **options: Any) -> None:
        self.model.head = TokenHead(self.head.sequence_pool, **options)

    def positions(self, clips: Sequence[Tensor]) -> Tensor:
        size = tuple(clips[0].shape[2:])
        if size != self.clip_size:
            raise ValueError(
                f"PTVMViT was built for clips of {self.clip_size} (frames, height, width) and got "
                f"{size}: its learned positions fit one size. Set DATA.NUM_FRAMES, "
                "DATA.TRAIN_CROP_SIZE and DATA.TEST_CROP_SIZE to one clip"
            )
        return super().positions(clips)
