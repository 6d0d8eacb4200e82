"""The order of an epoch over shards: shards in random order, their samples through a buffer."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

import torch

from slowfast.utils.seed import derived_generator

SHARD_STREAM = 0x5AAD  # tells the shuffling from other uses of (seed, epoch)


@dataclass(frozen=True)
class ShardOrder:
    """Which training samples a process takes, a function of ``(seed, epoch)`` and of its rank.

    The shards of an epoch, in random order, make one long row. Every process has a contiguous part
    of it, as long as everybody else's, and reads this part in ``streams`` equal pieces by turns, a
    batch of each; the samples of a piece go through a buffer of ``buffer`` samples, from which the
    next one is drawn at random. Loader workers take batches by turns, too: where their number
    divides ``streams``, each of them goes through its own pieces from front to back. The order is
    the same for any number of workers, and known without reading anything, so that a run can begin
    at any batch.

    Attributes:
        shards: numbers of the samples in each shard, as they lie there.
        seed: of the shuffling.
        buffer: samples; 1 leaves them as they lie.
        streams: pieces.
    """

    shards: tuple[tuple[int, ...], ...]
    seed: int = 0
    buffer: int = 256
    streams: int = 8

    def __call__(
        self,
        epoch: int,
        *,
        rank: int,
        world_size: int,
        batch_size: int,
        gone: Set[int] = frozenset(),
    ) -> list[int]:
        """The numbers of the samples of one process, batch after batch; the last may be short.

        Those that are ``gone`` are left out before the processes share the rest.
        """
        generator = derived_generator(self.seed, epoch, SHARD_STREAM)
        order = torch.randperm(len(self.shards), generator=generator).tolist()
        row = [number for shard in order for number in self.shards[shard] if number not in gone]
        share = len(row) // world_size
        mine = row[rank * share : (rank + 1) * share]
        generator = derived_generator(self.seed, epoch, SHARD_STREAM, rank)
        batches, rest = divmod(share, batch_size)
        pieces: list[list[list[int]]] = []
        start = 0
        for stream in range(self.streams):
            count = batches // self.streams + (stream < batches % self.streams)
            piece = mine[start : start + count * batch_size]
            start += len(piece)
            shuffled = through_buffer(piece, self.buffer, generator)
            pieces.append([shuffled[i : i + batch_size] for i in range(0, len(piece), batch_size)])
        turns = (pieces[turn % self.streams][turn // self.streams] for turn in range(batches))
        tail = through_buffer(mine[len(mine) - rest :], self.buffer, generator)
        return [number for batch in [*turns, tail] for number in batch]


def through_buffer(
    numbers: Sequence[int], size: int, generator: torch.Generator | None
) -> list[int]:
    """``numbers`` drawn at random from a buffer of the next ``size`` ones.

    Example:
        >>> through_buffer([3, 1, 4, 1, 5], 1, None)
        [3, 1, 4, 1, 5]
    """
    if size <= 1:
        return list(numbers)
    draws = torch.rand(len(numbers), generator=generator, dtype=torch.float64).tolist()
    buffer, drawn = list(numbers[:size]), []
    for place, draw in enumerate(draws):
        chosen = int(draw * len(buffer))
        drawn.append(buffer[chosen])
        if place + size < len(numbers):
            buffer[chosen] = numbers[place + size]
        else:
            buffer[chosen] = buffer[-1]
            buffer.pop()
    return drawn
