"""How many of the calls of the last minute succeeded: counts in a ring of buckets, so that old ones fall out."""

from typing import Final

__all__ = ["RecentOutcomes"]

BUCKETS: Final = 6


class RecentOutcomes:
    """The window moves in steps of a sixth of its length."""

    __slots__ = ("_bad", "_good", "_step", "_window_seconds")

    def __init__(self, window_seconds: float) -> None:
        self._window_seconds = window_seconds
        self._step = 0
        self._good = [0] * BUCKETS
        self._bad = [0] * BUCKETS

    def __repr__(self) -> str:
        return f"<RecentOutcomes {sum(self._good)} good, {sum(self._bad)} bad>"

    def add(self, *, is_good: bool, now: float) -> None:
        self._advance(now)
        (self._good if is_good else self._bad)[self._step % BUCKETS] += 1

    def count(self, now: float) -> int:
        self._advance(now)
        return sum(self._good) + sum(self._bad)

    def success_rate(self, now: float) -> float | None:
        """The share that went well; None when there were no calls."""
        count = self.count(now)
        return sum(self._good) / count if count else None

    def clear(self) -> None:
        self._good = [0] * BUCKETS
        self._bad = [0] * BUCKETS

    def _advance(self, now: float) -> None:
        step = int(now * BUCKETS / self._window_seconds)
        passed = step - self._step
        if passed <= 0:
            return
        for past in range(min(passed, BUCKETS)):
            self._good[(step - past) % BUCKETS] = self._bad[(step - past) % BUCKETS] = 0
        self._step = step
