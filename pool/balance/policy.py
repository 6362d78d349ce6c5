"""How a group balances, ejects, retries and hedges, as values. The defaults are the documented ones; times in seconds.

The words are Envoy's and gRPC's: outlier ejection, panic threshold, slow start, retry budget, hedging.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, get_args

from stoa.resilience.circuit import CircuitPolicy

__all__ = [
    "ALIASES",
    "STRATEGIES",
    "BalancePolicy",
    "EjectionPolicy",
    "HedgePolicy",
    "RetryPolicy",
    "Strategy",
    "strategy_named",
]

Strategy = Literal["least_latency", "round_robin", "random", "least_connections", "weighted", "p2c", "sticky"]
STRATEGIES: Final[tuple[Strategy, ...]] = get_args(Strategy)
ALIASES: Final[Mapping[str, Strategy]] = MappingProxyType(
    {
        "health_based": "least_latency",
        "response_time": "least_latency",
        "least_outstanding": "least_connections",
        "roundrobin": "round_robin",
        "weighted_round_robin": "weighted",
    }
)


def strategy_named(name: str) -> Strategy:
    """The strategy with that name or alias, however it is written. Raises `ValueError` with the names there are."""
    plain = name.strip().lower().replace("-", "_")
    for strategy in STRATEGIES:
        if strategy == plain:
            return strategy
    if plain in ALIASES:
        return ALIASES[plain]
    raise ValueError(f"there is no strategy {name!r}; there are {', '.join((*STRATEGIES, *ALIASES))}")


@dataclass(frozen=True, slots=True)
class EjectionPolicy(CircuitPolicy):
    """Outlier ejection: the circuit breaker of each replica, and what the group as a whole allows.

    No more than `max_share` of the members are ejected at a time (rounded down: the only one never is). When fewer than
    `panic_share` of those that are up are in use, ejection is ignored and all are used: it is then more likely that
    something else is wrong. `probe_failures` failed active probes in a row eject, too.
    """

    max_share: float = 0.5
    panic_share: float = 0.5
    probe_failures: int = 2


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`attempts` in all (1: never a second one), paid from a budget: a share of the calls, at least some per second."""

    attempts: int = 2
    budget_share: float = 0.1
    budget_floor_per_second: float = 3.0


@dataclass(frozen=True, slots=True)
class HedgePolicy:
    """A second replica is asked when the first takes longer than this quantile of the recent calls.

    On by default, since it can do no harm: only what a trusted server calls read-only or idempotent is asked twice,
    only where there is a second replica with room, and never more than `budget_share` of the calls. Before `min_calls`
    are known, nothing is hedged.
    """

    is_on: bool = True
    quantile: float = 0.95
    budget_share: float = 0.05
    min_calls: int = 100


@dataclass(frozen=True, slots=True)
class BalancePolicy:
    """Everything a `Balancer` and those around it go by.

    `slow_start_seconds`: a replica that has just come up gets its full share only after so long (0: at once).
    `decay_seconds`: the time constant of the latency average. `failure_penalty_seconds`: a failure counts like an
    answer that took at least so long, or a replica that fails fast would attract the calls.
    """

    strategy: Strategy = "least_latency"
    ejection: EjectionPolicy = field(default_factory=EjectionPolicy)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    hedge: HedgePolicy = field(default_factory=HedgePolicy)
    slow_start_seconds: float = 10.0
    decay_seconds: float = 10.0
    failure_penalty_seconds: float = 1.0
