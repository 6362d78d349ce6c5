"""What the balancer knows of one replica. Changed by the balancer alone; strategies only read it."""

from dataclasses import dataclass
from typing import Final, Literal

from pool.balance.policy import BalancePolicy
from stoa.resilience.circuit import Circuit
from stoa.resilience.ewma import PeakEwma

__all__ = ["Health", "HealthState", "Member"]

HealthState = Literal["healthy", "degraded", "ejected"]
SLOW_START_LEAST: Final = 0.1
"""The share of its weight that a replica starts with (Envoy's `min_weight_percent`)."""
DEGRADED_BELOW: Final = 0.9
"""A share of good calls under this is worth a word."""
DEGRADED_FROM_CALLS: Final = 10


@dataclass(frozen=True, slots=True)
class Health:
    """How a replica that is up does, with the reason in words when it is not healthy. `until`: of an ejection."""

    state: HealthState
    reason: str = ""
    until: float | None = None
    ewma_seconds: float | None = None
    success_rate: float | None = None
    consecutive_failures: int = 0
    ejections: int = 0


class Member:
    __slots__ = (
        "circuit",
        "ewma",
        "failed_probes",
        "in_flight",
        "is_probed",
        "is_ready",
        "last_reason",
        "max_in_flight",
        "name",
        "ramp_from",
        "tier",
        "turn",
        "wants_affinity",
        "weight",
    )

    def __init__(self, name: str, policy: BalancePolicy) -> None:
        self.name = name
        self.weight = 1.0
        self.tier = 0
        self.max_in_flight = 1
        self.in_flight = 0
        self.is_ready = False
        self.wants_affinity = False
        self.ramp_from: float | None = None
        """When its slow start began; None when it is over."""
        self.turn = 0.0
        """Its place in the round robin (the running value of smooth weighted round robin)."""
        self.ewma = PeakEwma(policy.decay_seconds)
        self.circuit = Circuit(policy.ejection)
        self.failed_probes = 0
        self.is_probed = False
        """Whether the one probe of its half-open circuit is an active one."""
        self.last_reason = ""

    def __repr__(self) -> str:
        state = "ejected" if self.circuit.is_open else "ready" if self.is_ready else "not ready"
        return f"<Member {self.name} {state}, {self.in_flight}/{self.max_in_flight} in flight>"

    @property
    def is_free(self) -> bool:
        """Whether it is up and has room."""
        return self.is_ready and self.in_flight < self.max_in_flight

    def effective_weight(self, now: float, slow_start_seconds: float) -> float:
        """Its weight, less of it during its slow start."""
        if self.ramp_from is None:
            return self.weight
        passed = now - self.ramp_from
        if passed >= slow_start_seconds:
            self.ramp_from = None
            return self.weight
        return self.weight * max(SLOW_START_LEAST, passed / slow_start_seconds)

    def health(self, now: float) -> Health:
        circuit = self.circuit
        reason = self._complaint(now)
        state: HealthState = "ejected" if circuit.is_open else "degraded" if reason else "healthy"
        return Health(
            state=state,
            reason=reason,
            until=circuit.until if circuit.is_open else None,
            ewma_seconds=self.ewma.value(now),
            success_rate=circuit.success_rate(now),
            consecutive_failures=circuit.consecutive_failures,
            ejections=circuit.times_opened,
        )

    def _complaint(self, now: float) -> str:
        circuit = self.circuit
        if circuit.is_open:
            left = circuit.until - now
            then = f"it is tried again in {left:.1f} s" if left > 0 else "it is being tried again"
            return f"{circuit.reason}; {then}"
        last = f": {self.last_reason}" if self.last_reason else ""
        if self.failed_probes:
            return f"the last probe failed{last}"
        if circuit.consecutive_failures >= 2:
            return f"the last {circuit.consecutive_failures} calls failed{last}"
        rate = circuit.success_rate(now)
        if rate is not None and rate < DEGRADED_BELOW and circuit.count(now) >= DEGRADED_FROM_CALLS:
            return f"only {rate:.0%} of the recent calls went well{last}"
        return ""
