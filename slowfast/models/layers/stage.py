"""A residual stage of one pathway, as a table entry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from slowfast.models.layers.branches import BasicBranch, Bottleneck
from slowfast.models.layers.non_local import NonLocal, NonLocalSpec
from slowfast.models.layers.resblock import ResBlock
from slowfast.models.layers.x3d_branch import X3DBranch

BRANCHES = ("bottleneck", "basic", "x3d")


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """What distinguishes one stage from another.

    Attributes:
        dim_in: channels of the clip's features.
        dim_inner: channels inside a bottleneck.
        dim_out: channels returned.
        kernels_t: temporal kernel of each block, so also the number of blocks.
        stride: spatial stride of the first block.
        dilation: spatial dilation of every block.
        groups: of the spatial convolutions.
        branch: one of ``BRANCHES``.
        stride_1x1: see :class:`~slowfast.models.layers.branches.Bottleneck`.
        drop_path: see :class:`~slowfast.models.layers.drop_path.DropPath`.
        non_local: where attention follows a block.
    """

    dim_in: int
    dim_inner: int
    dim_out: int
    kernels_t: Sequence[int]
    stride: int
    dilation: int = 1
    groups: int = 1
    branch: str = "bottleneck"
    stride_1x1: bool = False
    drop_path: float = 0.0
    non_local: NonLocalSpec = field(default_factory=NonLocalSpec)


@dataclass(frozen=True, kw_only=True)
class PathwaySpec:
    """Choices a pathway makes stage by stage, res2..res5.

    Attributes:
        num_temporal: how many blocks of a stage may have a temporal kernel; default all.
        strides: spatial stride of each stage's first block.
        dilations: spatial dilation.
        non_local: where attention goes.
    """

    num_temporal: Sequence[int] | None = None
    strides: Sequence[int] = (1, 2, 2, 2)
    dilations: Sequence[int] = (1, 1, 1, 1)
    non_local: Sequence[NonLocalSpec] = (NonLocalSpec(),) * 4

    def stage(
        self, index: int, blocks: int, basis: Sequence[int], *, drop_path: float, **options: Any
    ) -> StageSpec:
        """Stage ``index`` (0 is res2) of so many blocks.

        Args:
            index: from 0.
            blocks: number of residual blocks.
            basis: temporal kernels, see :func:`temporal_kernels`.
            drop_path: the network's rate; stage res``n`` gets ``n / 6`` of it.
            options: the other attributes of :class:`StageSpec`.
        """
        limit = blocks if self.num_temporal is None else self.num_temporal[index]
        return StageSpec(
            kernels_t=temporal_kernels(basis, blocks, limit),
            stride=self.strides[index],
            dilation=self.dilations[index],
            non_local=self.non_local[index],
            drop_path=drop_path * (index + 2) / 6,
            **options,
        )


def res_chain(spec: StageSpec) -> dict[str, nn.Module]:
    """``res0``, strided and widening, then the other blocks, each with its non-local block."""
    blocks = len(spec.kernels_t)
    beyond = [i for i in spec.non_local.after if not 0 <= i < blocks]
    if beyond:
        raise ValueError(f"NONLOCAL.LOCATION names blocks {beyond} of a stage of {blocks} blocks")
    chain: dict[str, nn.Module] = {}
    for i in range(blocks):
        dim_in, stride = (spec.dim_in, spec.stride) if i == 0 else (spec.dim_out, 1)
        branch = build_branch(spec, i, dim_in, stride)
        chain[f"res{i}"] = ResBlock(
            dim_in, spec.dim_out, branch, stride=stride, drop_path=spec.drop_path
        )
        if i in spec.non_local.after:
            chain[f"nonlocal{i}"] = NonLocal(spec.dim_out, spec.non_local)
    return chain


def build_branch(spec: StageSpec, index: int, dim_in: int, stride: int) -> nn.Module:
    """The residual branch of block ``index``."""
    kernel_t = spec.kernels_t[index]
    if spec.branch == "basic":
        return BasicBranch(
            dim_in, spec.dim_out, kernel_t=kernel_t, stride=stride, dilation=spec.dilation
        )
    if spec.branch == "x3d":
        return X3DBranch(
            dim_in,
            spec.dim_inner,
            spec.dim_out,
            kernel_t=kernel_t,
            stride=stride,
            dilation=spec.dilation,
            groups=spec.groups,
            with_se=index % 2 == 0,
        )
    if spec.branch != "bottleneck":
        raise ValueError(f"residual branch {spec.branch!r}: give one of {BRANCHES}")
    return Bottleneck(
        dim_in,
        spec.dim_inner,
        spec.dim_out,
        kernel_t=kernel_t,
        stride=stride,
        dilation=spec.dilation,
        groups=spec.groups,
        stride_1x1=spec.stride_1x1,
    )


def temporal_kernels(basis: Sequence[int], blocks: int, num_temporal: int) -> list[int]:
    """Temporal kernel of each block of a stage: ``basis`` in turn, then 1s.

    Args:
        basis: alternating kernels, e.g. ``(3, 1)``.
        blocks: blocks of the stage.
        num_temporal: the first so many follow ``basis`` (``RESNET.NUM_BLOCK_TEMP_KERNEL``).

    >>> temporal_kernels((3, 1), blocks=6, num_temporal=4)
    [3, 1, 3, 1, 1, 1]
    """
    return [basis[i % len(basis)] if i < num_temporal else 1 for i in range(blocks)]
