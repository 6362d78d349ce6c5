"""What the policies are worth, on a workload that is hard on balancers: the same `Balancer` and budgets as live.

Eight replicas of four slots with exponential service times, means 5 x 50, 2 x 100 and 1 x 400 ms, 60 % busy. Every
inequality holds for each of several seeds, or for their calls taken together where it is about one call in a thousand.
"""

import functools
from collections.abc import Sequence

import pytest

from pool.balance.policy import Strategy
from tests.pool.simulation.run import Result, Workload, policy, simulate
from tests.pool.simulation.service import Trouble

SEEDS = (1, 2, 3)
MIXED = Workload()
LONG = Workload(calls=20_000)
FAILING = Workload(trouble=Trouble(1, since_seconds=10.0, times_slower=0.05, fails=True))
GREY = Workload(trouble=Trouble(2, since_seconds=10.0, times_slower=10.0))


@functools.cache
def run(
    workload: Workload, seed: int, strategy: Strategy, *, ejects: bool = True, attempts: int = 1, hedges: bool = False
) -> Result:
    return simulate(policy(strategy, ejects=ejects, attempts=attempts, hedges=hedges), workload, seed=seed)


def p999_of_all(results: Sequence[Result]) -> float:
    latencies = sorted(latency for result in results for latency in result.latencies)
    return latencies[int(0.999 * len(latencies))]


@pytest.mark.parametrize("seed", SEEDS)
def test_least_latency_cuts_the_tail_of_least_connections_by_a_quarter(seed: int) -> None:
    assert run(MIXED, seed, "least_latency").p99 <= 0.75 * run(MIXED, seed, "least_connections").p99


@pytest.mark.parametrize("seed", SEEDS)
def test_two_by_lot_are_between_the_fewest_calls_and_the_full_scan(seed: int) -> None:
    drawn = run(MIXED, seed, "p2c").p99
    assert run(MIXED, seed, "least_latency").p99 <= drawn <= 0.85 * run(MIXED, seed, "least_connections").p99


@pytest.mark.parametrize("seed", SEEDS)
def test_equal_turns_overload_the_slow_replica(seed: int) -> None:
    """An eighth of the calls is more than it can do: its queue only grows."""
    in_turn = run(MIXED, seed, "round_robin")
    assert in_turn.p99 >= 20 * run(MIXED, seed, "least_connections").p99
    assert in_turn.served[7] == min(in_turn.served)


@pytest.mark.parametrize("seed", SEEDS)
def test_without_ejection_a_replica_that_fails_at_once_swallows_the_calls(seed: int) -> None:
    assert run(FAILING, seed, "least_connections", ejects=False).error_share > 0.4
    # Failures counted as slow answers help, but not enough.
    assert 0.01 < run(FAILING, seed, "least_latency", ejects=False).error_share < 0.2


@pytest.mark.parametrize("strategy", ["least_latency", "least_connections", "p2c", "random"])
@pytest.mark.parametrize("seed", SEEDS)
def test_ejection_keeps_the_errors_under_half_a_percent(seed: int, strategy: Strategy) -> None:
    result = run(FAILING, seed, strategy)
    assert 0.0 < result.error_share < 0.005
    assert result.ejections >= 2, "it was tried again and failed again"


@pytest.mark.parametrize("seed", SEEDS)
def test_with_one_budgeted_retry_no_caller_sees_an_error(seed: int) -> None:
    result = run(FAILING, seed, "least_latency", attempts=2)
    assert result.failed == 0
    assert 0.0 < result.extra_share < 0.005


@pytest.mark.parametrize("seed", SEEDS)
def test_a_replica_that_turns_ten_times_slower_is_left_alone(seed: int) -> None:
    """Nothing fails, so nothing is ejected: the latency alone keeps the calls away."""
    result = run(GREY, seed, "least_latency")
    assert result.ejections == 0
    assert result.p99 <= 0.6 * run(GREY, seed, "least_connections").p99
    assert result.p99 <= 1.4 * run(MIXED, seed, "least_latency").p99


def test_hedging_cuts_one_call_in_a_thousand_by_two_fifths() -> None:
    plain = [run(LONG, seed, "least_latency") for seed in SEEDS]
    hedged = [run(LONG, seed, "least_latency", hedges=True) for seed in SEEDS]
    assert p999_of_all(hedged) <= 0.6 * p999_of_all(plain)
    for result in hedged:
        assert 0.0 < result.extra_share <= 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_on_equal_replicas_no_strategy_that_sees_load_is_bad(seed: int) -> None:
    equal = Workload(mean_seconds=(0.05,) * 8, utilisation=0.7)
    best = run(equal, seed, "least_connections").p99
    assert run(equal, seed, "least_latency").p99 <= 1.35 * best
    assert run(equal, seed, "p2c").p99 <= 1.35 * best


def test_the_same_seed_gives_the_same_run() -> None:
    short = Workload(calls=2_000)
    results = [simulate(policy("p2c", hedges=True), short, seed=7) for _ in range(2)]
    assert results[0] == results[1]
