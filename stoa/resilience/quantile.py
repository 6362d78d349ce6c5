"""Quantiles of recent values, streaming: a histogram with logarithmic buckets, as HDR histograms and DDSketch have.

A value is known to about 2.5 %; memory is bounded whatever comes; old values fall out after at most two half windows.
"""

import math
from typing import Final

__all__ = ["RecentQuantiles"]

GROWTH: Final = 1.05
_LOG_GROWTH: Final = math.log(GROWTH)
SMALLEST: Final = 1e-6
LARGEST: Final = 1e6


class RecentQuantiles:
    """Two histograms, each for half of `window_seconds`: the one being filled and the one before."""

    __slots__ = ("_before", "_current", "_half_seconds", "_since", "count")

    def __init__(self, window_seconds: float = 60.0) -> None:
        self._half_seconds = window_seconds / 2.0
        self._since = 0.0
        self._current: dict[int, int] = {}
        self._before: dict[int, int] = {}
        self.count = 0
        """The values in the window."""

    def __repr__(self) -> str:
        return f"<RecentQuantiles of {self.count} values>"

    def add(self, value: float, now: float) -> None:
        self._turn(now)
        bucket = int(math.log(min(max(value, SMALLEST), LARGEST) / SMALLEST) / _LOG_GROWTH)
        self._current[bucket] = self._current.get(bucket, 0) + 1
        self.count += 1

    def quantile(self, share: float, now: float) -> float | None:
        """The value that this share of the recent ones is at or below; None when there are none."""
        self._turn(now)
        if not self.count:
            return None
        left = max(1, math.ceil(share * self.count))
        bucket = 0
        for bucket in sorted(self._current.keys() | self._before.keys()):
            left -= self._current.get(bucket, 0) + self._before.get(bucket, 0)
            if left <= 0:
                break
        return SMALLEST * GROWTH ** (bucket + 0.5)

    def _turn(self, now: float) -> None:
        passed = now - self._since
        if passed < self._half_seconds:
            return
        self._before = self._current if passed < 2.0 * self._half_seconds else {}
        self._current = {}
        self._since = now
        self.count = sum(self._before.values())
