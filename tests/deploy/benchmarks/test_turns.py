"""Times, ratios, energy, neighbours: arithmetic first."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from slowfast.deploy.benchmarks.busy import Neighbours, time_beside
from slowfast.deploy.benchmarks.compare import busy_row, ratio, timing_row
from slowfast.deploy.benchmarks.contender import Contender
from slowfast.deploy.benchmarks.energy import EnergyMeter
from slowfast.deploy.benchmarks.spec import Spec
from slowfast.deploy.benchmarks.turns import Turns, take_turns


def contender(predictions=1, frames=1, **spec):
    return Contender(Spec("a.yaml", **spec), "a", lambda: None, predictions, frames, {})


def test_a_quick_one_runs_several_times_in_a_turn(monkeypatch):
    calls = []
    takes = {"s": 0.2, "q": 0.03}

    def fake(run, device):
        run()
        return takes[calls[-1]]

    monkeypatch.setattr("slowfast.deploy.benchmarks.turns.time_call", fake)
    runs = {"slow": lambda: calls.append("s"), "quick": lambda: calls.append("q")}
    found = take_turns(runs, warmup=2, turns=2, turn_s=0.1)
    assert "".join(calls) == "ssqq" + "s" + "qqqq" + "qqqq" + "s"  # the first q is not measured
    assert found["slow"].seconds == ((0.2,), (0.2,))
    assert found["quick"].seconds == ((0.03,) * 3,) * 2
    with pytest.raises(ValueError, match="turns is 0"):
        take_turns({}, turns=0)


def test_medians_are_of_turns_and_percentiles_of_calls():
    turns = Turns(((1.0, 3.0, 2.0), (10.0,)))
    assert turns.medians.seconds == (2.0, 10.0)
    assert turns.calls.seconds == (1.0, 3.0, 2.0, 10.0)
    assert turns.scaled(2).medians.seconds == (4.0, 20.0)
    assert (turns + turns).medians.seconds == (2.0, 10.0) * 2


def test_ratios_are_of_predictions_turn_by_turn():
    """Eight clips in 0.8 s against a frame in 5 ms: 20 times."""
    clips, frames = contender(8, 16, batch=8), contender(1, 1, form="stream")
    found = ratio(clips, Turns(((0.8,), (1.6,), (0.8,))), frames, Turns(((0.005,),) * 3))
    assert found["median"] == pytest.approx(20)
    assert (found["q25"], found["q75"]) == pytest.approx(
        tuple(np.percentile([20, 40, 20], [25, 75]))
    )


def test_numbers_of_a_row():
    row = timing_row(contender(8, 16, batch=8), Turns(((0.5,), (0.5,))))
    assert row["p50_ms"] == pytest.approx(500)  # of the call, which is what one waits
    assert row["clips_per_s"]["median"] == pytest.approx(16)
    assert row["frames_per_s"]["median"] == pytest.approx(256)
    row = timing_row(contender(8, form="stream", batch=2), Turns(((0.02,),)))  # a period of four
    assert row["p50_ms"] == row["p99_ms"] == pytest.approx(5)
    assert row["frames_per_s"]["median"] == pytest.approx(400)
    assert "clips_per_s" not in row
    beside = busy_row(contender(), Turns(((0.1,),)), Turns(((0.15,),)), 3)
    assert beside["p99_times"] == pytest.approx(1.5)
    assert (beside["neighbours"], beside["p50_ms"]) == (3, pytest.approx(150))


def test_neighbours_are_busy_and_gone_afterwards():
    with Neighbours(2) as neighbours:
        found = list(neighbours.processes)
        assert [process.poll() for process in found] == [None, None]
    assert all(process.poll() is not None for process in found)
    neighbours = Neighbours(1)
    with pytest.raises(ZeroDivisionError), neighbours:
        raise ZeroDivisionError
    assert neighbours.processes == []
    with pytest.raises(RuntimeError, match="broken"):
        time_beside({"a": broken()}, 1, turns=1)


def broken():
    """Works alone, not beside another."""
    calls = []

    def run():
        calls.append(0)
        if len(calls) > 3:
            raise RuntimeError("broken")
        time.sleep(0.2)

    return run


ORPHAN = """
import time
from slowfast.deploy.benchmarks.busy import Neighbours
with Neighbours(1) as neighbours:
    print(neighbours.processes[0].pid, flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
def test_neighbours_end_when_the_benchmark_is_killed():
    with subprocess.Popen([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE) as process:
        pid = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        stat = Path(f"/proc/{pid}/stat")
        if stat.exists() and stat.read_text().split()[2] == "Z":
            return  # ended; nobody waits for it here
        time.sleep(0.1)
    raise AssertionError("a busy process outlives its benchmark")


def test_quiet_and_busy_have_as_many_turns():
    found = time_beside({"a": lambda: time.sleep(0.001)}, 0, warmup=1, turns=5)
    quiet, busy = found["a"]
    assert len(quiet.seconds) == len(busy.seconds) == 8  # four rounds of two


def zone(root, name, label, joules):
    folder = root / name
    folder.mkdir()
    (folder / "name").write_text(label + "\n")
    (folder / "energy_uj").write_text(f"{round(joules * 1e6)}\n")
    (folder / "max_energy_range_uj").write_text("100000000\n")  # 100 J
    return folder / "energy_uj"


def test_energy_is_the_sum_of_the_packages(tmp_path):
    first = zone(tmp_path, "intel-rapl:0", "package-0", 90)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 10)
    zone(tmp_path, "intel-rapl:0:0", "core", 5)  # a part of the first
    zone(tmp_path, "intel-rapl:2", "psys", 5)  # both, and the rest of the computer
    meter = EnergyMeter(tmp_path)
    assert meter.why_absent == ""

    def run():
        found = int(first.read_text()) + 4_000_000
        first.write_text(str(found % 100_000_000))
        second.write_text(str(int(second.read_text()) + 1_000_000))

    assert meter.per_call(run, seconds=0) == pytest.approx(5)
    for _ in range(3):
        run()
        before = meter.read()
    assert before == pytest.approx(20)  # over the end of the first counter


def test_energy_that_is_not_there_is_said_to_be(tmp_path):
    meter = EnergyMeter(tmp_path)
    assert "no energy counters" in meter.why_absent
    assert meter.per_call(lambda: None) is None
    zone(tmp_path, "intel-rapl:0", "package-0", 1).unlink()
    assert "cannot be read" in EnergyMeter(tmp_path).why_absent
