"""How many extra calls (retries, hedges) are allowed: a share of the ordinary ones, so that trouble cannot multiply.

A token bucket, as Finagle's `RetryBudget` and Envoy's `retry_budget`: each ordinary call pays in, each extra takes one.
"""

__all__ = ["Budget"]


class Budget:
    """`share` tokens per call, at least `floor_per_second`; what is not used is kept, up to `capacity` tokens.

    In any stretch of time no more is spent than `capacity + share * calls + floor_per_second * seconds`. It starts like
    one that has been idle: full as far as the floor fills it, empty without a floor.
    """

    __slots__ = ("_at", "_tokens", "capacity", "floor_per_second", "refused", "share", "spent")

    def __init__(self, share: float, *, floor_per_second: float = 0.0, capacity: float | None = None) -> None:
        self.share = share
        self.floor_per_second = floor_per_second
        self.capacity = max(10.0, 10.0 * floor_per_second) if capacity is None else capacity
        self.spent = 0
        self.refused = 0
        self._tokens = self.capacity if floor_per_second > 0.0 else 0.0
        self._at: float | None = None

    def __repr__(self) -> str:
        return f"<Budget {self._tokens:.1f} of {self.capacity:g} left, {self.spent} spent, {self.refused} refused>"

    def deposit(self, now: float) -> None:
        """An ordinary call begins."""
        # The larger of the two, per call: at a steady rate this is exactly "a share of the calls, at least the floor".
        self._fill(max(self.share, self.floor_per_second * self._passed(now)))

    def try_spend(self, now: float) -> bool:
        """Take one token for an extra call. False when there is none: then there is no extra call."""
        self._fill(self.floor_per_second * self._passed(now))
        if self._tokens < 1.0:
            self.refused += 1
            return False
        self._tokens -= 1.0
        self.spent += 1
        return True

    def refund(self) -> None:
        """A token that was taken and then not used after all."""
        self.spent -= 1
        self._fill(1.0)

    def available(self, now: float) -> float:
        return min(self.capacity, self._tokens + self.floor_per_second * (0.0 if self._at is None else now - self._at))

    def _fill(self, tokens: float) -> None:
        self._tokens = min(self.capacity, self._tokens + tokens)

    def _passed(self, now: float) -> float:
        passed = 0.0 if self._at is None else max(0.0, now - self._at)
        self._at = now if self._at is None else max(now, self._at)
        return passed
