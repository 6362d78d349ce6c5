"""A circuit breaker: closed while calls go well, open for a growing while after failures, half-open to try again.

It decides nothing about others: whoever owns several circuits (a balancer) may refuse to open one more. Late answers of
calls that were sent before it opened do not count; only probes close it again.
"""

from dataclasses import dataclass
from typing import Literal

from stoa.resilience.outcomes import RecentOutcomes

__all__ = ["Circuit", "CircuitPolicy", "CircuitState"]

CircuitState = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True)
class CircuitPolicy:
    """When a circuit opens, for how long, and what closes it. Times in seconds.

    It opens after `consecutive_failures` in a row, or when the share of good calls in `window_seconds` is below
    `success_rate` (judged from `min_calls` calls on). It stays open for `base_seconds` * 2**n, at most `max_seconds`; n
    is how often it has opened in a row. Then one call at a time may try, and `probe_successes` of them close it.
    """

    consecutive_failures: int = 5
    success_rate: float = 0.5
    min_calls: int = 20
    window_seconds: float = 60.0
    base_seconds: float = 1.0
    max_seconds: float = 30.0
    probe_successes: int = 2
    is_on: bool = True


class Circuit:
    """`record` what calls brought, `open` when it says why; later `start_probe` and `finish_probe`."""

    __slots__ = (
        "_closed_at",
        "_is_open",
        "_is_probing",
        "_outcomes",
        "_policy",
        "_probe_successes",
        "consecutive_failures",
        "openings",
        "reason",
        "times_opened",
        "until",
    )

    def __init__(self, policy: CircuitPolicy) -> None:
        self._policy = policy
        self._outcomes = RecentOutcomes(policy.window_seconds)
        self._is_open = False
        self._is_probing = False
        self._probe_successes = 0
        self._closed_at = 0.0
        self.consecutive_failures = 0
        self.openings = 0
        """How often it opened in a row; the exponent of the back-off."""
        self.times_opened = 0
        """How often it opened at all."""
        self.until = 0.0
        self.reason = ""

    def __repr__(self) -> str:
        if self._is_open:
            return f"<Circuit open until {self.until:.3f}: {self.reason}>"
        return f"<Circuit closed, {self.consecutive_failures} failures in a row>"

    @property
    def is_open(self) -> bool:
        """Open or half-open: not for ordinary calls."""
        return self._is_open

    @property
    def is_probing(self) -> bool:
        return self._is_probing

    def state(self, now: float) -> CircuitState:
        if not self._is_open:
            return "closed"
        return "half_open" if now >= self.until else "open"

    def may_probe(self, now: float) -> bool:
        """Whether its time is over and nobody is trying it yet."""
        return self._is_open and not self._is_probing and now >= self.until

    def may_try(self, now: float, *, after_seconds: float) -> bool:
        """Whether an ordinary call may be the probe: after one that went well, or when nobody else has come so long."""
        return self.may_probe(now) and (self._probe_successes > 0 or now >= self.until + after_seconds)

    def success_rate(self, now: float) -> float | None:
        return self._outcomes.success_rate(now)

    def count(self, now: float) -> int:
        """The calls in the window."""
        return self._outcomes.count(now)

    def configure(self, policy: CircuitPolicy, now: float) -> None:
        if policy.window_seconds != self._policy.window_seconds:
            self._outcomes = RecentOutcomes(policy.window_seconds)
        self._policy = policy
        if not policy.is_on:
            self.close(now)

    def record(self, now: float, *, is_good: bool) -> str | None:
        """An ordinary call is over. Returns why the circuit should open now, or None."""
        if self._is_open:
            return None
        self._outcomes.add(is_good=is_good, now=now)
        if is_good:
            self.consecutive_failures = 0
            return None
        self.consecutive_failures += 1
        return self._verdict(now) if self._policy.is_on else None

    def open(self, now: float, reason: str) -> None:
        policy = self._policy
        if not self._is_open and now - self._closed_at >= policy.window_seconds:
            self.openings = 0  # it held for a whole window: what was before is forgiven
        # The exponent is capped: the power of a long outage would not fit a float.
        self.until = now + min(policy.max_seconds, policy.base_seconds * 2.0 ** min(self.openings, 64))
        self.openings += 1
        self.times_opened += 1
        self.reason = reason
        self._is_open = True
        self._is_probing = False
        self._probe_successes = 0

    def close(self, now: float) -> None:
        if self._is_open:
            self._is_open = self._is_probing = False
            self._closed_at = now
            self.reason = ""
        # What it was opened for must not open it again.
        self.consecutive_failures = 0
        self._outcomes.clear()

    def start_probe(self, now: float) -> bool:
        """Claim the one probe. False when it is not time yet or somebody else is trying."""
        if not self.may_probe(now):
            return False
        self._is_probing = True
        return True

    def finish_probe(self, now: float, *, is_good: bool | None, reason: str = "") -> None:
        """The probe is over; None: it was broken off and says nothing. A failed one opens the circuit for longer."""
        self._is_probing = False
        if not self._is_open or is_good is None:
            return
        if not is_good:
            self.open(now, reason or self.reason)
            return
        self._probe_successes += 1
        if self._probe_successes >= self._policy.probe_successes:
            self.close(now)

    def _verdict(self, now: float) -> str | None:
        policy = self._policy
        if self.consecutive_failures >= policy.consecutive_failures:
            return f"{self.consecutive_failures} calls in a row failed"
        count = self._outcomes.count(now)
        rate = self._outcomes.success_rate(now)
        if count >= policy.min_calls and rate is not None and rate < policy.success_rate:
            return f"only {rate:.0%} of {count} calls in {policy.window_seconds:g} s went well"
        return None
