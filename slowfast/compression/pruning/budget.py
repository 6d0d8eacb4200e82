"""The pruning ratio that meets a budget: MACs, parameters or measured milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from slowfast.compression.pruning.schedule import MAX_RATIO
from slowfast.utils.errors import UserError

PRECISION = 0.002
"""Of a ratio that is searched by counting: one channel in 500."""

CLOSE_ENOUGH = 0.03
"""Of a latency, relative to its target: about as far as repeated measurements lie apart."""


class BudgetError(UserError, ValueError):
    """A budget that pruning cannot meet, or need not."""


def search_ratio(
    cost_at: Callable[[float], float], limit: float, *, what: str = "cost", start: float = 0.0
) -> float:
    """The smallest ratio whose cost is at most ``limit``, by bisection.

    Args:
        cost_at: ratio -> cost; falls, in steps.
        limit: the budget.
        what: the cost's name and unit in messages.
        start: ratio reached by earlier cuts; where it is enough, it is the answer.

    Raises:
        BudgetError: not even the highest ratio is enough, or none is needed.
    """
    if cost_at(start) <= limit:
        if start:
            return start
        raise BudgetError(f"{what} {cost_at(0.0):,.4g} is within the target of {limit:,.4g} as is")
    least = cost_at(MAX_RATIO)
    if least > limit:
        raise BudgetError(
            f"{what} {limit:,.4g} is out of reach: with {MAX_RATIO:.0%} of the channels removed it "
            f"is still {least:,.4g}. Protect less (PRUNING.PROTECT_STEMS False gives the stems "
            "free), or take a higher target"
        )
    low, high = start, MAX_RATIO
    while high - low > PRECISION:
        middle = (low + high) / 2
        if cost_at(middle) <= limit:
            high = middle
        else:
            low = middle
    return high


@dataclass
class LatencySearch:
    """Looks for the ratio at which a pruned network takes a given time.

    Latency falls with the ratio, but neither smoothly nor exactly: vector units like some widths,
    and clocks are noisy. So the search goes through measured points and ends at the nearest one.
    Points are shares of the unpruned network's time, timed by turns with it, so that a machine
    that is busy for a while does not lead astray.

    Args:
        measure: ratio -> latency, as a share of the unpruned network's.
        whole_ms: what that one takes, in ms, as known so far.
        target_ms: wanted.
        max_points: measured at most.
        start: ratio reached by earlier cuts.

    Attributes:
        points: ratio -> share, as measured.
    """

    measure: Callable[[float], float]
    whole_ms: Callable[[], float]
    target_ms: float
    max_points: int = 10
    start: float = 0.0
    points: dict[float, float] = field(default_factory=dict)

    def run(self) -> float:
        """The ratio of the point nearest to the target.

        Raises:
            BudgetError: the unpruned network is fast enough, or no ratio is.
        """
        low, high = self.start, MAX_RATIO
        if self._at(low) <= self.target_ms:
            if low:
                return low
            raise BudgetError(
                f"the network takes {self._at(low):.3g} ms as it is, less than the target of "
                f"{self.target_ms:g} ms: there is nothing to prune for"
            )
        if self._at(high) > self.target_ms:
            raise BudgetError(
                f"{self.target_ms:g} ms is out of reach: with {MAX_RATIO:.0%} of the channels "
                f"removed the network takes {self._at(high):.3g} ms. Fewer frames or a smaller "
                "crop save more"
            )
        while len(self.points) < self.max_points and self._miss(self.nearest) > CLOSE_ENOUGH:
            middle = self._between(low, high)
            if self._at(middle) > self.target_ms:
                low = middle
            else:
                high = middle
        return self.nearest

    @property
    def nearest(self) -> float:
        """The ratio measured nearest to the target."""
        return min(self.points, key=self._miss)

    def _miss(self, ratio: float) -> float:
        return abs(self._at(ratio) / self.target_ms - 1)

    def _at(self, ratio: float) -> float:
        """Milliseconds."""
        if ratio not in self.points:
            share = self.measure(ratio)
            self.points[ratio] = share if ratio else 1.0  # but for noise
        return self.points[ratio] * self.whole_ms()

    def _between(self, low: float, high: float) -> float:
        """Where a straight line meets the target, but well inside of the two ratios."""
        slow, fast = self._at(low), self._at(high)
        share = (slow - self.target_ms) / (slow - fast) if slow > fast else 0.5
        return low + min(max(share, 0.15), 0.85) * (high - low)
