"""When to ask a second time because the first is slow: after the time that most calls take, from a small budget.

"The Tail at Scale" (Dean and Barroso, CACM 2013): a second request after the 95th percentile cuts the tail for a few
per cent of extra load. What may be asked twice at all is decided elsewhere.
"""

from collections import OrderedDict
from typing import Final

from stoa.resilience.budget import Budget
from stoa.resilience.quantile import RecentQuantiles

__all__ = ["Hedging"]

MAX_KINDS: Final = 256
REFRESH_SECONDS: Final = 0.5
MAX_SAVED: Final = 50.0
"""Slow calls come in bursts: what quiet times have left of the budget is kept for them."""


class _Kind:
    """The latencies of calls of one kind; the quantile is worked out anew only now and then."""

    __slots__ = ("delay", "latencies", "refresh_at")

    def __init__(self, window_seconds: float) -> None:
        self.latencies = RecentQuantiles(window_seconds)
        self.delay: float | None = None
        self.refresh_at = 0.0


class Hedging:
    """`started` and `finished` for each call; `delay` says how long to wait, `may_hedge` takes from the budget.

    `kind` keeps apart what takes different times (the tool's name); at most 256 kinds are remembered.
    """

    def __init__(
        self,
        *,
        quantile: float = 0.95,
        min_calls: int = 100,
        budget_share: float = 0.05,
        window_seconds: float = 60.0,
        is_on: bool = True,
    ) -> None:
        self.budget = Budget(budget_share, capacity=MAX_SAVED)
        self._quantile = quantile
        self._min_calls = min_calls
        self._window_seconds = window_seconds
        self._is_on = is_on
        self._kinds: OrderedDict[str, _Kind] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Hedging {'on' if self._is_on else 'off'}, {len(self._kinds)} kinds, {self.budget}>"

    def started(self, now: float) -> None:
        """An ordinary call begins (a hedge itself is none)."""
        self.budget.deposit(now)

    def finished(self, seconds: float, now: float, *, kind: str = "") -> None:
        """A call was answered, from the first asking to the answer."""
        found = self._kinds.get(kind)
        if found is None:
            found = self._kinds[kind] = _Kind(self._window_seconds)
            if len(self._kinds) > MAX_KINDS:
                self._kinds.popitem(last=False)
        else:
            self._kinds.move_to_end(kind)
        found.latencies.add(seconds, now)

    def delay(self, now: float, *, kind: str = "") -> float | None:
        """How long to wait for the first before asking a second; None: do not (off, or too little is known)."""
        if not self._is_on or (found := self._kinds.get(kind)) is None:
            return None
        if now >= found.refresh_at:
            value = found.latencies.quantile(self._quantile, now)
            found.delay = value if found.latencies.count >= self._min_calls else None
            found.refresh_at = now + REFRESH_SECONDS
        return found.delay

    def may_hedge(self, now: float) -> bool:
        """Take one from the budget. False: go on waiting for the first."""
        return self._is_on and self.budget.try_spend(now)
