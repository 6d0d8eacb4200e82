"""What is taken away of every layer, and taking it away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from slowfast.checkpoint.resize import after_cut
from slowfast.compression.pruning.graph import IN, OUT, Group
from slowfast.utils.widths import (
    Widths,
    is_depthwise,
    keep_channels,
    lstm_parts,
    sized_modules,
    widths_of,
)

Removed = dict[str, Tensor]
"""Name of a group -> numbers of the channels that go, among its own."""


@dataclass
class Cut:
    """Channels to take away.

    Attributes:
        removed: ``(module name, role, part)`` -> channels, see
            :class:`~slowfast.compression.pruning.graph.Member`.
    """

    removed: dict[tuple[str, str, int], set[int]] = field(default_factory=lambda: defaultdict(set))

    @classmethod
    def of(cls, groups: Iterable[Group], removed: Mapping[str, Tensor]) -> Cut:
        """What removing channels of groups means for every layer."""
        cut = cls()
        for group in groups:
            gone = removed.get(group.name)
            if gone is None or not len(gone):
                continue
            for member in group.members:
                channels = member.channels[torch.isin(member.roots, gone)]
                cut.removed[member.name, member.role, member.part] |= set(channels.tolist())
        return cut

    def __bool__(self) -> bool:
        return any(self.removed.values())

    def widths(self, model: nn.Module) -> Widths:
        """The table of widths afterwards, of the layers that change."""
        names = {name for (name, _, _), gone in self.removed.items() if gone}
        table = {}
        for name, module in sized_modules(model):
            if name in names:
                kept_in, kept_out = self._kept(name, module)
                table[name] = [len(kept_in), len(kept_out[0])]
        return table

    def apply(self, model: nn.Module) -> None:
        """Take the channels away, in place. Optimisers must be built anew."""
        names = {name for (name, _, _), gone in self.removed.items() if gone}
        for name, module in sized_modules(model):
            if name in names:
                keep_channels(module, *self._kept(name, module))
        after_cut(model)

    def _kept(self, name: str, module: nn.Module) -> tuple[Tensor, list[Tensor]]:
        width_in, width_out = widths_of(module)
        parts = lstm_parts(module) if isinstance(module, nn.LSTM) else 1
        kept_out = [self._rest(width_out, (name, OUT, part)) for part in range(parts)]
        if passes_on(module):
            return kept_out[0], kept_out
        return self._rest(width_in, (name, IN, 0)), kept_out

    def _rest(self, width: int, key: tuple[str, str, int]) -> Tensor:
        gone = self.removed.get(key, ())
        return torch.tensor([i for i in range(width) if i not in gone], dtype=torch.long)


def passes_on(module: nn.Module) -> bool:
    """Whether a layer gives the channels it reads: batch norms, depthwise convolutions."""
    if isinstance(module, nn.modules.conv._ConvNd):
        return is_depthwise(module)
    return not isinstance(module, (nn.Linear, nn.LSTM))
