"""Several chains side by side, and Fast frames joining Slow ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from slowfast.models.layers.fusion import FuseFastToSlow
from slowfast.models.layers.pathways import Pathways
from slowfast.models.streaming.conv import CachedConv
from slowfast.models.streaming.memory import Memory
from slowfast.models.streaming.stream import Chain
from slowfast.models.streaming.timing import Timing

Maps = list[Tensor | None]
"""Per pathway: ``(B, C, H, W)``, or ``None`` where there is no new one in this step."""


class PathwayChains(nn.Module):
    """One stage of a network.

    Args:
        stage: of the clip model.
        name: of its memory.
        timings: of the pathways.
    """

    def __init__(self, stage: Pathways, name: str, timings: Sequence[Timing]) -> None:
        super().__init__()
        self.chains = nn.ModuleList(
            Chain([(f"{name}.{part}", getattr(stage, part)) for part in parts], timing)
            for parts, timing in zip(stage.names, timings, strict=True)
        )

    @property
    def timings(self) -> list[Timing]:
        """Of the pathways behind the stage."""
        return [chain.timing for chain in self.chains if isinstance(chain, Chain)]

    def forward(self, maps: Maps, memory: Memory) -> Maps:
        return [
            None if x is None else chain(x, memory)
            for chain, x in zip(self.chains, maps, strict=True)
        ]


class StreamFusion(nn.Module):
    """Fast's channels for Slow, at Slow's rate; whichever is early waits.

    Args:
        fusion: of the clip model.
        name: of its memory.
        timings: of Slow and Fast.
    """

    def __init__(self, fusion: FuseFastToSlow, name: str, timings: Sequence[Timing]) -> None:
        super().__init__()
        slow, fast = timings
        conv = fusion.conv_f2s
        ready = CachedConv(conv, name, fast).timing
        # Both are to have their values in the same steps: Fast waits for the next of Slow's.
        wait = (slow.delay - ready.delay) % slow.rate
        self.lateral = CachedConv(conv, f"{name}.lateral", fast, wait=wait)
        self.lateral.fold(fusion.bn)
        lateral = self.lateral.timing
        self.name, self.slow = name, slow
        ticks = (lateral.delay - slow.delay) // slow.rate
        self.slow_waits, self.lateral_waits = max(ticks, 0), max(-ticks, 0)
        delay = max(lateral.delay, slow.delay)
        joined = Timing(slow.rate, delay, max(slow.back, lateral.back))
        self.timings = [joined, fast]

    def forward(self, maps: Maps, memory: Memory) -> Maps:
        slow, fast = maps
        lateral = None if fast is None else self.lateral(fast, memory)
        if slow is not None:
            slow = memory.past(f"{self.name}.slow", slow, self.slow_waits, self.slow)[0]
        if lateral is not None:
            lateral = memory.past(
                f"{self.name}.fast", torch.relu(lateral), self.lateral_waits, self.slow
            )[0]
        if slow is None or lateral is None:  # both or neither, as they have the same steps
            return [None, fast]
        return [torch.cat([slow, lateral], dim=1), fast]
