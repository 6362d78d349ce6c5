"""A moving average of latencies that believes bad news at once and good news slowly.

The formula is Finagle's "peak EWMA" (`com.twitter.finagle.loadbalancer.PeakEwma`).
"""

import math

__all__ = ["PeakEwma"]


class PeakEwma:
    """A peak counts at once; what is lower pulls the average down with the time constant `decay_seconds`.

    Unobserved, the value decays towards 0: whoever was slow is tried again after a while.
    """

    __slots__ = ("_at", "_value", "decay_seconds")

    def __init__(self, decay_seconds: float) -> None:
        self.decay_seconds = decay_seconds
        self._value = -1.0  # nothing observed yet
        self._at = 0.0

    def __repr__(self) -> str:
        return f"<PeakEwma {self._value:.4g} at {self._at:.3f}>" if self.is_known else "<PeakEwma, nothing observed>"

    @property
    def is_known(self) -> bool:
        return self._value >= 0.0

    def observe(self, value: float, now: float) -> None:
        if self._value < 0.0:
            self._value, self._at = value, now
            return
        kept = math.exp(min(0.0, self._at - now) / self.decay_seconds)
        decayed = self._value * kept
        self._value = value if value > decayed else decayed + value * (1.0 - kept)
        self._at = max(now, self._at)

    def observe_at_least(self, value: float, now: float) -> None:
        """Something is known to be no faster than this, and no more is known: it counts only as a peak."""
        if value > (self.value(now) or 0.0):
            self._value, self._at = value, max(now, self._at)

    def value(self, now: float) -> float | None:
        """The average as of now; None before the first observation."""
        if self._value < 0.0:
            return None
        return self._value * math.exp(min(0.0, self._at - now) / self.decay_seconds)

    def forget(self) -> None:
        self._value = -1.0
