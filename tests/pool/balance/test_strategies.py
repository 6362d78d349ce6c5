"""The strategies, one by one, on members that a balancer keeps."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool.balance.balancer import Balancer
from pool.balance.policy import ALIASES, STRATEGIES, BalancePolicy, Strategy, strategy_named


def balancer(strategy: Strategy, count: int = 3, *, weights: tuple[float, ...] = (), **policy: float) -> Balancer:
    found = Balancer(BalancePolicy(strategy=strategy, **{"slow_start_seconds": 0.0, **policy}))  # type: ignore[arg-type]  # floats
    for index in range(count):
        found.add(f"m{index}", now=0.0, weight=weights[index] if weights else 1.0, max_in_flight=100)
        found.set_ready(f"m{index}", True, 0.0)
    return found


def picks(found: Balancer, count: int, *, seconds: float = 0.05) -> Counter[str]:
    """So many calls, one after the other."""
    rng = random.Random(1)
    counts: Counter[str] = Counter()
    for number in range(count):
        decision = found.pick(number * 0.001, rng)
        assert decision is not None
        counts[decision.member] += 1
        found.finish(decision, number * 0.001, seconds=seconds, outcome="ok")
    return counts


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.integers())
def test_least_connections_has_nobody_with_less_to_do(loads: list[int], seed: int) -> None:
    found = balancer("least_connections", len(loads))
    rng = random.Random(seed)
    for index, load in enumerate(loads):
        for _ in range(load):
            found.pick(0.0, rng, prefer=f"m{index}")
    decision = found.pick(0.0, rng)
    assert decision is not None
    assert loads[int(decision.member[1:])] == min(loads)


def test_ties_are_broken_by_lot() -> None:
    counts = picks(balancer("least_connections", 2), 1000)
    assert min(counts.values()) > 400


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_serves_and_says_why(strategy: Strategy) -> None:
    found = balancer(strategy)
    decision = found.pick(0.0, random.Random(1), key="somebody")
    assert decision is not None
    assert decision.strategy == strategy
    assert decision.why
    assert {name for name, _, _ in decision.scores} == {"m0", "m1", "m2"}


def test_old_names_of_strategies_still_work() -> None:
    assert strategy_named("Health-Based") == "least_latency"
    assert strategy_named("least_outstanding") == "least_connections"
    assert {strategy_named(alias) for alias in ALIASES} <= set(STRATEGIES)
    with pytest.raises(ValueError, match=r"no strategy 'fastest'; there are least_latency"):
        strategy_named("fastest")
