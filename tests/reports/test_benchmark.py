from slowfast.reports.benchmark import benchmark_table


def test_numbers_become_rows_with_units_and_spread():
    result = {
        "macs_g": 1.963,
        "latency": {"p50_ms": 12.0},
        "clips_per_s": {"here": {"median": 2.0, "q25": 1.9, "q75": 2.1}},
        "machine": {"name": "a CPU", "threads": 2},
    }
    assert [list(row) for row in benchmark_table(result).rows] == [
        ["MACs (G), one multiply-add counts once", 1.963, None, None],
        ["latency: p50 (ms)", 12.0, None, None],
        ["clips per s: here", 2.0, 1.9, 2.1],
        ["machine: name", "a CPU", None, None],
        ["machine: threads", 2, None, None],
    ]
    assert "2.00" in benchmark_table(result).markdown()
