from slowfast.reports.compression import rows_table, tradeoff_table

COST = {"params_m": 3.8, "macs_g": 1.96, "size_mib": 14.6}
TIME = {"p50_ms": 40.0, "p90_ms": 44.0}


def test_rows():
    table = rows_table(
        {
            "before": COST | {"metric": "top1_acc", "accuracy": 75.0, "agreement": 100.0},
            "cut": COST | {"metric": "top1_acc", "accuracy": 20.0, "agreement": 25.0},
        },
        "taylor",
    )
    assert table.title == "taylor"
    assert list(table.columns)[-2:] == ["top-1 (%)", "agreement (%)"]
    assert table.rows[1] == ["cut", 3.8, 1.96, 14.6, 20.0, 25.0]


def test_columns_follow_what_is_known():
    assert list(rows_table({"a": COST}).columns) == [
        "network", "params (M)", "MACs (G)", "size (MiB)"
    ]  # fmt: skip
    table = tradeoff_table([COST | {"ratio": 0.5, "latency": TIME}, COST | {"ratio": 0.9}])
    assert table.columns[0] == "ratio"
    assert table.rows[0] == [0.5, 3.8, 1.96, 14.6, 40.0, 44.0]
    assert table.rows[1][-2:] == [None, None]
