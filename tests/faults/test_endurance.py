"""In small what scripts/endurance.py does for hours."""

import sys

import pytest

from tests.faults.endurance import Endured, stream, table, train

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.mark.slow
def test_training_goes_on(tmp_path):
    found = train(tmp_path, 600)
    assert found.steps == 600
    check(found)


@pytest.mark.slow
def test_a_stream_goes_on(tmp_path):
    found = stream(tmp_path, 6000)
    assert found.steps == 6000
    assert found.extra["predictions"] == pytest.approx(6000 / 10, abs=9)
    check(found)


def check(found):
    """As the script's, but for speed: other tests run beside this one."""
    early, late = found.ends(found.memory)
    assert late < early * 1.05, found.memory
    few, many = found.ends(found.handles)
    assert many <= few, found.handles
    fast, slow = found.ends(found.rates)
    assert slow > fast / 5, found.rates
    assert "steps per second" in table({found.target: found.as_dict()})


def test_growth_is_seen():
    """The judge of the others."""
    slower = [50.0 - n for n in range(20)]
    flat = Endured("flat", memory=[100.0] * 20, handles=[9] * 20, rates=slower, paces=slower)
    assert flat.problems == []  # the machine was slower, not the program
    bad = Endured("bad", memory=[100.0 + n for n in range(20)], handles=[*range(20)],
                  rates=slower, paces=[1.0] * 20)  # fmt: skip
    assert len(bad.problems) == 3
