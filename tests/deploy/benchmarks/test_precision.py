"""A precision is chosen for speed among those that answer alike, and it is said why."""

import pytest

from slowfast.deploy.benchmarks.precision import Candidate, choose
from slowfast.deploy.latency import Timing
from slowfast.utils.errors import UserError

F32 = Candidate("eager f32", "f32", Timing((0.4,) * 8), 100.0)
FASTER = Candidate("openvino f32", "f32", Timing((0.2,) * 8), 100.0)


def candidate(name, seconds, agreement):
    return Candidate(name, name.split()[-1], Timing(tuple(seconds)), agreement)


def test_the_fastest_that_agrees():
    bf16 = candidate("bf16", [0.1] * 8, 99.5)
    int8 = candidate("int8", [0.05] * 8, 97.0)
    found = choose([F32, FASTER, bf16, int8], clips=200)
    assert found.name == "bf16"
    assert found.why == (
        "openvino f32: 200 ms, the fastest in f32.",
        "bf16: 2.00 times as fast, agrees on 99.5 % of 200 clips: may be used.",
        "int8: 4.00 times as fast, agrees on 97.0 % of 200 clips: refused, less than 99 %.",
        "Chosen: bf16.",
    )
    assert choose([F32, FASTER, bf16, int8], clips=200, min_agreement=90).name == "int8"


def test_f32_unless_something_speaks_for_another():
    quick = [0.1] * 8
    assert choose([F32, candidate("bf16", quick, 100.0)], clips=20).name == "eager f32"
    assert choose([F32, candidate("bf16", quick, None)], clips=200).name == "eager f32"
    sometimes = candidate("bf16", [0.1, 0.1, 0.1, 0.5, 0.5, 0.1, 0.5, 0.1], 100.0)
    found = choose([F32, sometimes], clips=200)
    assert found.name == "eager f32"
    assert "does not win three turns of four" in found.why[1]
    assert choose([F32, candidate("bf16", quick, float("nan"))], clips=200).name == "eager f32"


def test_a_file_in_f32_that_answers_otherwise_is_no_yardstick():
    broken = Candidate("broken f32", "f32", Timing((0.01,) * 8), 40.0)
    assert choose([F32, broken], clips=200).name == "eager f32"
    with pytest.raises(UserError, match="no candidate is in f32"):
        choose([broken, candidate("bf16", [0.1] * 8, 100.0)], clips=200)
