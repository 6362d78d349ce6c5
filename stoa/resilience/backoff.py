"""How long to wait before trying again: exponential with full jitter.

Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 (the "full jitter" variant).
"""

import random
from dataclasses import dataclass

__all__ = ["Backoff"]


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits between `floor_seconds` and `first_seconds * factor ** failures`, never more than `most_seconds`."""

    first_seconds: float = 0.25
    factor: float = 2.0
    most_seconds: float = 30.0
    floor_seconds: float = 0.05

    def delay(self, failures: int, rng: random.Random) -> float:
        """Seconds to wait after so many failures in a row (0 means none yet: no wait)."""
        if failures <= 0:
            return 0.0
        # The exponent is capped: the power of a long outage would not fit a float.
        ceiling = min(self.most_seconds, self.first_seconds * self.factor ** min(failures - 1, 64))
        return max(self.floor_seconds, rng.uniform(0.0, ceiling))
