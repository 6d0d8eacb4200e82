import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from slowfast.deploy.latency import (
    Timing,
    describe_machine,
    speedup,
    time_interleaved,
    time_runs,
)


def test_runs_take_turns_and_warm_up_first():
    calls = []
    timings = time_interleaved(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, warmup=2, repeats=3
    )
    assert "".join(calls) == "aabb" + "ab" + "ba" + "ab"
    assert [len(t.seconds) for t in timings.values()] == [3, 3]


def test_percentiles_throughput_and_speedup_against_numpy():
    slow, fast = Timing((0.2, 0.4, 0.3)), Timing((0.1, 0.1, 0.2))
    assert slow.percentile_ms(50) == pytest.approx(300)
    assert slow.percentile_ms(90) == pytest.approx(np.percentile([200, 400, 300], 90))
    assert slow.as_dict()["iqr_ms"] == pytest.approx(100)
    assert slow.per_second(6) == pytest.approx({"median": 20, "q25": 17.5, "q75": 25})
    ratio = speedup(slow, fast)
    assert ratio["median"] == pytest.approx(2)
    assert (ratio["q25"], ratio["q75"]) == pytest.approx(
        tuple(np.percentile([2, 4, 1.5], [25, 75]))
    )


def test_time_runs_sees_a_sleep():
    timing = time_runs(lambda: time.sleep(0.01), warmup=0, repeats=3)
    assert 0.01 <= timing.median_s < 0.1


def test_no_repeats_is_an_error():
    with pytest.raises(ValueError, match="repeats is 0"):
        time_runs(lambda: None, repeats=0)


PEAK = """
import torch
from slowfast.deploy.latency import PeakMemory
with PeakMemory() as memory:
    block = torch.ones({mib} * 2**20 // 4)
    del block
print(memory.mib)
"""


@pytest.mark.parametrize("mib", [16, 64])
def test_peak_memory_sees_an_allocation_that_is_gone_again(mib):
    """In a process of its own: this one may have free memory of earlier tests to take it from."""
    code = PEAK.format(mib=mib)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    if done.stdout.strip() == "None":
        pytest.skip("no /proc on this system")
    assert mib * 0.9 <= float(done.stdout) <= mib + 32


def test_describe_machine_names_what_numbers_depend_on():
    machine = describe_machine()
    assert set(machine) == {"device", "name", "threads", "torch"}
    assert machine["threads"] == torch.get_num_threads()
