"""Local-global diffusion in a stream: a vector per frame beside the maps."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from slowfast.models.layers.lgd import ContextPool, LocalGlobalDiffusion, PoolPerceptron
from slowfast.models.streaming.memory import Memory
from slowfast.models.streaming.stream import Chain, Stream
from slowfast.models.streaming.timing import Timing


class StreamContext(Stream):
    """``(B, C, H, W)`` -> ``(B, C, 1, 1)``, positions weighted by a softmax of scores."""

    def __init__(self, pool: ContextPool, name: str, timing: Timing) -> None:
        super().__init__(timing)
        parts = [(f"{name}.score", pool.score), (f"{name}.score_bn", pool.score_bn)]
        self.score = Chain(parts, timing)

    def forward(self, x: Tensor, memory: Memory) -> Tensor:
        weights = self.score(x, memory).flatten(2).softmax(dim=-1)  # (B, 1, H * W)
        return torch.bmm(x.flatten(2), weights.transpose(1, 2)).unsqueeze(-1)


class StreamDiffusion(nn.Module):
    """The paths of one map.

    Args:
        lgd: of the clip model.
        i: number of the map.
        name: of its memory.
        timing: of the map.
        vector: of the vector before it; ``None`` for map 0.
    """

    def __init__(
        self,
        lgd: LocalGlobalDiffusion,
        i: int,
        name: str,
        timing: Timing,
        vector: Timing | None,
    ) -> None:
        super().__init__()
        self.name, self.vector = name, vector
        self.age = 0 if vector is None else (timing.delay - vector.delay) // vector.rate

        def path(table: nn.ModuleDict, label: str) -> Chain | None:
            return Chain([(f"{name}.{label}", table[key])], timing) if key in table else None

        key = str(i)
        self.to_local, self.to_global = path(lgd.to_local, "local"), path(lgd.to_global, "global")
        self.pool, self.context = path(lgd.pool, "pool"), None
        if key in lgd.pool:
            pool = cast(PoolPerceptron, lgd.pool[key]).context
            self.context = StreamContext(pool, f"{name}.context", timing)
        self.timing = timing

    def forward(
        self, x: Tensor | None, vector: Tensor | None, memory: Memory
    ) -> tuple[Tensor | None, Tensor | None]:
        """The map and the vector behind, each ``None`` where there is no new one."""
        if vector is not None and self.vector is not None:
            vector = memory.past(self.name, vector, self.age, self.vector)[0]
        if x is None:
            return None, None
        if self.to_local is not None and vector is not None:
            x = x + self.to_local(vector, memory)
        if self.pool is None or self.context is None:
            return x, None
        pooled = self.pool(self.context(x, memory), memory)
        if self.to_global is None or vector is None:
            return x, pooled
        renewed = self.to_global(vector, memory)
        if renewed.shape == vector.shape:
            renewed = renewed + vector
        return x, renewed + pooled
