import pytest

from slowfast.compression.pruning.budget import BudgetError, LatencySearch, search_ratio
from slowfast.compression.pruning.schedule import MAX_RATIO


def quadratic(ratio):
    """MACs of a chain of layers, in steps as channels are whole."""
    kept = round(100 * (1 - ratio))
    return kept**2


@pytest.mark.parametrize("limit", [9000, 5000, 2500, 400, 26])
def test_the_widest_network_within_the_limit(limit):
    ratio = search_ratio(quadratic, limit)
    assert quadratic(ratio) <= limit
    assert quadratic(ratio - 0.012) > limit  # one channel more


def test_goes_on_from_earlier_cuts():
    assert search_ratio(quadratic, 5000, start=0.5) == 0.5  # enough already
    assert quadratic(search_ratio(quadratic, 2000, start=0.5)) <= 2000


def test_out_of_reach():
    with pytest.raises(BudgetError, match=r"GMACs 1 is out of reach: with 95% .* still 25"):
        search_ratio(quadratic, 1, what="GMACs")
    with pytest.raises(BudgetError, match="within the target of 2e"):
        search_ratio(quadratic, 20_000)


@pytest.mark.parametrize("target", [45.0, 30.0, 20.7, 12.0])
def test_latency_that_falls_unevenly(target):
    """Slower at first, with steps, as measured networks are; within 10 % in ten points."""

    def measure(ratio):
        return 46.0 if 0 < ratio < 0.05 else 5 + 40 * (1 - round(ratio, 1)) ** 1.2 + 2 * (1 - ratio)

    found = LatencySearch(lambda ratio: measure(ratio) / 47, lambda: 47.0, target)
    ratio = found.run()
    assert measure(ratio) == pytest.approx(target, rel=0.1)
    assert len(found.points) <= found.max_points
    assert found.points[ratio] == measure(ratio) / 47


def test_a_machine_that_is_busy_at_times():
    """Everything takes up to four times as long: shares are right, the unit gets so."""
    busy, whole = iter([4.0, 1.0, 3.0, 4.0, 1.0, 1.5, 4.0, 1.0, 2.0, 1.0]), []

    def measure(ratio):
        slowdown = next(busy)
        whole.append(40 * slowdown)
        return 1 - 0.9 * ratio

    ratio = LatencySearch(measure, lambda: min(whole), 20.0).run()
    assert 40 * (1 - 0.9 * ratio) == pytest.approx(20, rel=0.1)


def search(measure, target, **options):
    return LatencySearch(lambda ratio: measure(ratio) / 40, lambda: 40.0, target, **options)


def test_latency_out_of_reach_or_met():
    with pytest.raises(BudgetError, match="takes 40 ms as it is"):
        search(lambda ratio: 40 - ratio, 50).run()
    with pytest.raises(BudgetError, match=r"20 ms is out of reach: .* takes 39"):
        search(lambda ratio: 40 - ratio, 20).run()
    assert search(lambda ratio: 40 - ratio, 50, start=0.3).run() == 0.3
    assert MAX_RATIO < 1
