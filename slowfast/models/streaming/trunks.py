"""Everything before the pooling, by family: which layers run in which order."""

from __future__ import annotations

from abc import abstractmethod
from typing import cast

from torch import Tensor, nn

from slowfast.models.layers.fusion import FuseFastToSlow
from slowfast.models.layers.head import X3DHead
from slowfast.models.layers.pathways import Pathways
from slowfast.models.mobilenetv3 import Backbone
from slowfast.models.staged import StagedModel
from slowfast.models.streaming.diffusion import StreamDiffusion
from slowfast.models.streaming.heads import x3d_parts
from slowfast.models.streaming.memory import Memory
from slowfast.models.streaming.pathways import Maps, PathwayChains, StreamFusion
from slowfast.models.streaming.stream import Chain, Named, StreamingError, convert
from slowfast.models.streaming.timing import Timing


class Trunk(nn.Module):
    """A frame -> maps, per pathway ``(B, C, H, W)`` or ``None``.

    Attributes:
        timings: of the maps.
    """

    timings: list[Timing]

    @abstractmethod
    def forward(self, frame: Tensor, memory: Memory) -> Maps:
        """The newest maps after ``frame``, ``(B, C, H, W)``."""


class ChainTrunk(Trunk):
    """One chain of layers."""

    def __init__(self, parts: list[Named]) -> None:
        super().__init__()
        self.chain = Chain(parts, Timing())
        self.timings = [self.chain.timing]

    def forward(self, frame: Tensor, memory: Memory) -> Maps:
        return [self.chain(frame, memory)]


class StagedTrunk(Trunk):
    """C2D, I3D, Slow, X3D and SlowFast, which takes every ``alpha``-th frame to Slow."""

    def __init__(self, model: StagedModel) -> None:
        super().__init__()
        stages = [(name, getattr(model, name)) for name in model.stages]
        fusions = [stage for _, stage in stages if isinstance(stage, FuseFastToSlow)]
        self.inputs = [Timing()]
        if fusions:
            self.inputs = [Timing(rate=fusions[0].conv_f2s.stride[0]), Timing()]
        self.timings = list(self.inputs)
        converted: list[nn.Module] = []
        for name, stage in stages:
            kind = StreamFusion if isinstance(stage, FuseFastToSlow) else PathwayChains
            if not isinstance(stage, FuseFastToSlow | Pathways):
                raise StreamingError(f"{name} is a {type(stage).__name__}, not a stage")
            stream = kind(stage, name, self.timings)  # type: ignore[arg-type]
            converted.append(stream)
            self.timings = stream.timings
        self.stages = nn.ModuleList(converted)
        head = x3d_parts(model.head)[0] if isinstance(model.head, X3DHead) else []
        self.before_pool = Chain(head, Timing())

    def forward(self, frame: Tensor, memory: Memory) -> Maps:
        maps: Maps = [frame if memory.ticks(timing) else None for timing in self.inputs]
        for stage in self.stages:
            maps = stage(maps, memory)
        return [None if x is None else self.before_pool(x, memory) for x in maps]


class MobileNetV3Trunk(Trunk):
    """Stem, blocks and last layer, with local-global diffusion where the network has it."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        stem = convert(backbone.stem, "stem", Timing())
        self.blocks = nn.ModuleList([stem])
        paths: list[nn.Module] = []
        timing, vector = stem.timing, None
        for i, block in enumerate([None, *backbone.blocks]):
            if block is not None:
                stream = convert(block, f"blocks.{i - 1}", timing)
                self.blocks.append(stream)
                timing = stream.timing
            if backbone.lgd is not None and i < backbone.lgd.num_maps:
                path = StreamDiffusion(backbone.lgd, i, f"lgd.{i}", timing, vector)
                paths.append(path)
                vector = timing
        self.paths = nn.ModuleList(paths)
        last = convert(backbone.last, "last", timing)
        self.last, self.timings = last, [last.timing]

    def forward(self, frame: Tensor, memory: Memory) -> Maps:
        x: Tensor | None = frame
        vector: Tensor | None = None
        for i, block in enumerate(self.blocks):
            x = None if x is None else block(x, memory)
            if i < len(self.paths):
                x, vector = cast(
                    "tuple[Tensor | None, Tensor | None]", self.paths[i](x, vector, memory)
                )
        return [None if x is None else self.last(x, memory)]
