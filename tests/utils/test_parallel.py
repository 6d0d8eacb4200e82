"""Every item gets a result, also when a worker dies at it."""

import os
import signal

import pytest

from slowfast.utils.parallel import WorkerDied, default_workers, run_parallel


def square(number):
    if number == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number


def cube(number):
    if number < 0:
        raise ValueError(f"{number} is negative")
    return number**3


def collect(function, items, workers):
    return dict(run_parallel(function, items, workers=workers, description="t", progress="none"))


@pytest.mark.parametrize("workers", [0, 2])
def test_every_item_has_its_result(workers):
    assert collect(cube, [3, 1, 2], workers) == {0: 27, 1: 1, 2: 8}
    assert collect(cube, [], workers) == {}


@pytest.mark.slow
def test_a_dead_worker_costs_only_its_item():
    results = collect(square, list(range(12)), 2)
    assert results.pop(5) == WorkerDied()
    assert results == {n: n * n for n in range(12) if n != 5}


@pytest.mark.parametrize("workers", [1, 2])
def test_errors_come_through(workers):
    with pytest.raises(ValueError, match="-1 is negative"):
        collect(cube, [1, -1, 2], workers)


def test_default_workers():
    assert 1 <= default_workers() <= (os.cpu_count() or 1)
