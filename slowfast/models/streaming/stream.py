"""Layers that take one value of time at a time, and how a clip model's layers become such."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from slowfast.models.streaming.memory import Memory
from slowfast.models.streaming.timing import Timing
from slowfast.registry import Registry
from slowfast.utils.errors import UserError

Named = tuple[str, nn.Module]


class StreamingError(UserError, ValueError):
    """A network, or a use of it, that does not go frame by frame."""


class Stream(nn.Module):
    """A layer over maps ``(B, C, H, W)`` of one moment.

    ``forward(x, memory)`` returns the newest value of its output, ``None`` where a temporal stride
    leaves none in this step.

    Args:
        timing: of the output.
    """

    def __init__(self, timing: Timing) -> None:
        super().__init__()
        self.timing = timing

    def forward(self, x: Tensor, memory: Memory) -> Tensor | None:
        raise NotImplementedError


STREAMS: Registry[Callable[[Any, str, Timing], Stream]] = Registry(
    "layer with a streaming form",
    {
        "torch.nn.modules.conv:Conv3d": "slowfast.models.streaming.conv:CachedConv",
        "torch.nn.modules.batchnorm:_BatchNorm": "slowfast.models.streaming.elementwise:Affine",
        "torch.nn.modules.pooling:MaxPool3d": "slowfast.models.streaming.pool:CachedPool",
        "torch.nn.modules.pooling:AvgPool3d": "slowfast.models.streaming.pool:CachedPool",
        **{
            f"torch.nn.modules.activation:{name}": (
                "slowfast.models.streaming.elementwise:Elementwise"
            )
            for name in ("ReLU", "SiLU", "Hardswish", "Hardsigmoid", "Sigmoid", "ReLU6")
        },
        "slowfast.models.layers.se:SqueezeExcite": "slowfast.models.streaming.squeeze:Gate",
        "slowfast.models.layers.mobilenetv3_block:FrameSqueezeExcite": (
            "slowfast.models.streaming.squeeze:Gate"
        ),
        "slowfast.models.layers.resblock:ResBlock": (
            "slowfast.models.streaming.residual:stream_res_block"
        ),
        "slowfast.models.layers.mobilenetv3_block:InvertedResidual": (
            "slowfast.models.streaming.residual:stream_inverted"
        ),
    },
)
"""``module:class`` of a layer -> what makes its streaming form from it, a name and its timing."""

CHAINS: dict[str, tuple[str, ...]] = {
    "slowfast.models.layers.stem:ResNetStem": ("conv", "bn", "relu", "pool_layer"),
    "slowfast.models.layers.stem:X3DStem": ("conv_xy", "conv", "bn", "relu"),
    "slowfast.models.layers.branches:Bottleneck": (
        *("a", "a_bn", "a_relu", "b", "b_bn", "b_relu"),
        *("c", "c_bn"),
    ),
    "slowfast.models.layers.branches:BasicBranch": ("a", "a_bn", "a_relu", "b", "b_bn"),
    "slowfast.models.layers.x3d_branch:X3DBranch": (
        *("a", "a_bn", "a_relu", "b", "b_bn", "se", "b_act"),
        *("c", "c_bn"),
    ),
    "slowfast.models.layers.mobilenetv3_block:ConvNormAct": ("conv", "bn", "act"),
    "slowfast.models.layers.lgd:Perceptron": ("fc1", "fc1_bn", "act", "fc2", "fc2_bn"),
    "slowfast.models.mobilenet3d:SeparableBlock": (
        *("conv1", "bn1", "relu", "conv2", "bn2", "relu"),
    ),
}
"""Layers that do nothing but run their parts in this order."""

SKIPPED = ("torch.nn.modules.linear:Identity", "slowfast.models.layers.drop_path:DropPath")
"""Layers without effect on a trained network; so are torch's dropouts."""


class Chain(Stream):
    """Layers one after the other; batch norms become part of the convolution before.

    Args:
        parts: name and layer, in order of execution.
        timing: of the input.
    """

    def __init__(self, parts: Iterable[Named], timing: Timing) -> None:
        links: list[Stream] = []
        for name, module in parts:
            for part_name, part in flatten(module, name):
                fold = getattr(links[-1], "fold", None) if links else None
                if fold is not None and isinstance(part, _BatchNorm):
                    fold(part)
                    continue
                links.append(convert(part, part_name, timing))
                timing = links[-1].timing
        super().__init__(timing)
        self.links = nn.ModuleList(links)

    def forward(self, x: Tensor, memory: Memory) -> Tensor | None:
        value: Tensor | None = x
        for link in self.links:
            if value is None:
                return None
            value = link(value, memory)
        return value


def convert(module: nn.Module, name: str, timing: Timing) -> Stream:
    """The streaming form of ``module``.

    Args:
        module: of a clip model; copied, not changed.
        name: under which its memory is kept; unique.
        timing: of its input.

    Raises:
        StreamingError: it has none.
    """
    if _find(module, CHAINS) is not None or isinstance(module, nn.Sequential):
        return Chain([(name, module)], timing)
    found = _find(module, STREAMS)
    if found is None:
        raise StreamingError(
            f"{name} is a {type(module).__name__}, which does not run frame by frame"
            f"{REASONS.get(type(module).__name__, '')}"
        )
    return STREAMS.get(found)(module, name, timing)


REASONS = {"NonLocal": ": it compares all frames of a clip. Train without NONLOCAL.LOCATION"}


def flatten(module: nn.Module, name: str) -> Iterator[Named]:
    """The layers of a chain of chains; those without effect are left out."""
    if _find(module, SKIPPED) is not None or isinstance(module, nn.modules.dropout._DropoutNd):
        return
    attributes = _find(module, CHAINS)
    if attributes is not None:
        for attribute in CHAINS[attributes]:
            yield from flatten(getattr(module, attribute), f"{name}.{attribute}")
    elif isinstance(module, nn.Sequential):
        for child_name, child in module.named_children():
            yield from flatten(child, f"{name}.{child_name}")
    else:
        yield name, module


def _find(module: nn.Module, table: Collection[str] | Registry[Any]) -> str | None:
    """Entry of the nearest base class of ``module`` that ``table`` has."""
    known = set(table)
    names = (f"{kind.__module__}:{kind.__qualname__}" for kind in type(module).__mro__)
    return next((name for name in names if name in known), None)
