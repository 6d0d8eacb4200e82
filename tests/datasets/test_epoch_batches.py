"""An epoch that is taken in parts, by other numbers of processes and sizes of batches."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slowfast.datasets.epoch_batches import EpochBatches
from slowfast.datasets.shards.order import ShardOrder

ITEMS = 61
SHARDS = ShardOrder(tuple(tuple(range(at, min(at + 7, ITEMS))) for at in range(0, ITEMS, 7)),
                    seed=3, buffer=5, streams=2)  # fmt: skip

partition = st.tuples(st.integers(1, 4), st.integers(1, 5))  # processes, videos per batch
run = st.tuples(st.integers(0, 4), partition)  # batches before it is stopped


def processes(world_size, batch_size, order):
    for rank in range(world_size):
        batches = EpochBatches(ITEMS, batch_size, train=True, rank=rank, world_size=world_size,
                               seed=1, order=order)  # fmt: skip
        batches.epoch = 2
        yield batches


@given(st.lists(run, max_size=4), partition, st.sampled_from([None, SHARDS]))
def test_what_is_left_is_taken_once(stopped, last, order):
    taken, seen = [], []
    for wanted, (world_size, batch_size) in [*stopped, (ITEMS, last)]:
        group = list(processes(world_size, batch_size, order))
        place = group[0].place(taken)
        assert 0 <= place <= len(group[0])
        count = min(wanted, len(group[0]) - place)
        for batches in group:
            assert batches.place(taken) == place
            batches.skip(taken, place)
            parts = [[index for _, index in keys] for keys in batches]
            assert [len(part) for part in parts] == [batch_size] * (len(batches) - place)
            seen += [index for part in parts[:count] for index in part]
        taken.append(group[0].part(count))
    assert len(set(seen)) == len(seen)
    assert ITEMS - len(seen) < last[0] * last[1]  # what fills no batch of the last processes


@given(st.lists(st.integers(0, 3), max_size=4), partition, st.sampled_from([None, SHARDS]))
def test_parts_of_the_same_processes_are_the_whole(stops, own, order):
    for whole, batches in zip(processes(*own, order), processes(*own, order), strict=True):
        expected, taken, seen = list(whole), [], []
        for count in [*stops, ITEMS]:
            place = batches.place(taken)
            batches.skip(taken, place)
            seen += list(batches)[:count]
            taken.append(batches.part(min(count, len(batches) - place)))
        assert seen == expected


def test_a_pass_leaves_nothing_to_the_next():
    (batches,) = processes(1, 4, None)
    whole = list(batches)
    batches.skip([(2, 1, 4)], 2)
    assert list(batches) == whole[2:]
    assert list(batches) == whole
