from slowfast.compression.quantization.fallback import Fallback
from slowfast.compression.quantization.report import (
    accuracy_sentences,
    speedup,
    timing_row,
    verdict,
)
from slowfast.reports.quantization import quantization_table

FLOAT = [0.020, 0.022, 0.019, 0.021]


def test_times():
    row = timing_row([0.010, 0.020, 0.030])
    assert row["p50_ms"] == 20
    assert row["p90_ms"] == 28
    assert row["clips_per_s"] == 50
    assert speedup(FLOAT, [x / 2 for x in FLOAT])["median"] == 2


def test_faster_is_said_of_what_is_faster():
    found = verdict({"float32": FLOAT, "int8": [x / 2 for x in FLOAT]}, "int8")
    assert found["faster"]
    assert found["sentences"] == [
        "int8 is 2.00 times as fast as float32: 10.2 ms a clip, float32 20.5 ms."
    ]


def test_slower_than_bf16_is_not_faster():
    seconds = {"float32": FLOAT, "bf16": [x / 4 for x in FLOAT], "int8": [x / 2 for x in FLOAT]}
    found = verdict(seconds, "int8")
    assert not found["faster"]
    assert found["speedup"]["float32"]["median"] == 2
    assert found["sentences"][1] == (
        "int8 is NOT faster than bf16 on this machine: 10.2 ms a clip, bf16 5.12 ms; it won 0% of "
        "the turns."
    )


def test_a_lead_within_the_noise_is_none():
    noisy = [0.019, 0.021, 0.018, 0.023]  # ahead in three turns of four, barely in the third
    found = verdict({"float32": [0.020, 0.020, 0.020, 0.020], "int8": noisy}, "int8")
    assert found["speedup"]["float32"]["median"] > 1
    assert not found["faster"]
    assert not verdict({"int8": FLOAT}, "int8")["faster"]  # than nothing


def test_table():
    row = {
        "params_m": 3.8, "macs_g": 2.0, "size_mib": 4.0, "latency": timing_row(FLOAT),
        "peak_mib": None, "metric": "top1_acc", "accuracy": 75.0, "agreement": 99.0,
    }  # fmt: skip
    rows = {"float32": row, "int8": row}
    table = quantization_table({"rows": rows, "result": "int8", "faster": False, "title": "t"})
    assert list(table.columns) == ["", "float32", "int8"]
    assert ["top-1 (%)", 75.0, 75.0] in table.rows
    assert table.rows[-1] == ["faster than the others", None, False]


def sentences(lost, fallback, max_drop=0.5):
    before, after = {"accuracy": 75.0}, {"accuracy": 75.0 - lost}
    options = {"split": "test", "max_drop": max_drop, "fallback": fallback, "layers": 9}
    return accuracy_sentences(before, after, "int8", **options)


def test_losses_are_said():
    tried = [{"float_layers": 0, "drop": 0.25}]
    assert sentences(-0.1, Fallback([], 0.0, tried)) == ["int8 loses nothing on the test split."]
    assert sentences(0.4, Fallback([], 0.25, tried)) == [
        "int8 loses 0.40 points on the test split."
    ]
    lost, kept = sentences(1.5, Fallback(["s1.conv"], 0.25, tried))
    assert "loses 1.50 points on the test split, MORE than the 0.5 allowed" in lost
    assert "it lost 0.25" in lost
    assert kept == "1 of 9 layers stayed in float: s1.conv."
    assert sentences(0, Fallback(list("abcdefghi"), 0.0, tried))[1].endswith("f, g, h and 1 more.")
