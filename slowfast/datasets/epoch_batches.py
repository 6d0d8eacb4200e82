"""Which videos an epoch takes in which batch, also when another run began it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

from slowfast.datasets.base import Key, Order
from slowfast.datasets.frame_weights import FrameWeights
from slowfast.utils.seed import derived_generator

ORDER_STREAM = 0x0DE7  # tells the shuffling from other uses of (seed, epoch)

Part = tuple[int, int, int]
"""Batches that every process took from an epoch, processes, videos per batch of a process."""


class EpochBatches(Sampler[list[Key]]):
    """Lists of ``(epoch, index)``: the share of one process in an epoch.

    In training every process gets equally many full batches and the rest is dropped (unless it is
    to be kept, by a single process); otherwise the processes share all videos, none dropped and
    none doubled. An epoch that was begun in other parts, by more or fewer processes or in batches
    of another size, goes on with what they did not take.

    Args:
        num_items: videos.
        batch_size: videos per batch of this process.
        train: shuffle and drop.
        rank: number of this process.
        world_size: processes.
        seed: the order is a function of ``(seed, epoch)``.
        drop_last: of training; ``False`` is for one process.
        order: of training, instead of any.
    """

    def __init__(
        self,
        num_items: int,
        batch_size: int,
        *,
        train: bool,
        rank: int = 0,
        world_size: int = 1,
        seed: int = 0,
        drop_last: bool = True,
        order: Order | None = None,
    ) -> None:
        if world_size > 1 and not drop_last:
            raise ValueError("drop_last False: several processes need equally many batches each")
        self.num_items, self.batch_size, self.train = num_items, batch_size, train
        self.rank, self.world_size, self.seed = rank, world_size, seed
        self.drop_last = drop_last
        self.order = order
        self.epoch = 0
        self.frame_weights: FrameWeights | None = None
        self.sent: deque[list[Key]] = deque()  # handed out, not yet come back
        self._taken: Sequence[Part] = ()  # of the next pass
        self._first = 0

    def __len__(self) -> int:
        return self._length(self.num_items)

    def __iter__(self) -> Iterator[list[Key]]:
        self.sent.clear()
        mine, first = self._left(self._taken), self._first
        self._taken, self._first = (), 0
        for number in range(len(self) - first):
            indices = mine[number * self.batch_size : (number + 1) * self.batch_size]
            keys = [self._key(index) for index in indices]
            self.sent.append(keys)
            yield keys

    def part(self, batches: int) -> Part:
        """``batches`` taken by processes as these."""
        return batches, self.world_size, self.batch_size

    def place(self, taken: Sequence[Part]) -> int:
        """The number of the first batch that is left, counted so that the last one is the last."""
        others, own = self._told_apart(taken)
        left = self.num_items - sum(batches * world * size for batches, world, size in others)
        return len(self) - self._length(max(0, left)) + own

    def skip(self, taken: Sequence[Part], batches: int) -> None:
        """Begin the next pass at batch number ``batches`` with what is not ``taken``."""
        self._taken, self._first = tuple(taken), batches

    def _length(self, items: int) -> int:
        if self.train and self.drop_last:
            return items // self.world_size // self.batch_size
        return -(-len(range(self.rank, items, self.world_size)) // self.batch_size)

    def _told_apart(self, taken: Sequence[Part]) -> tuple[list[Part], int]:
        """Parts taken otherwise than here; batches that were taken after them as they are here."""
        parts: list[Part] = []
        for batches, world, size in taken:
            if parts and parts[-1][1:] == (world, size):
                batches += parts.pop()[0]
            parts.append((batches, world, size))
        own = parts.pop()[0] if parts and parts[-1] == self.part(parts[-1][0]) else 0
        return parts, own

    def _left(self, taken: Sequence[Part]) -> list[int]:
        """The videos of this process that are not taken, in order."""
        others, own = self._told_apart(taken)
        gone: set[int] = set()
        for batches, world, size in others:
            shares = [self._share(rank, world, size, gone) for rank in range(world)]
            gone.update(number for share in shares for number in share[: batches * size])
        return self._share(self.rank, self.world_size, self.batch_size, gone)[
            own * self.batch_size :
        ]

    def _share(self, rank: int, world_size: int, batch_size: int, gone: set[int]) -> list[int]:
        """The videos that one of ``world_size`` processes takes when these are ``gone``."""
        if self.train and self.order is not None:
            return self.order(
                self.epoch, rank=rank, world_size=world_size, batch_size=batch_size, gone=gone
            )
        order = list(range(self.num_items))
        if self.train:
            generator = derived_generator(self.seed, self.epoch, ORDER_STREAM)
            order = torch.randperm(self.num_items, generator=generator).tolist()
        if gone:
            order = [number for number in order if number not in gone]
        return order[rank::world_size]

    def _key(self, index: int) -> Key:
        """Weights travel with it: workers keep no copy of the table that could be out of date."""
        if self.frame_weights is None:
            return (self.epoch, index)
        return (self.epoch, index, self.frame_weights.get(index))
