"""What the groups of one pool share, and what each group counts and may spend."""

import random
from collections.abc import Callable
from dataclasses import dataclass

from pool.life import Open
from pool.passes import Passes
from pool.spawning import SpawnGate
from pool.spec import GroupSpec
from pool.trace import TraceRing
from pool.wire.connect import Surroundings
from stoa.clock import Clock
from stoa.resilience.backoff import Backoff
from stoa.resilience.budget import Budget
from stoa.resilience.hedge import Hedging

__all__ = ["Counts", "Told", "Workshop", "budgets"]

Told = Callable[[str, str], None]
"""Told when something changed: the server, and what: tools, prompts, resources, or servers (who is up)."""


@dataclass(frozen=True, slots=True, eq=False)
class Workshop:
    """What the groups of one pool share."""

    surroundings: Surroundings
    internal_key: bytes | None
    clock: Clock
    rng: random.Random
    backoff: Backoff
    gate: SpawnGate
    ring: TraceRing
    open_connection: Open
    on_change: Told
    passes: Passes | None = None


@dataclass(slots=True)
class Counts:
    """What happened to the calls of a group, beside what its replicas count."""

    waited: int = 0
    refused: int = 0
    retries: int = 0
    hedges: int = 0
    hedges_won: int = 0


def budgets(spec: GroupSpec) -> tuple[Budget, Hedging]:
    """For second attempts, and for hedges."""
    retry, hedge = spec.policy.retry, spec.policy.hedge
    return (
        Budget(retry.budget_share if retry.attempts > 1 else 0.0, floor_per_second=retry.budget_floor_per_second),
        Hedging(quantile=hedge.quantile, min_calls=hedge.min_calls, budget_share=hedge.budget_share, is_on=hedge.is_on),
    )
