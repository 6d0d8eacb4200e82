"""Stages are told apart, also one inside another."""

import time

from slowfast.utils.stopwatch import Stopwatch, no_watch


def test_inner_stages_are_taken_off():
    ticks = iter(range(100))
    watch = Stopwatch(lambda: next(ticks))
    with watch("a"):  # 0
        with watch("b"):  # 1 to 2
            pass
        with watch("b"), watch("c"):  # 3 to 6
            pass
    assert watch.take() == {"a": 3, "b": 3, "c": 1}
    assert watch.take() == {}
    with watch("a"):
        pass
    assert watch.seconds == {"a": 1}


def test_stages_end_with_errors():
    watch = Stopwatch(time.perf_counter)
    try:
        with watch("a"), watch("b"):
            raise ValueError
    except ValueError:
        time.sleep(0.01)
    assert sum(watch.seconds.values()) < 0.01


def test_no_watch():
    with no_watch("a"), no_watch("a"):
        pass
